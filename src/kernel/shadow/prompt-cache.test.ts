import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chainOf, PromptCache, type PromptCacheLimits } from './prompt-cache.ts';

test('it holds what a list of prefixes holds that forgets its least recently used leaf', () => {
  const prompt = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 10 });
  const limits = fc.record({
    blocksMax: fc.integer({ min: 1, max: 30 }),
    promptsMax: fc.constantFrom(3, 1000),
    wordsMax: fc.constantFrom(25, 1000),
  });
  fc.assert(
    fc.property(fc.array(prompt, { maxLength: 40 }), limits, (prompts, given) => {
      const cache = new PromptCache(given);
      const twin = new Twin(given);
      for (const letters of prompts) {
        assert.equal(cache.depth(chainOf(hashesOf(letters))), twin.depth(letters));
        cache.hold(chainOf(hashesOf(letters)));
        twin.hold(letters);
        cache.check();
        assert.equal(cache.blocks, twin.nodes().size);
      }
    }),
    { numRuns: 400 },
  );
});

test('hashes that lie inside a larger buffer are read where they lie', () => {
  const whole = BigUint64Array.of(1n, 2n, 3n, 4n);
  assert.deepEqual([...chainOf(whole.subarray(1, 3))], [2, 3]);
});

/** The same by writing out every prefix, every time. */
class Twin {
  #held: { letters: number[]; words: number }[] = [];
  readonly #limits: PromptCacheLimits;

  constructor(limits: PromptCacheLimits) {
    this.#limits = limits;
  }

  nodes(held = this.#held): Set<string> {
    return new Set(
      held.flatMap(({ letters }) => letters.map((_, i) => letters.slice(0, i + 1).join())),
    );
  }

  depth(letters: number[]): number {
    const nodes = this.nodes();
    let depth = 0;
    while (depth < letters.length && nodes.has(letters.slice(0, depth + 1).join())) depth++;
    return depth;
  }

  hold(letters: number[]): void {
    const { blocksMax, promptsMax, wordsMax } = this.#limits;
    this.#held = this.#held.filter((one) => one.letters.some((letter, i) => letters[i] !== letter));
    this.#held.push({ letters: [...letters], words: letters.length });
    const words = () => this.#held.reduce((sum, one) => sum + one.words, 0);
    while (this.#held.length > promptsMax || words() > wordsMax) this.#held.shift();
    while (this.nodes().size > blocksMax) {
      const [oldest, ...rest] = this.#held;
      // Its last block goes first; what others share stays with them.
      if (this.nodes(rest).has(oldest.letters.join())) this.#held.shift();
      else if (oldest.letters.length > 1) oldest.letters.pop();
      else this.#held.shift();
    }
  }
}

/** Chained: a block's hash tells everything before it. */
function hashesOf(letters: readonly number[]): BigUint64Array {
  let hash = 1n;
  return BigUint64Array.from(letters, (letter) => (hash = hash * 4n + BigInt(letter)));
}
