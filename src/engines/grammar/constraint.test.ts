import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import type { AnswerFrame, Format, Tool } from '../../model/request.ts';
import { constraintOf } from './constraint.ts';
import { derive } from './derivation.ts';
import { matches } from './matcher.test.ts';

const CALLS = { open: '<tool_call>\n', close: '\n</tool_call>', marker: '<tool_call>' };
const FRAME: AnswerFrame = { reasoning: undefined, calls: CALLS };
const tool = (name: string, parameters?: unknown): Tool => ({
  name,
  description: undefined,
  parameters,
});
const LS = tool('ls', { properties: { path: { type: 'string' } }, required: ['path'] });
const NOW = tool('now "x"');

function taker(format: Format, frame = FRAME, isNoise = false): (text: string) => boolean {
  const { grammar } = constraintOf(format, frame, { isNoise }) ?? assert.fail('it has a grammar');
  return (text) => matches(grammar, text);
}

const call = (name: string, given: string) =>
  `<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": ${given}}\n</tool_call>`;

test('calls are of the tools offered, with arguments of their schema', () => {
  const takes = taker({ kind: 'calls', tools: [LS, NOW], many: true });
  assert.ok(takes(call('ls', '{"path": "a"}')));
  assert.ok(takes(call('now "x"', '{}')));
  assert.ok(takes(`${call('ls', '{"path":""}')}\n${call('now "x"', '{}')}`));
  const wrong = [call('ls', '{}'), call('rm', '{}'), call('now "x"', '{"a":1}'), 'text', ''];
  for (const text of wrong) assert.ok(!takes(text), text);
  const one = taker({ kind: 'calls', tools: [NOW], many: false });
  assert.ok(!one(`${call('now "x"', '{}')}\n${call('now "x"', '{}')}`));
});

test('what cannot be enforced names the tool, or the model', () => {
  const bad: Format = { kind: 'calls', tools: [LS, tool('odd', { not: {} })], many: true };
  assert.throws(() => taker(bad), { message: /tool "odd": the schema uses not/, param: 'tools' });
  const frame = { reasoning: undefined, calls: undefined };
  assert.throws(() => taker({ kind: 'calls', tools: [LS], many: true }, frame), /tool_choice auto/);
});

test('an answer may begin with reasoning, where the model reasons, and only there', () => {
  const reasoning = { open: '<think>', close: '</think>', isOpen: false };
  const format: Format = { kind: 'schema', schema: { type: 'integer' } };
  const takes = taker(format, { reasoning, calls: undefined });
  const thoughts = ['', '\nhm\n', '<', '</', '</thin</thin', '{"a": 1} <think> é', '</thinx>'];
  for (const thought of thoughts) assert.ok(takes(`<think>${thought}</think>\n\n5`), thought);
  assert.ok(takes('5'));
  assert.ok(!takes('<think>hm 5'));
  assert.ok(!takes('<think></think>5</think>5'), 'the first end ends it');
  assert.ok(!takes('</think>5'));
  const open = taker(format, { reasoning: { ...reasoning, isOpen: true }, calls: undefined });
  assert.ok(open('hm</think>5'));
  assert.ok(!open('5'));
  assert.ok(!taker(format, { reasoning: undefined, calls: undefined })('<think></think>5'));
});

test('noise neither begins to reason nor goes on for ever', () => {
  const reasoning = { open: '<think>', close: '</think>', isOpen: false };
  const format: Format = { kind: 'json' };
  const takes = taker(format, { reasoning, calls: CALLS }, true);
  assert.ok(!takes('<think></think>{}'));
  for (const isOpen of [false, true]) {
    const frame = { reasoning: { ...reasoning, isOpen }, calls: CALLS };
    const { grammar } = constraintOf(format, frame, { isNoise: true }) ?? assert.fail();
    for (let seed = 0; seed < 50; seed++) {
      const text = derive(grammar, new Prng(seed));
      assert.ok(text.length < 5000);
      assert.equal(typeof JSON.parse(text.slice(text.indexOf('{'))), 'object');
    }
  }
});

test('a choice is one of its texts, a pattern is matched whole', () => {
  const choice = taker({ kind: 'choice', choices: ['a"b', 'é', 'ab'] });
  assert.deepEqual(['a"b', 'é', 'ab', 'a', 'abé'].map(choice), [true, true, true, false, false]);
  for (const pattern of ['a|bc', '^(?:a|bc)$', '(a|bc)']) {
    assert.deepEqual(['a', 'bc', 'abc', 'xa'].map(taker({ kind: 'regex', pattern })), [
      true,
      true,
      false,
      false,
    ]);
  }
  const escaped = taker({ kind: 'regex', pattern: '^\\$"\\n$' });
  assert.deepEqual(['$"\n', '$"n'].map(escaped), [true, false]);
  assert.throws(() => taker({ kind: 'regex', pattern: 'a**' }), /repeats nothing/);
  assert.throws(() => taker({ kind: 'choice', choices: [] }), /No text at all/);
});

test('whoever must not call needs no grammar', () => {
  assert.equal(constraintOf({ kind: 'noCalls' }, FRAME, { isNoise: false }), undefined);
});
