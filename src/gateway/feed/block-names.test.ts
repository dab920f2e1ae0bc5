import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { TIERS, type Tier } from '../../model/block.ts';
import { ChainHasher } from '../../tokens/block-hash.ts';
import type { StoredBlocks } from '../../wire/kv-event-reader.ts';
import { BlockNames } from './block-names.ts';

const BLOCK = 4;
const hasher = new ChainHasher({ fingerprint: 'f', blockTokens: BLOCK });
const LIMITS = { bytesMax: 4 << 20, orphansMax: 100 };

test('after any events each name means what a map of names would say', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const rng = new Prng(seed);
    const names = new BlockNames(hasher, LIMITS);
    /** The dumb twin: name → our hash and the tiers it lies in. */
    const twin = new Map<number, { hash: bigint; tiers: Set<Tier> }>();
    for (let i = 0; i < 400; i++) {
      const tier = rng.pick(TIERS);
      const known = [...twin.keys()];
      if (rng.below(5) < 3) {
        const parent = known.length > 0 && rng.below(3) > 0 ? rng.pick(known) : undefined;
        const list = Array.from({ length: 1 + rng.below(4) }, () => 1 + rng.below(300));
        const distinct = [...new Set(list)].filter((name) => name !== parent);
        if (distinct.length === 0) continue;
        const tokens = Uint32Array.from({ length: distinct.length * BLOCK }, () => rng.below(3));
        const start = parent === undefined ? hasher.root('') : (twin.get(parent)?.hash ?? 0n);
        const hashes = hasher.blocks(start, tokens);
        const naming = names.stored(event(distinct, { parent, tokens, tier }));
        assert.ok(naming.kind === 'named');
        assert.deepEqual(naming.runs, [
          { hashes, before: parent === undefined ? undefined : start, tier },
        ]);
        distinct.forEach((name, k) => {
          const tiers = twin.get(name)?.tiers ?? new Set<Tier>();
          twin.set(name, { hash: hashes[k], tiers: tiers.add(tier) });
        });
      } else {
        const list = Array.from({ length: 1 + rng.below(4) }, () => 1 + rng.below(300));
        const wanted: bigint[] = [];
        for (const name of list) {
          const held = twin.get(name);
          if (held === undefined) continue;
          wanted.push(held.hash);
          held.tiers.delete(tier);
          if (held.tiers.size === 0) twin.delete(name);
        }
        const given = { count: list.length, names: words(list), tier, group: undefined };
        assert.deepEqual([...names.removed(given)], wanted);
      }
      assert.equal(names.size, twin.size);
    }
  }
});

test('blocks told of before their parents are named when those are told of', () => {
  const names = new BlockNames(hasher, LIMITS);
  const tokens = Uint32Array.from({ length: 3 * BLOCK }, (_, i) => i);
  const at = (i: number) => tokens.slice(i * BLOCK, (i + 1) * BLOCK);
  const third = event([3], { parent: 2, tokens: at(2), tier: 'device' });
  const second = event([2], { parent: 1, tokens: at(1), tier: 'device' });
  assert.equal(names.stored(third).kind, 'orphans');
  assert.equal(names.stored(second).kind, 'orphans');
  assert.equal(
    names.stored(event([9], { parent: 8, tokens: at(0), tier: 'host' })).kind,
    'orphans',
  );
  names.removed({ count: 1, names: words([9]), tier: 'host', group: undefined });
  const naming = names.stored(
    event([1, 8], { parent: undefined, tokens: tokens.slice(0, 8), tier: 'device' }),
  );
  assert.ok(naming.kind === 'named');
  const told = naming.runs.flatMap(({ hashes }) => [...hashes]);
  const [first, eighth] = hasher.blocks(hasher.root(''), tokens.slice(0, 8));
  const two = hasher.block(first, tokens, BLOCK);
  assert.deepEqual(told, [first, eighth, two, hasher.block(two, tokens, 2 * BLOCK)]);
});

test('adapters, salts and images keep chains apart; what is in the table is bounded', () => {
  const names = new BlockNames(hasher, LIMITS);
  const tokens = new Uint32Array(2 * BLOCK);
  const hashesOf = (more: Partial<StoredBlocks>, parent?: number) => {
    const naming = names.stored({ ...event([1, 2], { parent, tokens, tier: 'device' }), ...more });
    assert.ok(naming.kind === 'named');
    return [...naming.runs[0].hashes];
  };
  const plain = hashesOf({});
  const forms = [
    plain,
    hashesOf({ lora: 'a' }),
    hashesOf({ keys: ['a', ''] }),
    hashesOf({ keys: ['', 'a'] }),
    hashesOf({ keys: ['', 'b'] }),
  ];
  assert.equal(new Set(forms.map((form) => form[1])).size, forms.length);
  assert.equal(forms[3][0], plain[0], 'before the image it is the same');
  const adapter = new ChainHasher({ fingerprint: 'f', lora: 'a', blockTokens: BLOCK });
  assert.deepEqual(forms[1], [...adapter.blocks(adapter.root(''), tokens)]);
  assert.deepEqual(forms[2], [...hasher.blocks(hasher.root('a'), tokens)]);
  const small = new BlockNames(hasher, { bytesMax: 64 * 1024, orphansMax: 1 });
  let kind = 'named';
  for (let i = 0; kind === 'named' && i < 100_000; i++) {
    kind = small.stored(
      event([2 * i, 2 * i + 1], { parent: undefined, tokens, tier: 'disk' }),
    ).kind;
  }
  assert.equal(kind, 'full');
});

function event(
  names: readonly number[],
  of: { parent: number | undefined; tokens: Uint32Array; tier: Tier },
): StoredBlocks {
  return {
    count: names.length,
    names: words(names),
    parent: of.parent === undefined ? undefined : words([of.parent]),
    tokens: of.tokens,
    blockTokens: BLOCK,
    tier: of.tier,
    lora: '',
    keys: undefined,
    group: undefined,
    specKind: undefined,
  };
}

/** Small names, their high words far from zero. */
function words(names: readonly number[]): Uint32Array {
  return Uint32Array.from(names.flatMap((name) => [name, 0xffff_ff00 + (name % 7)]));
}
