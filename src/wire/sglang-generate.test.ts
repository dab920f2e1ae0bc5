import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fixture } from '../../test/engine-stand-in.ts';
import type { Part } from '../model/part.ts';
import { SglangReader } from './sglang-generate.ts';

test('both ways of streaming tell the same, whatever the cuts and however many answers', () => {
  const token = fc.record({
    id: fc.nat(1000),
    text: fc.constantFrom('a', 'b', 'aa', '', ' x', '🌞'),
  });
  const answer = fc.array(token, { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(
      fc.array(answer, { minLength: 1, maxLength: 3 }),
      fc.array(fc.nat(3), { minLength: 40, maxLength: 40 }),
      fc.boolean(),
      (answers, cuts, isWhole) => {
        const parts = read(answers.length, streamOf(answers, cuts, isWhole));
        for (const [choice, tokens] of answers.entries()) {
          const own = parts.filter((part) => part.kind === 'text' && (part.choice ?? 0) === choice);
          const ids = own.flatMap((part) => (part.kind === 'text' ? (part.ids ?? []) : []));
          const text = own.map((part) => (part.kind === 'text' ? part.text : '')).join('');
          const count = own.reduce(
            (sum, part) => sum + (part.kind === 'text' ? part.tokens : 0),
            0,
          );
          assert.deepEqual(
            ids,
            tokens.map(({ id }) => id),
          );
          assert.equal(text, tokens.map(({ text: one }) => one).join(''));
          assert.equal(count, tokens.length);
        }
        const last = parts.at(-1);
        assert.ok(last?.kind === 'done');
        assert.equal(last.usage.outputTokens, answers.flat().length);
      },
    ),
    { numRuns: 100 },
  );
});

test('the recorded answer is the same streamed either way', () => {
  const text = (name: string) =>
    read(1, linesOf(fixture('sglang', name)))
      .map((part) => (part.kind === 'text' ? part.text : ''))
      .join('');
  assert.equal(text('tokens-incremental.sse'), text('tokens.sse'));
  assert.equal(text('tokens.sse'), 'Hello, you.');
});

test('what it says went wrong is whose fault it is; a cut stream has no end', () => {
  const abort = (status_code: number) => ({ type: 'abort', message: 'no', status_code });
  const code = (chunk: object) => {
    const [last] = read(1, [JSON.stringify(chunk), '[DONE]']).slice(-1);
    return last?.kind === 'error' ? last.error.code : last?.kind;
  };
  assert.equal(code({ meta_info: { finish_reason: abort(400) } }), 'invalid_request');
  assert.equal(code({ meta_info: { finish_reason: abort(503) } }), 'queue_full');
  assert.equal(
    code({ error: { message: "The input is longer than the model's context length" } }),
    'context_length_exceeded',
  );
  assert.equal(code({ error: { message: 'scheduler died' } }), 'engine_failed');
  assert.equal(code({ text: 'a', output_ids: [1], meta_info: { completion_tokens: 1 } }), 'text');
});

test('log probabilities are of the new tokens only', () => {
  const chunk = (count: number) =>
    JSON.stringify({
      text: 'ab'.slice(0, count),
      output_ids: [1, 2].slice(0, count),
      meta_info: {
        completion_tokens: count,
        output_token_logprobs: [
          [-0.5, 1, 'a'],
          [-0.25, 2, 'b'],
        ].slice(0, count),
        output_top_logprobs: [
          [[-0.5, 1, 'a']],
          [
            [-0.25, 2, 'b'],
            [-2, 3, 'c'],
          ],
        ].slice(0, count),
      },
    });
  const told = read(1, [chunk(1), chunk(2)]).flatMap((part) =>
    part.kind === 'text' ? (part.logprobs ?? []) : [],
  );
  assert.deepEqual(
    told.map(({ text, logprob, top }) => [text, logprob, top.length]),
    [
      ['a', -0.5, 1],
      ['b', -0.25, 2],
    ],
  );
});

function read(choices: number, events: readonly string[]): Part[] {
  const reader = new SglangReader(choices);
  return events.flatMap((data) => reader.read(data));
}

function linesOf(sse: string): string[] {
  return sse.split('\n').flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : []));
}

/** Answers in turn, a few tokens at a time; `isWhole`: each time all there is. */
function streamOf(
  answers: readonly { id: number; text: string }[][],
  cuts: readonly number[],
  isWhole: boolean,
): string[] {
  const at = answers.map(() => 0);
  const events: string[] = [];
  for (let turn = 0; at.some((to, i) => to < answers[i].length); turn++) {
    const index = turn % answers.length;
    const tokens = answers[index];
    const from = at[index];
    if (from === tokens.length) continue;
    const to = Math.min(tokens.length, from + 1 + cuts[turn % cuts.length]);
    at[index] = to;
    const told = tokens.slice(isWhole ? 0 : from, to);
    events.push(
      JSON.stringify({
        index,
        text: told.map(({ text }) => text).join(''),
        output_ids: told.map(({ id }) => id),
        meta_info: {
          prompt_tokens: 5,
          completion_tokens: to,
          finish_reason: to === tokens.length ? { type: 'length', length: to } : null,
        },
      }),
    );
  }
  return [...events, '[DONE]'];
}
