import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { assertGolden } from '../../test/golden.ts';
import { recorded } from '../../test/recorded.ts';
import { GatewayError } from '../model/error.ts';
import { type Chat, textOf } from '../model/request.ts';
import type { Json } from './fields.ts';
import { openaiResponses } from './responses.ts';
import { inputItems } from './responses-items.ts';
import { packReasoning } from './responses-reasoning.ts';
import type { Ask } from './wire.ts';

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
  assert.equal(read({ input: 'x', reasoning: { effort: 'high' } }).effort, 'high');
});

test('reasoning comes back in the model’s own words, however the client kept it', () => {
  const kept = (fields: Json) => {
    const item = { type: 'reasoning', id: 'rs_1', ...fields };
    const [, answer] = read({ input: [{ role: 'user', content: 'x' }, item, call('c1')] }).messages;
    return answer.role === 'assistant' ? answer.reasoning : 'no answer';
  };
  const summary = [{ type: 'summary_text', text: 'short' }];
  const own = [{ type: 'reasoning_text', text: 'Hm… 漢\n' }];
  const packed = packReasoning('Hm… 漢\n');
  assert.equal(kept({ summary: [], content: own }), 'Hm… 漢\n');
  assert.equal(kept({ summary, content: null, encrypted_content: packed }), 'Hm… 漢\n');
  assert.equal(kept({ summary, encrypted_content: 'gAAAAB-of-another-vendor' }), 'short');
  assert.equal(kept({ summary, encrypted_content: packed.slice(0, -1) }), 'short', 'torn');
  assert.equal(kept({ summary: [], encrypted_content: 'gAAAAB-of-another-vendor' }), undefined);
  assert.equal(kept({ summary: [] }), undefined);
});

test('calls of all kinds, and their results, are calls of functions', () => {
  const custom = {
    type: 'custom_tool_call',
    call_id: 'c1',
    name: 'apply',
    input: 'a "b"\n',
  };
  const shell = {
    type: 'shell_call',
    call_id: 'c3',
    action: { commands: ['ls'], timeout_ms: 5, max_output_length: null },
  };
  const local = {
    type: 'local_shell_call',
    id: 'lsh_4',
    action: { type: 'exec', command: ['ls', '-l'], env: {} },
  };
  const patch = {
    type: 'apply_patch_call',
    call_id: 'c5',
    operation: { type: 'delete_file', path: 'a' },
  };
  const results = [
    { type: 'custom_tool_call_output', call_id: 'c1', output: 'done' },
    {
      type: 'shell_call_output',
      call_id: 'c3',
      output: [{ stdout: 'a', stderr: 'b', outcome: { type: 'exit', exit_code: 2 } }],
    },
    { type: 'local_shell_call_output', id: 'lsh_4', output: 'c' },
    { type: 'apply_patch_call_output', call_id: 'c5', status: 'failed' },
  ];
  const spawn = { ...call('c2'), name: 'spawn', namespace: 'agents' };
  const searched = { type: 'web_search_call', id: 'ws_1', status: 'completed' };
  const items = [custom, spawn, shell, searched, local, patch, ...results];
  const [, answer, ...told] = read({ input: [{ role: 'user', content: 'x' }, ...items] }).messages;
  assert.deepEqual(answer.role === 'assistant' && answer.toolCalls, [
    { id: 'c1', name: 'apply', argumentsJson: '{"input":"a \\"b\\"\\n"}' },
    { id: 'c2', name: 'agents__spawn', argumentsJson: '{"a": 1}' },
    { id: 'c3', name: 'shell', argumentsJson: '{"commands":["ls"],"timeout_ms":5}' },
    { id: 'lsh_4', name: 'local_shell', argumentsJson: '{"command":["ls","-l"]}' },
    { id: 'c5', name: 'apply_patch', argumentsJson: '{"type":"delete_file","path":"a"}' },
  ]);
  const result = (toolCallId: string, said: string, isError = false) => {
    return { role: 'tool', content: text(said), toolCallId, isError };
  };
  assert.deepEqual(told, [
    result('c1', 'done'),
    result('c3', 'a\nb\n[exit code 2]'),
    result('lsh_4', 'c'),
    result('c5', 'failed', true),
  ]);
});

test('pictures and files are content, and nothing is fetched', () => {
  const data = (type: string, bytes: string | Uint8Array) =>
    `data:${type};base64,${Buffer.from(bytes).toString('base64')}`;
  const pdf = data('application/pdf', '%PDF-1.1 …');
  const content = (...parts: Json[]) =>
    read({ input: [{ role: 'user', content: parts }] }).messages[0].content;
  assert.deepEqual(
    content(
      { type: 'input_image', image_url: 'data:image/png;base64,AA==', detail: 'auto' },
      { type: 'input_file', filename: 'a.md', file_data: data('text/markdown', '# ä') },
      { type: 'input_file', file_data: Buffer.from('bare').toString('base64') },
      { type: 'input_file', filename: 'a.pdf', file_data: pdf },
      { type: 'input_file', file_data: data('text/plain', Uint8Array.of(0xff, 0)) },
    ),
    [
      { kind: 'image', url: 'data:image/png;base64,AA==' },
      { kind: 'text', text: 'a.md:\n# ä' },
      { kind: 'text', text: 'bare' },
      { kind: 'file', url: pdf, name: 'a.pdf' },
      { kind: 'file', url: 'data:text/plain;base64,/wA=' },
    ],
  );
  for (const field of ['file_url', 'file_id']) {
    const part = { type: 'input_file', [field]: 'http://127.0.0.1/x' };
    assert.throws(
      () => content(part),
      (thrown) => thrown instanceof GatewayError && thrown.param === `input[0].content[0].${field}`,
    );
  }
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
    [{ input: [user, { type: 'item_reference', id: 'msg_1' }] }, 'input[1]'],
    [{ input: [user, { type: 'computer_call', id: 'x' }] }, 'input[1].type'],
    [{ input: [{ role: 'robot', content: 'x' }] }, 'input[0].role'],
    [
      { input: [{ role: 'user', content: [{ type: 'input_audio', data: 'x' }] }] },
      'input[0].content[0].type',
    ],
    [
      { input: [user, { type: 'compaction', encrypted_content: 'x' }] },
      'input[1].encrypted_content',
    ],
    [{ input: [user, { ...call('c1'), namespace: 5 }] }, 'input[1].namespace'],
    [{ input: [user, { ...call('c1'), arguments: {} }] }, 'input[1].arguments'],
    [{ input: [call('c1'), { ...result('c2'), output: 'x' }] }, 'input[1].call_id'],
    [{ input: [result('c1'), call('c1')] }, 'input[0].call_id'],
    [{ input: 'x', tools: [{ name: 'look' }] }, 'tools[0].type'],
    [{ input: 'x', tool_choice: { type: 'file_search' } }, 'tool_choice.type'],
    [{ input: 'x', background: true }, 'background'],
    [{ input: 'x', text: { format: { type: 'yaml' } } }, 'text.format.type'],
    [{ input: 'x', metadata: { a: 1 } }, 'metadata.a'],
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
  const any = fc.jsonValue({ maxDepth: 3 });
  const types = [
    'message',
    'reasoning',
    'function_call',
    'function_call_output',
    'custom_tool_call',
    'shell_call',
    'shell_call_output',
    'local_shell_call_output',
    'tool_search_output',
    'apply_patch_call',
  ];
  const item = fc.record(
    {
      type: fc.constantFrom(...types),
      role: fc.constantFrom('user', 'assistant', 'system'),
      content: any,
      ...{ call_id: any, name: any, arguments: any, input: any, output: any, action: any },
      ...{ operation: any, tools: any, summary: any, encrypted_content: any, id: any },
    },
    { requiredKeys: ['type'] },
  );
  const tool = fc.record(
    {
      type: fc.constantFrom('function', 'custom', 'namespace', 'shell', 'tool_search', 'mcp'),
      ...{ name: any, description: any, parameters: any, format: any, tools: any, execution: any },
    },
    { requiredKeys: ['type'] },
  );
  const body = fc.record(
    {
      input: fc.oneof(fc.array(item), any),
      tools: fc.oneof(fc.array(tool), any),
      ...{ tool_choice: any, text: any, reasoning: any, include: any, metadata: any, user: any },
    },
    { requiredKeys: ['input'] },
  );
  fc.assert(
    fc.property(body, (given) => {
      try {
        read(given);
      } catch (thrown) {
        assert.ok(thrown instanceof GatewayError, String(thrown));
      }
    }),
    { numRuns: 1000 },
  );
});

/** Two sessions in one folder: what differs are ids of items, and the user's words at the end. */
test('more items than any context holds, or deeper ones, are refused before they are read', () => {
  const item = (levels: number) => {
    let inner: unknown = 1;
    for (let i = 0; i < levels; i++) inner = { inner };
    return { role: 'user', content: 'x', inner };
  };
  const read = (input: unknown) => inputItems(input, (prefix) => prefix);
  assert.equal(read([item(50)]).length, 1);
  // Deep enough to break whoever goes down without counting.
  assert.throws(() => read([{ type: 'x' }, item(100_000)]), /input\[1\] is nested/);
  assert.throws(() => read(Array(200_001).fill({ role: 'user', content: '' })), /at most 200000/);
});

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
  const messages = [first, second].map((body) => JSON.stringify(read(resolved(body)).messages));
  const alike = sharedLength(messages[0], messages[1]);
  const saved = Math.round((alike - raw) / 4);
  console.log(
    `  shared by two sessions: ${raw} characters with ids, ${alike} without (~${saved} tokens saved)`,
  );
  assert.ok(saved > 0);
});

test('each recorded request is read once its references are resolved', () => {
  let count = 0;
  for (const { name, body } of recorded('/v1/responses')) {
    const { prompt, responses } = openaiResponses.parse(resolved(body));
    assert.ok(prompt.kind === 'chat' && prompt.chat.messages.length > 0, name);
    assert.ok(!JSON.stringify(prompt.chat).includes('"rs_'), name);
    const tools = (body.tools as Json[]).flatMap(({ type, tools }) =>
      type === 'namespace' ? (tools as Json[]) : type === 'function' ? [{ type }] : [],
    );
    assert.equal(prompt.chat.tools.length, tools.length, name);
    for (const tool of prompt.chat.tools) assert.match(tool.name, /^[a-zA-Z0-9_-]+$/, name);
    const searches = (body.tools as Json[]).some(({ type }) => type === 'web_search');
    assert.equal(responses?.note?.includes('web_search') ?? false, searches, name);
    count++;
  }
  assert.ok(count > 0);
});

test('requests of real clients, as they are understood', () => {
  const lines = recorded('/v1/responses')
    .filter(({ name }) => existsSync(`test/fixtures/clients/${name}`))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, body }) => `${name}\n${described(openaiResponses.parse(resolved(body)))}`);
  assertGolden('wire/responses-requests.txt', lines.join('\n'));
});

/** Who says what, shortened; and what else was read. */
function described({ prompt, names, shape, stream, responses }: Ask): string {
  assert.ok(prompt.kind === 'chat');
  const { messages, tools, toolChoice } = prompt.chat;
  const said = messages.map((message) => {
    const calls = message.role === 'assistant' ? message.toolCalls : [];
    const text = JSON.stringify(textOf(message.content).slice(0, 40));
    const called = calls.map(
      ({ name, argumentsJson }) => ` ${name}(${argumentsJson.slice(0, 40)})`,
    );
    const thought =
      message.role === 'assistant' && message.reasoning !== undefined ? ' thinks' : '';
    return `  ${message.role}${thought} ${text}${called.join('')}`;
  });
  const shown = tools.map(({ name }) => name).join(' ');
  const more = {
    ...{ toolChoice, names, format: shape.format, stream, note: responses?.note },
    ...{ reasoningAs: responses?.reasoningAs, packs: responses?.packsReasoning },
  };
  return `${said.join('\n')}\n  tools ${shown}\n  ${JSON.stringify(more)}\n`;
}

function read(body: Json): Chat {
  const { prompt } = openaiResponses.parse({ model: 'm', ...body });
  assert.ok(prompt.kind === 'chat');
  return prompt.chat;
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

function result(id: string): Json {
  return { type: 'function_call_output', call_id: id, output: 'found' };
}

/** As whoever keeps responses hands it on. */
function resolved({ previous_response_id: previous, ...body }: Json): Json {
  const sent = body.input as Json[];
  const earlier = previous === undefined ? [] : sent.map(({ call_id }) => call(String(call_id)));
  const input = sent.map((item) =>
    item.type === 'item_reference' ? { role: 'assistant', content: 'kept' } : item,
  );
  return { ...body, input: [...earlier, ...input] };
}

function sharedLength(one: string, other: string): number {
  let end = 0;
  while (end < one.length && one[end] === other[end]) end++;
  return end;
}
