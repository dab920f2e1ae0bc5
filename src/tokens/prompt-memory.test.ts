import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { commonLength, PromptMemory, type Remembered } from './prompt-memory.ts';

test('the common length is that of a loop over the units', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'é', '漢', '😀'), maxLength: 60 });
  fc.assert(
    fc.property(text, text, text, (head, a, b) => {
      const left = head + a;
      const right = head + b;
      let twin = 0;
      while (twin < left.length && twin < right.length && left[twin] === right[twin]) twin++;
      assert.equal(commonLength(left, right), twin);
    }),
    { numRuns: 500 },
  );
});

test('however many threads come, the bytes stay within the limit and the newest stay known', () => {
  const bytesMax = 20_000_000;
  const memory = new PromptMemory(bytesMax);
  for (let i = 0; i < 10_000; i++) {
    memory.remember(`thread ${i}`, longPrompt(100_000));
    assert.ok(memory.bytes <= bytesMax);
  }
  assert.ok(memory.size > 0);
  const [newest, oldest] = ['thread 9999', 'thread 0'].map((thread) =>
    memory.find(thread, 7n, longPrompt(100_000).text, 4),
  );
  assert.ok(newest !== undefined);
  assert.equal(oldest?.of, newest.of, 'another thread of the root begins like it');
  assert.equal(memory.find('thread 9999', 8n, longPrompt(100_000).text, 4), undefined);
});

test('one prompt that is larger than the limit is not remembered', () => {
  const memory = new PromptMemory(1000);
  memory.remember('a', longPrompt(1000));
  assert.deepEqual([memory.size, memory.bytes], [0, 0]);
});

let cached: Remembered | undefined;

/** The same arrays for all, as only their lengths count. */
function longPrompt(tokens: number): Remembered {
  if (cached?.ids.length === tokens) return cached;
  cached = {
    root: 7n,
    text: 'word '.repeat(tokens),
    ids: new Uint32Array(tokens),
    cuts: { text: Uint32Array.of(1000), ids: Uint32Array.of(200) },
    hashes: new BigUint64Array(tokens / 16),
  };
  return cached;
}
