import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { Prng } from '../base/prng.ts';
import { type KvEvent, TIERS } from '../model/block.ts';
import { type BatchHead, KvEventReader } from './kv-event-reader.ts';
import { packEvents } from './kv-events.ts';

const oracle = new Packr({ useRecords: false });

const hash = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const tier = fc.constantFrom(...TIERS);
const event: fc.Arbitrary<KvEvent> = fc.oneof(
  fc
    .record({
      hashes: fc.array(hash, { minLength: 1, maxLength: 20 }),
      parent: fc.option(hash, { nil: undefined }),
      blockTokens: fc.integer({ min: 1, max: 32 }),
      tier,
      extraKeys: fc.uniqueArray(fc.string({ unit: 'grapheme', minLength: 1 }), { maxLength: 1 }),
      seed: fc.integer(),
    })
    .map(({ seed, hashes, parent, blockTokens, tier, extraKeys }): KvEvent => {
      const rng = new Prng(seed);
      const length = hashes.length * blockTokens;
      const tokens = Uint32Array.from({ length }, () => rng.uint32() >>> rng.below(32));
      return { kind: 'stored', hashes, parent, tokens, blockTokens, tier, extraKeys };
    }),
  fc
    .record({ hashes: fc.array(hash, { maxLength: 20 }), tier })
    .map(({ hashes, tier }): KvEvent => ({ kind: 'removed', hashes, tier })),
  fc.constant<KvEvent>({ kind: 'cleared' }),
);

test('what a worker publishes is read as it was; the salt stands for its chain', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 20 }), (events) => {
      const heard = read(packEvents(events, 1_700_000_000.25));
      assert.deepEqual(heard.head, { atS: 1_700_000_000.25, rank: 0 });
      const told = events.map((one) => {
        if (one.kind !== 'stored') return one;
        const { extraKeys, ...rest } = one;
        const isNamed = one.parent === undefined && extraKeys.length > 0;
        const keys = isNamed ? one.hashes.map((_, i) => (i === 0 ? extraKeys[0] : '')) : undefined;
        return { ...rest, keys, lora: '', group: undefined, specKind: undefined };
      });
      assert.deepEqual(
        heard.events,
        told.map((one) => (one.kind === 'removed' ? { ...one, group: undefined } : one)),
      );
    }),
    { numRuns: 200 },
  );
});

test('another implementation reads our batches as arrays in the field order of vLLM', () => {
  const stored: KvEvent = {
    kind: 'stored',
    hashes: [2n ** 64n - 1n, 5n],
    parent: undefined,
    tokens: Uint32Array.of(1, 2, 3, 70_000),
    blockTokens: 2,
    tier: 'host',
    extraKeys: ['salt'],
  };
  const events: KvEvent[] = [
    stored,
    { ...stored, parent: 7n },
    { kind: 'removed', hashes: [5n], tier: 'device' },
    { kind: 'cleared' },
  ];
  const hashes = [2n ** 64n - 1n, 5];
  const ids = [1, 2, 3, 70_000];
  assert.deepEqual(oracle.unpack(packEvents(events, 1.5)), [
    1.5,
    [
      ['BlockStored', hashes, null, ids, 2, null, 'CPU', null, [['salt'], null]],
      ['BlockStored', hashes, 7, ids, 2, null, 'CPU', null, null],
      ['BlockRemoved', [5], 'GPU'],
      ['AllBlocksCleared'],
    ],
    0,
  ]);
});

test('the forms that engines send are understood: short arrays, maps, hashes of all kinds', () => {
  const sha = Uint8Array.from({ length: 32 }, (_, i) => i);
  const last8 = 0x18191a1b1c1d1e1fn;
  const ids = Uint32Array.of(1, 2);
  const map = {
    type: 'BlockStored',
    block_hashes: [7],
    parent_block_hash: sha,
    token_ids: [1, 2],
    block_size: 2,
    medium: 'CPU_PINNED',
    a_field_to_come: [1, { x: 2 }],
  };
  const list = [
    ['BlockStored', [-1, 2n ** 63n], null, [1, 2, 3, 4], 2, null],
    ['BlockStored', [sha], sha, [1, 2], 2, null, null],
    ['BlockRemoved', [-(2n ** 63n)]],
    ['BlockRemoved', [Uint8Array.of(1, 0)], 'cpu_tier2'],
    ['BlockStored', [2 ** 40 + 5], 5, [1, 2], 2, null, 'DISK', null, [null]],
    map,
    { type: 'BlockRemoved', block_hashes: [9, -(2 ** 40)], medium: null },
    { type: 'AllBlocksCleared' },
  ];
  const wanted = [
    { ...STORED, hashes: [2n ** 64n - 1n, 2n ** 63n], tokens: Uint32Array.of(1, 2, 3, 4) },
    { ...STORED, hashes: [last8], parent: last8, tokens: ids },
    { ...REMOVED, hashes: [2n ** 63n] },
    { ...REMOVED, hashes: [256n], tier: 'disk' },
    { ...STORED, hashes: [2n ** 40n + 5n], parent: 5n, tokens: ids, tier: 'disk' },
    { ...STORED, hashes: [7n], parent: last8, tokens: ids, tier: 'host' },
    { ...REMOVED, hashes: [9n, 2n ** 64n - 2n ** 40n] },
    { kind: 'cleared' },
  ];
  const asMap = oracle.pack({ ts: 2.5, events: list, data_parallel_rank: 3 });
  for (const payload of [oracle.pack([2.5, list, 3]), asMap]) {
    assert.deepEqual(read(payload), { head: { atS: 2.5, rank: 3 }, events: wanted, skipped: [] });
  }
  const withoutRank = [oracle.pack([2.5, list]), oracle.pack([2.5, list, null])];
  for (const payload of withoutRank) assert.equal(read(payload).head?.rank, undefined);
  assert.equal(read(oracle.pack([2.5, [], 300])).head?.rank, 300);
});

test('whatever was mixed in besides tokens is named, block by block', () => {
  const stored = (...fields: unknown[]) => {
    const [event] = told([['BlockStored', [1, 2], null, [1, 2, 3, 4], 2, ...fields]]);
    assert.ok(event.kind === 'stored');
    return event;
  };
  const keys = (...fields: unknown[]) => stored(...fields).keys;
  assert.equal(keys(null, 'GPU', null, null), undefined);
  assert.equal(keys(null, 'GPU', null, [null, null]), undefined);
  assert.deepEqual(keys(null, 'GPU', null, [['salt'], null]), ['salt', '']);
  const images = keys(null, 'GPU', null, [['salt'], [['image', 3]]]);
  assert.deepEqual(images, ['salt', '["image","3"]']);
  const lora = stored(4, 'GPU', 'adapter', [['adapter', 'salt'], ['adapter']]);
  assert.deepEqual([lora.lora, lora.keys], ['adapter', ['salt', '']]);
  // A tenant whose salt reads like the adapter is a tenant still.
  assert.deepEqual(keys(4, 'GPU', 'adapter', [['adapter', 'adapter'], null]), ['adapter', '']);
  assert.equal(stored(4).lora, '4');
  const mapped = told([
    { ...MAP, cache_salt: 'salt' },
    { ...MAP, parent_block_hash: 1, cache_salt: 'salt' },
  ]);
  assert.deepEqual(
    mapped.map((event) => event.kind === 'stored' && event.keys),
    [['salt'], undefined],
  );
});

test('groups and their kinds are read, with and without a field for images before them', () => {
  const stored = ['BlockStored', [1], null, [1, 2], 2, null, 'GPU', null];
  const full = 'full_attention';
  const forms = [
    [...stored, null, 2, full],
    [...stored, null, null, 2, full, null],
    [...stored, null, [['x']], 2, full, 128],
    { ...MAP, group_idx: 2, kv_cache_spec_kind: full },
  ];
  for (const event of told(forms)) {
    assert.ok(event.kind === 'stored');
    assert.deepEqual([event.group, event.specKind], [2, full]);
  }
  const [removed] = told([['BlockRemoved', [1], 'GPU', 2]]);
  assert.ok(removed.kind === 'removed' && removed.group === 2);
});

test('what cannot be used is skipped and told, what stands beside it is kept', () => {
  const heard = read(
    oracle.pack([
      1,
      [
        { type: 'BlockMoved', block_hashes: [1] },
        ['BlockMoved', [1]],
        [],
        null,
        7,
        ['BlockStored', [1], null, [1, 2], 2, null, 'TAPE'],
        ['BlockRemoved', [1], 'constructor'],
        ['BlockRemoved', [1], 'EXTERNAL'],
        { ...MAP, locality: 'REMOTE' },
        { ...MAP, is_eagle: true },
        ['BlockStored', [1], null, 'tokens', 2],
        ['BlockStored', [1], null, [1, 2], null],
        ['BlockStored', [1, 2], null, [1, 2, 3, 'x'], 2],
        ...[[1, 2, 3], [], [1, 2, 3, -4], [1, 2, 3, 4.5], [1, 2, 3, 2 ** 32]].map((ids) => [
          'BlockStored',
          [1, 2],
          null,
          ids,
          2,
        ]),
        ['AllBlocksCleared'],
      ],
    ]),
  );
  assert.deepEqual(heard.events, [{ kind: 'cleared' }]);
  const counts = new Map<string, number>();
  for (const why of heard.skipped) counts.set(why, (counts.get(why) ?? 0) + 1);
  assert.deepEqual(Object.fromEntries(counts), {
    unknownEvent: 5,
    unknownMedium: 2,
    elsewhere: 2,
    malformed: 9,
  });
});

test('what is no batch at all is a RangeError, and so are hostile bytes', () => {
  for (const payload of [null, 5, 'x', {}, [], [1.5], [1.5, null], [1.5, { a: 1 }], { ts: 1 }]) {
    assert.throws(() => read(oracle.pack(payload)), RangeError, JSON.stringify(payload));
  }
  for (const hashes of [['x'], [1.5], [null], [[1]], [true]]) {
    assert.throws(() => told([['BlockRemoved', hashes]]), RangeError);
  }
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 4 }),
      fc.record({ at: fc.nat(), to: fc.nat(255), cut: fc.nat(9) }),
      (events, { at, to, cut }) => {
        const whole = packEvents(events, 1.5);
        const payload = cut === 0 ? whole.slice(0, at % whole.length) : whole;
        if (payload.length > 0) payload[at % payload.length] = to;
        try {
          read(payload);
        } catch (error) {
          assert.ok(error instanceof RangeError, String(error));
        }
      },
    ),
    { numRuns: 2000 },
  );
});

const STORED = {
  kind: 'stored',
  parent: undefined,
  blockTokens: 2,
  tier: 'device',
  lora: '',
  keys: undefined,
  group: undefined,
  specKind: undefined,
};
const REMOVED = { kind: 'removed', tier: 'device', group: undefined };
const MAP = {
  type: 'BlockStored',
  block_hashes: [1],
  parent_block_hash: null,
  token_ids: [1, 2],
  block_size: 2,
};

type Told =
  | { kind: 'stored'; keys: readonly string[] | undefined; lora: string; [field: string]: unknown }
  | { kind: 'removed'; group: number | undefined; [field: string]: unknown }
  | { kind: 'cleared' };

function told(events: readonly unknown[]): Told[] {
  return read(oracle.pack([1_700_000_000.5, events])).events;
}

const reader = new KvEventReader();

function read(payload: Uint8Array) {
  let head: BatchHead | undefined;
  const events: Told[] = [];
  const skipped: string[] = [];
  reader.read(
    payload,
    (of) => {
      head = of;
    },
    {
      stored: ({ count, names, parent, tokens, ...rest }) => {
        const hashes = wide(names);
        assert.equal(hashes.length, count);
        const [parentHash] = parent === undefined ? [undefined] : wide(parent);
        events.push({
          kind: 'stored',
          hashes,
          parent: parentHash,
          tokens: tokens.slice(),
          ...rest,
        });
      },
      removed: ({ count, names, ...rest }) => {
        assert.equal(wide(names).length, count);
        events.push({ kind: 'removed', hashes: wide(names), ...rest });
      },
      cleared: () => events.push({ kind: 'cleared' }),
      skipped: (why) => skipped.push(why),
    },
  );
  return { head, events, skipped };
}

/** Two words a hash, the low one first. */
function wide(words: Uint32Array): bigint[] {
  return Array.from({ length: words.length / 2 }, (_, i) => {
    return (BigInt(words[2 * i + 1]) << 32n) | BigInt(words[2 * i]);
  });
}
