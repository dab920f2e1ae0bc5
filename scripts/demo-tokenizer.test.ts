import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BYTE_CHARACTERS } from '../src/model/byte-alphabet.ts';
import { learnMerges } from './demo-tokenizer.ts';

/** Counts every pair anew for each merge; ids in the order of their making break ties. */
function slowMerges(words: ReadonlyMap<string, number>, tokenCount: number): string[] {
  const tokens = [...BYTE_CHARACTERS];
  const merges: string[] = [];
  let texts = [...words].map(([word, count]) => ({ parts: [...word], count }));
  const age = (token: string) => tokens.indexOf(token);
  while (tokens.length < BYTE_CHARACTERS.length + tokenCount) {
    const counts = new Map<string, number>();
    for (const { parts, count } of texts) {
      for (let i = 1; i < parts.length; i++) {
        const pair = `${parts[i - 1]} ${parts[i]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + count);
      }
    }
    const [best] = [...counts].sort(([a, countA], [b, countB]) => {
      const [leftA, rightA] = a.split(' ').map(age);
      const [leftB, rightB] = b.split(' ').map(age);
      return countB - countA || leftA - leftB || rightA - rightB;
    });
    if (best === undefined) break;
    const [left, right] = best[0].split(' ');
    merges.push(best[0]);
    if (!tokens.includes(left + right)) tokens.push(left + right);
    texts = texts.map(({ parts, count }) => ({ parts: merged(parts, left, right), count }));
  }
  return merges;
}

function merged(parts: string[], left: string, right: string): string[] {
  const result: string[] = [];
  for (const part of parts) {
    const fits = result.at(-1) === left && part === right && !result.at(-1)?.endsWith('\0');
    if (fits) result[result.length - 1] = `${left}${right}\0`;
    else result.push(part);
  }
  return result.map((part) => part.replace('\0', ''));
}

test('the trainer merges as one that counts everything anew', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 12 });
  const words = fc.uniqueArray(fc.tuple(word, fc.integer({ min: 1, max: 50 })), {
    selector: ([it]) => it,
    maxLength: 12,
  });
  fc.assert(
    fc.property(words, fc.nat(25), (counted, tokenCount) => {
      const map = new Map(counted);
      assert.deepEqual(learnMerges(map, tokenCount), slowMerges(map, tokenCount));
    }),
    { numRuns: 300 },
  );
});

test('no token grows beyond what a word may be', () => {
  const merges = learnMerges(new Map([['x'.repeat(100), 1]]), 1000);
  assert.ok(merges.length > 0);
  for (const merge of merges) assert.ok(merge.length - 1 <= 24, merge);
});
