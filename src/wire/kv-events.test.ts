import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { Prng } from '../base/prng.ts';
import { type KvEvent, TIERS } from '../model/block.ts';
import { packEvents, unpackEvents } from './kv-events.ts';

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
      extraKeys: fc.uniqueArray(fc.string({ unit: 'grapheme', minLength: 1 }), { maxLength: 3 }),
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

test('what a worker publishes is read as it was', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 20 }), (events) => {
      assert.deepEqual(unpackEvents(packEvents(events, 1_700_000_000.25)), events);
    }),
    { numRuns: 200 },
  );
});

test('another implementation reads our batches as arrays in the field order of vLLM', () => {
  const events: KvEvent[] = [
    {
      kind: 'stored',
      hashes: [2n ** 64n - 1n, 5n],
      parent: 7n,
      tokens: Uint32Array.of(1, 2, 3, 70_000),
      blockTokens: 2,
      tier: 'host',
      extraKeys: ['salt'],
    },
    { kind: 'removed', hashes: [5n], tier: 'device' },
    { kind: 'cleared' },
  ];
  assert.deepEqual(oracle.unpack(packEvents(events, 1.5)), [
    1.5,
    [
      [
        'BlockStored',
        [2n ** 64n - 1n, 5],
        7,
        [1, 2, 3, 70_000],
        2,
        null,
        'CPU',
        null,
        [['salt'], ['salt']],
      ],
      ['BlockRemoved', [5], 'GPU'],
      ['AllBlocksCleared'],
    ],
    0,
  ]);
});

test('the forms that vLLM sends are understood: short arrays, signed hashes, hashes as bytes', () => {
  const sha = Uint8Array.from({ length: 32 }, (_, i) => i);
  const events = unpacked([
    ['BlockStored', [-1, 2n ** 63n], null, [1, 2, 3, 4], 2, null],
    ['BlockStored', [sha], sha, [1, 2], 2, null, null],
    ['BlockRemoved', [-(2n ** 63n)]],
    ['BlockRemoved', [Uint8Array.of(1, 0)], 'cpu'],
    ['BlockStored', [9], 5, [1, 2], 2, null, 'DISK', null, [null]],
  ]);
  const last8 = 0x18191a1b1c1d1e1fn;
  assert.deepEqual(events, [
    { ...STORED, hashes: [2n ** 64n - 1n, 2n ** 63n], tokens: Uint32Array.of(1, 2, 3, 4) },
    { ...STORED, hashes: [last8], parent: last8, tokens: Uint32Array.of(1, 2) },
    { kind: 'removed', hashes: [2n ** 63n], tier: 'device' },
    { kind: 'removed', hashes: [256n], tier: 'host' },
    { ...STORED, hashes: [9n], parent: 5n, tokens: Uint32Array.of(1, 2), tier: 'disk' },
  ]);
});

test('whatever was mixed in besides tokens is named: salts, adapters, images', () => {
  const keys = (...fields: unknown[]) => {
    const [event] = unpacked([['BlockStored', [1, 2], null, [1, 2, 3, 4], 2, ...fields]]);
    assert.ok(event.kind === 'stored');
    return event.extraKeys;
  };
  assert.deepEqual(keys(null, 'GPU', null, null), []);
  assert.deepEqual(keys(null, 'GPU', null, [['salt'], null]), ['salt']);
  assert.deepEqual(keys(null, 'GPU', null, [['salt', ['image', 3]], ['salt']]), [
    'salt',
    'image',
    '3',
  ]);
  assert.deepEqual(keys(4, 'GPU', 'adapter', null), ['4', 'adapter']);
  assert.deepEqual(keys(4), ['4'], 'an engine that knows no extra keys yet');
});

test('what we do not know is skipped, what stands beside it is kept', () => {
  const cleared = ['AllBlocksCleared'];
  const events = unpacked([
    { type: 'BlockStored', block_hashes: [1] },
    ['BlockMoved', [1]],
    ['BlockStored', [1], null, [1, 2], 2, null, 'TAPE'],
    ['BlockRemoved', [1], 'TAPE'],
    ['BlockStored', [1], null, 'tokens', 2],
    ['BlockStored', [1], null, [1, 2], null],
    [],
    null,
    7,
    cleared,
  ]);
  assert.deepEqual(events, [{ kind: 'cleared' }]);
});

test('a block event whose tokens do not fill its blocks is not believed', () => {
  const tokens = [
    [1, 2, 3],
    [1, 2, 3, 4, 5],
    [],
    [1, 2, 3, 'x'],
    [1, 2, 3, -4],
    [1, 2, 3, 4.5],
    [1, 2, 3, null],
    [1, 2, 3, 2 ** 32],
  ];
  for (const ids of tokens) {
    assert.deepEqual(
      unpacked([['BlockStored', [1, 2], null, ids, 2], ['AllBlocksCleared']]),
      [{ kind: 'cleared' }],
      JSON.stringify(ids),
    );
  }
});

test('what is no batch at all is a RangeError, and so are hostile bytes', () => {
  for (const payload of [null, 5, 'x', {}, [], [1.5], [1.5, null], [1.5, { a: 1 }]]) {
    assert.throws(() => unpackEvents(oracle.pack(payload)), RangeError, JSON.stringify(payload));
  }
  for (const hashes of [['x'], [1.5], [null], [[1]], [true]]) {
    assert.throws(() => unpacked([['BlockRemoved', hashes]]), RangeError);
  }
  fc.assert(
    fc.property(fc.array(event, { maxLength: 4 }), fc.nat(), fc.nat(255), (events, at, to) => {
      const payload = packEvents(events, 1.5);
      payload[at % payload.length] = to;
      try {
        unpackEvents(payload);
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

const STORED = {
  kind: 'stored',
  parent: undefined,
  blockTokens: 2,
  tier: 'device',
  extraKeys: [],
};

/** Events as another implementation packs them; a batch without a rank is a batch too. */
function unpacked(events: readonly unknown[]): KvEvent[] {
  return unpackEvents(oracle.pack([1_700_000_000.5, events]));
}
