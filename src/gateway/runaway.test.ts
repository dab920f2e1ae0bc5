import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RunawayConfig } from '../model/agent-config.ts';
import { GatewayError } from '../model/error.ts';
import type { SessionId, TenantId } from '../model/ids.ts';
import type { Message, ToolCall } from '../model/request.ts';
import type { Note } from '../ports.ts';
import { anthropicMessages } from '../wire/anthropic-messages.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { openaiResponses } from '../wire/responses.ts';
import type { Wire } from '../wire/wire.ts';
import { identify } from './identify.ts';
import { Runaway, repeatsOf } from './runaway.ts';

const ARGUMENTS = { path: 'src/a.ts', limit: 3 };
const TURNED = { limit: 3, path: 'src/a.ts' };

/** A conversation of each wire in which `Read` was called so often, the last arguments written anew. */
const LOOPS: [Wire, (calls: number, last?: object) => object][] = [
  [
    openaiChat,
    (calls, last) => ({
      messages: [
        { role: 'user', content: 'look' },
        ...times(calls, last, (i, args) => [
          {
            role: 'assistant',
            content: null,
            tool_calls: [
              {
                id: `c${i}`,
                type: 'function',
                function: { name: 'Read', arguments: JSON.stringify(args) },
              },
            ],
          },
          { role: 'tool', tool_call_id: `c${i}`, content: `result ${i}` },
        ]),
      ],
    }),
  ],
  [
    anthropicMessages,
    (calls, last) => ({
      max_tokens: 9,
      messages: [
        { role: 'user', content: 'look' },
        ...times(calls, last, (i, input) => [
          {
            role: 'assistant',
            content: [
              { type: 'text', text: `once more, ${i}` },
              { type: 'tool_use', id: `c${i}`, name: 'Read', input },
            ],
          },
          {
            role: 'user',
            content: [
              { type: 'tool_result', tool_use_id: `c${i}`, content: `result ${i}` },
              { type: 'text', text: '<system-reminder>\nmind the time\n</system-reminder>' },
            ],
          },
        ]),
      ],
    }),
  ],
  [
    openaiResponses,
    (calls, last) => ({
      input: [
        { role: 'user', content: 'look' },
        ...times(calls, last, (i, args) => [
          {
            type: 'message',
            role: 'assistant',
            content: [{ type: 'output_text', text: `again ${i}` }],
          },
          {
            type: 'function_call',
            call_id: `c${i}`,
            name: 'Read',
            arguments: JSON.stringify(args),
          },
          { type: 'function_call_output', call_id: `c${i}`, output: `result ${i}` },
        ]),
      ],
    }),
  ],
];

test('of every wire, a loop is told in the wire’s own words, as a mistake nobody tries again', () => {
  for (const [wire, conversation] of LOOPS) {
    const ask = (calls: number, last?: object) => {
      const { prompt } = wire.parse({ model: 'm', ...conversation(calls, last) });
      return refusalOf({ repeatsMax: 4 }, { prompt });
    };
    assert.equal(ask(3), undefined, wire.name);
    assert.equal(ask(4, { path: 'src/b.ts' }), undefined, 'the last call is another one');
    const refusal = ask(4, TURNED);
    assert.ok(refusal !== undefined, wire.name);
    assert.deepEqual([refusal.status, refusal.retryable], [400, false]);
    const { error } = wire.error(refusal) as { error: { type: string; message: string } };
    assert.equal(error.type, 'invalid_request_error');
    assert.match(error.message, /4 turns in a row/);
    assert.doesNotMatch(error.message, /Read|src/, 'what the agent said is its own');
  }
});

test('a person who says something ends the row, and a harness that reminds does not', () => {
  const say = (text: string): Message => ({ role: 'user', content: [{ kind: 'text', text }] });
  const row = Array.from({ length: 5 }, () => turn(call('Bash', '{"command":"ls"}'))).flat();
  assert.equal(repeatsOf({ messages: row }, 9), 5);
  assert.equal(repeatsOf({ messages: row }, 3), 3, 'no more is looked at than decides');
  assert.equal(repeatsOf({ messages: [...row, say('try something else')] }, 9), 0);
  assert.equal(repeatsOf({ messages: [...row, say('go on'), ...row.slice(0, 4)] }, 9), 2);
  const reminder = say(
    '<system-reminder>a</system-reminder>\n<system-reminder>b</system-reminder>',
  );
  assert.equal(repeatsOf({ messages: [...row, reminder, ...row] }, 99), 10);
});

test('calls side by side count as one turn, in any order, and as text where they are no JSON', () => {
  const pair = [call('Read', '{"a":1}'), call('Bash', '{"b":[2,{"c":3,"d":4}]}')];
  const same = [call('Bash', ' {"b": [2, {"d": 4, "c": 3}]}'), call('Read', '{"a":1.0}')];
  assert.equal(repeatsOf({ messages: [...turn(...pair), ...turn(...same)] }, 9), 2);
  const other = [call('Read', '{"a":1}'), call('Bash', '{"b":[{"c":3,"d":4},2]}')];
  assert.equal(repeatsOf({ messages: [...turn(...pair), ...turn(...other)] }, 9), 1);
  assert.equal(repeatsOf({ messages: [...turn(...pair), ...turn(pair[0])] }, 9), 1);
  const broken = [call('Read', '{"a":'), call('Read', '{"a": ')];
  assert.equal(repeatsOf({ messages: broken.flatMap((one) => turn(one)) }, 9), 2);
});

test('a row is as long as its dumb count, whatever stands before it', () => {
  const word = fc.constantFrom('{"x":1,"y":[]}', '{"y":[],"x":1}', '{"x":2}', 'x');
  fc.assert(
    fc.property(fc.array(word, { maxLength: 12 }), (words) => {
      const messages = words.flatMap((json) => turn(call('Edit', json)));
      const plain = words.map((json) => (json === '{"y":[],"x":1}' ? '{"x":1,"y":[]}' : json));
      let count = 0;
      while (count < plain.length && plain.at(-1 - count) === plain.at(-1)) count++;
      assert.equal(repeatsOf({ messages }, Number.POSITIVE_INFINITY), count);
    }),
    { numRuns: 200 },
  );
});

test('without a bound nothing is stopped, and a header bounds further, never less', () => {
  const messages = Array.from({ length: 50 }, () => turn(call('Read', '{}'))).flat();
  const prompt = { kind: 'chat' as const, chat: { messages } as never };
  const asked = (bounds: RunawayConfig, headers: Record<string, string>) =>
    refusalOf(bounds, { prompt, headers, spent: 500 })?.code;
  assert.equal(asked({}, {}), undefined);
  assert.equal(asked({}, { 'x-stator-repeats-max': '50' }), 'runaway_tool_calls');
  assert.equal(asked({ repeatsMax: 50 }, { 'x-stator-repeats-max': '99' }), 'runaway_tool_calls');
  assert.equal(asked({ repeatsMax: 51 }, { 'x-stator-repeats-max': '51' }), undefined);
  assert.equal(asked({ tokensMax: 501 }, {}), undefined);
  assert.equal(asked({ tokensMax: 500 }, {}), 'token_budget_exceeded');
  assert.equal(
    asked({ tokensMax: 900 }, { 'x-stator-tokens-max': '500' }),
    'token_budget_exceeded',
  );
  for (const wrong of ['1', '0', '-3', '2.5', 'many', '9'.repeat(16)]) {
    assert.equal(asked({}, { 'x-stator-repeats-max': wrong }), 'invalid_request', wrong);
  }
});

test('a program that asks again and again is logged once', () => {
  const warnings: string[] = [];
  const note = (one: Note) => void (one.kind === 'warning' && warnings.push(one.sentence));
  const runaway = new Runaway({ bounds: { tokensMax: 1 }, spentOf: () => 2, sink: { note } });
  const prompt = { kind: 'text' as const, text: 'a secret' };
  for (const session of ['a', 'b', 'a', 'b', 'a']) {
    const who = { ...identify('t' as TenantId, {}, []), session: session as SessionId };
    assert.throws(() => runaway.check({ who, prompt, headers: {} }), GatewayError);
  }
  assert.equal(warnings.length, 2);
  assert.match(warnings[0], /"a" of tenant "t" was stopped/);
  assert.doesNotMatch(warnings.join(), /secret/);
});

function refusalOf(
  bounds: RunawayConfig,
  given: {
    prompt: Parameters<Runaway['check']>[0]['prompt'];
    headers?: Record<string, string>;
    spent?: number;
  },
): GatewayError | undefined {
  const { prompt, headers = {}, spent = 0 } = given;
  const runaway = new Runaway({ bounds, spentOf: () => spent, sink: { note: () => {} } });
  try {
    runaway.check({ who: identify('t' as TenantId, {}, []), prompt, headers });
    return undefined;
  } catch (error) {
    assert.ok(error instanceof GatewayError);
    return error;
  }
}

function times(
  count: number,
  last: object = ARGUMENTS,
  make: (i: number, args: object) => object[],
): object[] {
  return Array.from({ length: count }, (_, i) =>
    make(i, i === count - 1 ? last : ARGUMENTS),
  ).flat();
}

function call(name: string, argumentsJson: string): ToolCall {
  return { id: 'c', name, argumentsJson };
}

function turn(...toolCalls: ToolCall[]): Message[] {
  const results = toolCalls.map(
    ({ id }): Message => ({ role: 'tool', content: [], toolCallId: id, isError: false }),
  );
  return [{ role: 'assistant', content: [], reasoning: undefined, toolCalls }, ...results];
}
