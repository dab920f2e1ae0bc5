import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../model/error.ts';
import { textOf } from '../model/request.ts';
import type { Json } from './fields.ts';
import { openaiResponses } from './responses.ts';
import { openaiCompaction } from './responses-compact.ts';
import type { Ask, Opening } from './wire.ts';

const OPENING: Opening = { id: 'resp_9', createdS: 1, model: 'm', promptTokens: 1 };
const TOOLS = [{ type: 'function', name: 'ls' }];
const CONVERSATION = [
  { role: 'developer', content: 'Be brief.' },
  { role: 'user', content: 'one' },
  { type: 'function_call', call_id: 'c', name: 'ls', arguments: '{}' },
  { type: 'function_call_output', call_id: 'c', output: 'a' },
  { role: 'assistant', content: 'two' },
  { id: 'msg_mine', role: 'user', content: [{ type: 'input_text', text: 'three' }] },
];

test('a compaction extends its conversation, and what comes of it is a conversation to go on from', () => {
  const body = { model: 'm', tools: TOOLS, input: CONVERSATION };
  const messages = messagesOf(openaiResponses.parse(body));
  const ask = openaiCompaction.parse(body);
  const asked = messagesOf(ask);
  assert.deepEqual(asked.slice(0, -1), messages, 'so that its KV is found again');
  assert.equal(asked.length, messages.length + 1);
  const { output, ...compacted } = compact(ask, 'They count. 漢');
  assert.equal(compacted.object, 'response.compaction');
  assert.deepEqual(
    output.map(({ id, type }) => [id, type]),
    [
      ['msg_9_0', 'message'],
      ['msg_9_1', 'message'],
      ['cmp_9_2', 'compaction'],
    ],
  );
  const next = [...output, { role: 'user', content: 'four' }];
  const said = messagesOf(openaiResponses.parse({ model: 'm', input: next }));
  assert.deepEqual(
    said.map(({ role }) => role),
    ['user', 'user', 'user', 'user'],
  );
  assert.deepEqual(
    [said[0], said[1], said[3]].map(({ content }) => textOf(content)),
    ['one', 'three', 'four'],
  );
  assert.match(textOf(said[2].content), /^Summary .*\n\nThey count\. 漢$/);
  const again = compact(openaiCompaction.parse({ model: 'm', input: next }), 'Shorter.');
  assert.equal(again.output.length, 5, 'what stands for earlier parts stays');
});

test('what another vendor compacted cannot be gone on from', () => {
  const item = { type: 'compaction', id: 'cmp_1', encrypted_content: 'gAAAAABpM0Yj' };
  assert.throws(
    () => openaiResponses.parse({ model: 'm', input: [item] }),
    (thrown) => thrown instanceof GatewayError && thrown.param === 'input[0].encrypted_content',
  );
  assert.throws(() => openaiCompaction.parse({ input: 'x' }), GatewayError);
});

function compact(ask: Ask, text: string): Json & { output: Json[] } {
  const usage = { promptTokens: 5, outputTokens: 2, cachedTokens: 4 };
  const answer = {
    blocks: [
      { kind: 'reasoning' as const, text: 'hm' },
      { kind: 'text' as const, text },
    ],
    ...{ logprobs: [], others: [], finish: { kind: 'stop' as const }, usage, extras: undefined },
  };
  return openaiCompaction.whole(ask, OPENING, answer) as Json & { output: Json[] };
}

function messagesOf({ prompt }: Ask) {
  assert.ok(prompt.kind === 'chat');
  return prompt.chat.messages;
}
