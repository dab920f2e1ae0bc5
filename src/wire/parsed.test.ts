import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Part } from '../model/part.ts';
import { Parsing, type ParsingGiven } from './parsed.ts';

const USAGE = { promptTokens: 1, outputTokens: 9, cachedTokens: 0 };
const DONE: Part = { kind: 'done', finish: { kind: 'stop' }, usage: USAGE };
const text = (said: string, choice = 0): Part => ({ kind: 'text', text: said, tokens: 2, choice });

/** `?` is reasoning, `!` begins a call, `:` is an argument; anything else is text. */
class Marks {
  #calls = 0;

  push(said: string, tokens: number): Part[] {
    return Array.from(said, (mark): Part => {
      if (mark === '?') return { kind: 'reasoning', text: mark, tokens };
      if (mark === ':')
        return { kind: 'toolArguments', index: this.#calls - 1, text: '[]', tokens };
      if (mark !== '!') return { kind: 'text', text: mark, tokens };
      const index = this.#calls++;
      return { kind: 'toolCall', index, id: `c${index}`, name: 'f' };
    });
  }

  end(): Part[] {
    return [];
  }
}

test('tokens of reasoning are counted over all answers', () => {
  const ends: Part[] = [0, 1].map((choice) => {
    return { kind: 'ended', choice, finish: { kind: 'stop' } };
  });
  const parts = read([text('?a'), text('??', 1), ...ends, DONE]);
  const last = parts.at(-1);
  assert.ok(last?.kind === 'done');
  assert.equal(last.usage.reasoningTokens, 6);
});

test('each call is told with all its arguments, once it is over', () => {
  const calls: [string, string][] = [];
  const heard = (id: string, text: string) => void calls.push([id, text]);
  read([text('a!:'), text(':!'), text('b!'), DONE], { heard });
  assert.deepEqual(calls, [
    ['c0', '[][]'],
    ['c1', ''],
    ['c2', ''],
  ]);
});

test('whoever takes one call at a time gets the first of each answer', () => {
  const parts = read([text('a!:!:'), text('!:', 1), DONE], { oneCall: true });
  assert.deepEqual(
    parts.map((part) => [part.kind, 'choice' in part ? (part.choice ?? 0) : 0]),
    [
      ['text', 0],
      ['toolCall', 0],
      ['toolArguments', 0],
      ['toolCall', 1],
      ['toolArguments', 1],
      ['done', 0],
    ],
  );
});

function read(parts: readonly Part[], given: Partial<ParsingGiven> = {}): Part[] {
  const parsing = new Parsing({ parser: () => new Marks(), ...given });
  return parts.flatMap((part) => parsing.push(part));
}
