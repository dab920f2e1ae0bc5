import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { recorded } from '../../test/recorded.ts';
import { GatewayError } from '../model/error.ts';
import type { Json } from './fields.ts';
import { readResponsesInput } from './responses-input.ts';

const text = (it: string) => [{ kind: 'text', text: it }];

test('items of one answer become one message, and instructions come first', () => {
  const { messages, tools } = read({
    instructions: 'Be brief.',
    input: [
      { role: 'user', content: 'look' },
      {
        type: 'reasoning',
        id: 'rs_1',
        summary: [],
        content: [{ type: 'reasoning_text', text: 'Hm.' }],
      },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'I look.' }] },
      call('c1'),
      call('c2'),
      { type: 'function_call_output', call_id: 'c1', output: 'one' },
      {
        type: 'function_call_output',
        call_id: 'c2',
        output: [{ type: 'input_text', text: 'two' }],
      },
      call('c3'),
      { type: 'message', role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] },
      { role: 'developer', content: [{ type: 'input_text', text: 'Now.' }] },
    ],
    tools: [{ type: 'function', name: 'look', parameters: { type: 'object' }, strict: true }],
  });
  const look = (id: string) => ({ id, name: 'look', argumentsJson: '{"a": 1}' });
  const answer = { role: 'assistant', content: [], reasoning: undefined, toolCalls: [] };
  assert.deepEqual(messages, [
    { role: 'system', content: text('Be brief.') },
    { role: 'user', content: text('look') },
    { ...answer, content: text('I look.'), reasoning: 'Hm.', toolCalls: [look('c1'), look('c2')] },
    { role: 'tool', content: text('one'), toolCallId: 'c1', isError: false },
    { role: 'tool', content: text('two'), toolCallId: 'c2', isError: false },
    { ...answer, toolCalls: [look('c3')] },
    { ...answer, content: text('No.') },
    { role: 'system', content: text('Now.') },
  ]);
  assert.deepEqual(tools, [
    { name: 'look', description: undefined, parameters: { type: 'object' } },
  ]);
  assert.equal(read({ input: 'x' }).thinking, undefined);
  assert.equal(read({ input: 'x', reasoning: { effort: 'none' } }).thinking, false);
});

test('what a conversation cannot express is refused, and the field is named', () => {
  const user = { role: 'user', content: 'x' };
  const refusals: [Json, string][] = [
    [{}, 'input'],
    [{ input: [] }, 'input'],
    [{ input: 5 }, 'input'],
    [{ input: [5] }, 'input[0]'],
    [{ input: 'x', model: undefined }, 'model'],
    [{ input: 'x', previous_response_id: 'resp_1' }, 'previous_response_id'],
    [{ input: 'x', conversation: { id: 'conv_1' } }, 'conversation'],
    [{ input: [user, { type: 'item_reference', id: 'msg_1' }] }, 'input[1].type'],
    [{ input: [user, { type: 'computer_call', id: 'x' }] }, 'input[1].type'],
    [{ input: [{ role: 'robot', content: 'x' }] }, 'input[0].role'],
    [
      { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'x' }] }] },
      'input[0].content[0].type',
    ],
    [{ input: [user, { type: 'reasoning', summary: [], encrypted_content: 'x' }] }, 'input[1]'],
    [{ input: [user, { ...call('c1'), namespace: 'n' }] }, 'input[1].namespace'],
    [{ input: [user, { ...call('c1'), arguments: {} }] }, 'input[1].arguments'],
    [{ input: 'x', tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    [{ input: 'x', tool_choice: { type: 'file_search' } }, 'tool_choice'],
  ];
  for (const [body, param] of refusals) {
    assert.throws(
      () => read(body),
      (thrown) => thrown instanceof GatewayError && thrown.param === param && thrown.status === 400,
      param,
    );
  }
});

test('any JSON is read or refused, never a failure of ours', () => {
  const item = fc.record(
    {
      type: fc.constantFrom('message', 'reasoning', 'function_call', 'function_call_output'),
      role: fc.constantFrom('user', 'assistant', 'system'),
      content: fc.jsonValue(),
      call_id: fc.jsonValue(),
      name: fc.jsonValue(),
      arguments: fc.jsonValue(),
      output: fc.jsonValue(),
      encrypted_content: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(fc.array(item), fc.jsonValue()), fc.jsonValue(), (input, tools) => {
      try {
        read({ input, tools });
      } catch (thrown) {
        assert.ok(thrown instanceof GatewayError, String(thrown));
      }
    }),
    { numRuns: 1000 },
  );
});

/** Two sessions in one folder: what differs are ids of items, and the user's words at the end. */
test('without ids of items, sessions of Codex begin alike up to the words of their users', () => {
  const sessions = new Map<string, Json>();
  for (const { client, headers, body } of recorded('/v1/responses')) {
    const isMain =
      headers['x-openai-subagent'] === undefined && headers['session-id'] !== undefined;
    const session = headers['session-id'];
    if (client === 'codex' && isMain && !sessions.has(session)) sessions.set(session, body);
  }
  const [first, second] = [...sessions.values()];
  const raw = sharedLength(JSON.stringify(first.input), JSON.stringify(second.input));
  const messages = [first, second].map((body) => JSON.stringify(read(expressible(body)).messages));
  const alike = sharedLength(messages[0], messages[1]);
  const saved = Math.round((alike - raw) / 4);
  console.log(
    `  shared by two sessions: ${raw} characters with ids, ${alike} without (~${saved} tokens saved)`,
  );
  assert.ok(saved > 0);
});

test('each recorded request is read once what only its vendor knows is taken out', () => {
  let count = 0;
  for (const { name, body } of recorded('/v1/responses')) {
    if (body.previous_response_id !== undefined) continue;
    const chat = readResponsesInput(expressible(body));
    assert.ok(chat.messages.length > 0, name);
    assert.ok(!JSON.stringify(chat).includes('"rs_'), name);
    count++;
  }
  assert.ok(count > 0);
});

function read(body: Json) {
  return readResponsesInput({ model: 'm', ...body });
}

function call(id: string): Json {
  return {
    type: 'function_call',
    id: `fc_${id}`,
    call_id: id,
    name: 'look',
    arguments: '{"a": 1}',
  };
}

function expressible(body: Json): Json {
  const tools = (body.tools as Json[]).filter(({ type }) => type === 'function');
  const input = (body.input as Json[])
    .filter((item) => item.type !== 'item_reference' && item.encrypted_content === undefined)
    .map(({ namespace: _, ...item }) => item);
  return { ...body, tools, input };
}

function sharedLength(one: string, other: string): number {
  let end = 0;
  while (end < one.length && one[end] === other[end]) end++;
  return end;
}
