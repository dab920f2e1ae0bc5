import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type BudgetInput, divide } from './budget.ts';

const MIB = 1024 * 1024;

const input: fc.Arbitrary<BudgetInput> = fc.record({
  memoryBytes: fc.integer({ min: 100 * MIB, max: 64 * 1024 * MIB }),
  weightsBytes: fc.integer({ min: MIB, max: 32 * 1024 * MIB }),
  kvBytesPerToken: fc.integer({ min: 64, max: 512 * 1024 }),
  slots: fc.oneof(
    fc.integer({ min: 1, max: 64 }),
    fc.integer({ min: 1, max: 8 }).map((max) => ({ min: 1, max })),
  ),
  modelContextTokens: fc.constantFrom(512, 2048, 32_768, 131_072),
  contextTokens: fc.option(fc.integer({ min: 1, max: 200_000 }), { nil: undefined }),
  blockTokens: fc.constantFrom(16, 64),
  kvTokens: fc.option(fc.integer({ min: 0, max: 10_000_000 }), { nil: undefined }),
  diskBlocks: fc.constantFrom(0, 1000, 1_000_000),
  contextUnit: fc.constant(256),
});

test('what is promised fits in memory, and what was lowered is said', () => {
  fc.assert(
    fc.property(input, (given) => {
      const budget = dividedOr(given);
      if (budget === undefined) return;
      const { slots, contextTokens, blocksMax, hostBlocks, notes } = budget;
      const used = budget.weightsBytes + budget.slotsBytes + budget.storeBytes;
      assert.ok(used <= given.memoryBytes, `${used} of ${given.memoryBytes}`);
      assert.equal(budget.slotsBytes, slots * contextTokens * given.kvBytesPerToken);
      assert.equal(budget.storeBytes, hostBlocks * given.blockTokens * given.kvBytesPerToken);
      const asked = typeof given.slots === 'number' ? given.slots : given.slots.max;
      assert.ok(slots >= 1 && slots <= asked);
      assert.ok(contextTokens >= 256 && contextTokens % 256 === 0);
      assert.ok(contextTokens <= given.modelContextTokens);
      assert.ok(hostBlocks >= 0 && hostBlocks <= blocksMax);
      if (given.kvTokens !== undefined) {
        assert.ok(blocksMax <= Math.ceil(given.kvTokens / given.blockTokens));
      }
      const said = notes.join(' ');
      const isSaid = /slots lowered|slots fit with|context lowered/.test(said);
      if (slots < asked) assert.ok(isSaid, said);
      if (typeof given.slots === 'object' || said === '') return;
      assert.equal(said.includes('slots lowered'), slots < given.slots);
    }),
    { numRuns: 2000 },
  );
});

test('more memory never gives less of anything', () => {
  fc.assert(
    fc.property(input, fc.integer({ min: 0, max: 4096 * MIB }), (given, moreBytes) => {
      const before = dividedOr(given);
      const after = dividedOr({ ...given, memoryBytes: given.memoryBytes + moreBytes });
      if (before === undefined) return;
      assert.ok(after !== undefined && after.slots >= before.slots);
      if (after.slots === before.slots) assert.ok(after.contextTokens >= before.contextTokens);
    }),
    { numRuns: 1000 },
  );
});

test('unasked, as many slots as fit at the full context, one more would not, and never more than 8', () => {
  const seen = new Set<number>();
  fc.assert(
    fc.property(input, (given) => {
      const asked = { ...given, slots: { min: 1, max: 8 } };
      const budget = dividedOr(asked);
      if (budget === undefined) return;
      const { slots, contextTokens } = budget;
      seen.add(slots);
      const wanted = Math.min(
        given.contextTokens ?? given.modelContextTokens,
        given.modelContextTokens,
      );
      // Context is given up for slots only where not even one has all of it.
      if (slots > 1) assert.ok(contextTokens + 256 > wanted, `${contextTokens} of ${wanted}`);
      if (slots === 8) return;
      const more = dividedOr({ ...given, slots: slots + 1 });
      assert.ok(more === undefined || more.slots === slots || more.contextTokens < wanted);
    }),
    { numRuns: 2000 },
  );
  assert.ok(seen.has(1) && seen.has(4) && seen.has(8), [...seen].join());
});

test('where nothing fits, one sentence says how much would', () => {
  const given = {
    memoryBytes: 500 * MIB,
    weightsBytes: 900 * MIB,
    kvBytesPerToken: 100_000,
    slots: 2,
    modelContextTokens: 4096,
    contextTokens: undefined,
    blockTokens: 16,
    kvTokens: undefined,
    diskBlocks: 0,
    contextUnit: 256,
  };
  assert.throws(() => divide(given), /needs at least 1\.\d GiB .* leaves 500 MiB; raise --memory/);
});

/** Undefined where it says that nothing fits. */
function dividedOr(given: BudgetInput) {
  try {
    return divide(given);
  } catch (error) {
    assert.match((error as Error).message, /^This model needs at least .*\.$/);
    return undefined;
  }
}
