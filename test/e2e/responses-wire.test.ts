/**
 * The Responses API over a running gateway: what Open Responses' compliance tests ask for, an agent's
 * session as Codex sends it, and bodies that follow the published schema of requests, or nearly do.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { type ReadResponse, readResponses } from '../responses-reader.ts';
import { post, type Reply } from './client.ts';
import { type Stack, scripted, startUp } from './stack.ts';

type Json = Record<string, unknown>;
type Response = ReadResponse['response'] & { usage: Usage };
interface Usage {
  input_tokens: number;
  input_tokens_details: { cached_tokens: number };
  output_tokens: number;
}

const PATCH = '*** Begin Patch\n*** Update File: a "b".ts\n+const x = 1;\n*** End Patch\n';
const STEPS = [
  { name: 'exec', arguments: { cmd: 'cat README.md' } },
  { name: 'apply_patch', arguments: { input: PATCH } },
  { name: 'agents__spawn', arguments: { message: 'look' } },
  { name: 'exec', arguments: { cmd: 'npm test' } },
  { name: 'exec', arguments: { cmd: 'git diff' } },
];

let stack: Stack;
before(async () => {
  const steps = STEPS.map((call, i) => ({
    match: i === 0 ? 'Begin the work' : `result ${i - 1}\\b`,
    text: `Step ${i}.`,
    reasoning: `I think of step ${i}.`,
    toolCalls: [call],
  }));
  stack = await startUp(
    scripted([
      { match: 'somebody who has not seen', text: 'They count to five.' },
      { match: `result ${STEPS.length - 1}\\b`, text: 'All is done.' },
      ...steps.reverse(),
      { match: 'weather', toolCalls: [{ name: 'get_weather', arguments: { city: 'Łódź' } }] },
      { match: 'break later', text: 'one two three', fault: { kind: 'error', afterParts: 2 } },
      { match: '', text: 'Hello to you.' },
    ]),
  );
});

const message = (role: string, content: unknown) => ({ type: 'message', role, content });
const GET_WEATHER = {
  type: 'function',
  name: 'get_weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
};

test('each answer is a whole response object, streamed or not', async () => {
  const bodies: Record<string, Json> = {
    'a string': { input: 'Say hello.' },
    'a system prompt': { input: [message('system', 'Be brief.'), message('user', 'Hello.')] },
    'several turns, with phases': {
      input: [
        message('user', 'My name is Alice.'),
        { ...message('assistant', 'I am thinking.'), phase: 'commentary' },
        { ...message('assistant', 'Hello Alice.'), phase: 'final_answer' },
        message('user', 'What is my name?'),
      ],
    },
    'a tool': { input: 'How is the weather?', tools: [GET_WEATHER] },
    'an image in the history': {
      input: [
        message('user', [{ type: 'input_image', image_url: 'data:image/png;base64,AA==' }]),
        message('assistant', 'A heart.'),
        message('user', 'Thanks.'),
      ],
    },
    'every setting': {
      input: 'Hello.',
      ...{ instructions: 'Be brief.', metadata: { a: 'b' }, user: 'u', safety_identifier: 's' },
      ...{ temperature: 0.5, top_p: 0.9, max_output_tokens: 100, max_tool_calls: 3 },
      ...{ reasoning: { effort: 'low', summary: 'auto' }, text: { verbosity: 'low' } },
      ...{ include: ['reasoning.encrypted_content', 'message.output_text.logprobs'] },
      ...{ truncation: 'auto', service_tier: 'auto', prompt_cache_key: 'k', store: false },
      ...{ parallel_tool_calls: false, tools: [GET_WEATHER], tool_choice: 'auto', top_logprobs: 2 },
    },
  };
  for (const [name, body] of Object.entries(bodies)) {
    const { status, body: whole, text } = await send({ model: 'demo', ...body });
    assert.equal(status, 200, `${name}: ${text}`);
    assertComplete(whole as Json, name);
    const streamed = await completed(body);
    assertComplete(streamed, name);
    assert.deepEqual(nameless(streamed), nameless(whole as Json), name);
  }
});

test('an agent’s session: each turn’s prompt begins with the one before and its answer', async () => {
  const tools = [
    { type: 'function', name: 'exec', parameters: { type: 'object' } },
    { type: 'custom', name: 'apply_patch', format: { type: 'text' } },
    { type: 'namespace', name: 'agents', tools: [{ type: 'function', name: 'spawn' }] },
    { type: 'web_search' },
  ];
  const asking = {
    ...{ tools, store: false, include: ['reasoning.encrypted_content'] },
    ...{ reasoning: { summary: 'auto' }, prompt_cache_key: 'session-1' },
  };
  const input: unknown[] = [
    message('developer', 'You are an agent. '.repeat(40)),
    message('user', 'Begin the work.'),
  ];
  let before: Usage | undefined;
  const types: unknown[] = [];
  for (let turn = 0; turn <= STEPS.length; turn++) {
    const { output, usage } = await completed({ ...asking, input });
    if (before !== undefined) {
      const known = before.input_tokens + before.output_tokens;
      const { cached_tokens: cached } = usage.input_tokens_details;
      // What was computed for the answer's end is a started block.
      assert.ok(cached >= known - 32, `turn ${turn}: ${cached} of ${known} known tokens cached`);
    }
    before = usage;
    input.push(...output);
    const call = output.find(({ call_id }) => call_id !== undefined);
    types.push(call?.type ?? output.at(-1)?.type);
    if (call === undefined) continue;
    const type = `${call.type}_output`;
    input.push({ type, call_id: call.call_id, output: `result ${turn}` });
    if (turn === 1) assert.equal(call.input, PATCH);
    if (turn === 2) assert.deepEqual([call.namespace, call.name], ['agents', 'spawn']);
  }
  const fn = 'function_call';
  assert.deepEqual(types, [fn, 'custom_tool_call', fn, fn, fn, 'message']);
});

test('a conversation is compacted, and gone on from', async () => {
  const input = [message('user', 'Count to five.'), message('assistant', 'One, two.')];
  const url = `${stack.url}/v1/responses/compact`;
  const { status, body } = await post<Json & { output: Json[] }>(url, { model: 'demo', input });
  assert.equal(status, 200);
  assert.equal(body.object, 'response.compaction');
  assert.deepEqual(
    body.output.map(({ type }) => type),
    ['message', 'compaction'],
  );
  await completed({ input: [...body.output, message('user', 'Go on.')] });
});

test('a failure in the middle is told in the stream', async () => {
  const { response, error } = await streamed({ input: 'Please break later.' });
  assert.equal(response.status, 'failed');
  assert.equal((response.error as Json).code, 'server_error');
  assert.ok(error);
});

test('whatever the schema of requests allows, or nearly, is answered or refused', async () => {
  await fc.assert(
    fc.asyncProperty(requestArbitrary(), async (body) => {
      const { status, text } = await send(body);
      if (status !== 200) {
        assert.ok(status === 400 || status === 404, `${status}: ${text}`);
        assert.ok((JSON.parse(text) as { error: { message: string } }).error.message);
      } else if (body.stream === true) readResponses(text);
      else assertComplete(JSON.parse(text) as Json, text);
    }),
    { numRuns: 150, endOnFailure: true },
  );
});

async function completed(body: Json): Promise<Response> {
  const { response } = await streamed(body);
  assert.equal(response.status, 'completed');
  return response as Response;
}

async function streamed(body: Json): Promise<ReadResponse> {
  const { status, text } = await send({ model: 'demo', ...body, stream: true });
  assert.equal(status, 200, text);
  return readResponses(text);
}

function send(body: Json): Promise<Reply<unknown>> {
  return post(`${stack.url}/v1/responses`, body);
}

/** Without what is another one in each answer. */
function nameless(response: Json): unknown {
  const text = JSON.stringify(response, (key, value: unknown) =>
    ['id', 'call_id', 'created_at', 'completed_at', 'cached_tokens'].includes(key) ? '' : value,
  );
  return JSON.parse(text);
}

/** Every field that Open Responses' schema requires, and of its type (`null` where it may be that). */
function assertComplete(response: Json, name: string): void {
  for (const [field, types] of Object.entries(REQUIRED)) {
    const value = response[field];
    const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
    assert.ok(types.split(' ').includes(type), `${name}: ${field} is ${type}`);
  }
  assert.ok((response.output as unknown[]).length > 0, name);
}

const REQUIRED: Record<string, string> = {
  ...{ id: 'string', object: 'string', created_at: 'number', completed_at: 'number null' },
  ...{ status: 'string', incomplete_details: 'object null', model: 'string', output: 'array' },
  ...{ previous_response_id: 'string null', instructions: 'string null', error: 'object null' },
  ...{ tools: 'array', tool_choice: 'string object', truncation: 'string', text: 'object' },
  ...{ parallel_tool_calls: 'boolean', top_p: 'number', temperature: 'number' },
  ...{ presence_penalty: 'number', frequency_penalty: 'number', top_logprobs: 'number' },
  ...{ reasoning: 'object null', usage: 'object', max_output_tokens: 'number null' },
  ...{ max_tool_calls: 'number null', store: 'boolean', background: 'boolean' },
  ...{ service_tier: 'string', metadata: 'object', safety_identifier: 'string null' },
  prompt_cache_key: 'string null',
};

/** As Open Responses describes a request, with a wrong value here and there. */
function requestArbitrary(): fc.Arbitrary<Json> {
  const wrong = fc.jsonValue({ maxDepth: 2 });
  const or = (right: fc.Arbitrary<unknown>) =>
    fc.oneof({ weight: 40, arbitrary: right }, { weight: 1, arbitrary: wrong });
  const words = or(fc.string({ unit: 'grapheme', maxLength: 20 }));
  const text = (type: string) => fc.record({ type: fc.constant(type), text: words });
  const says = (role: string, type: string) =>
    fc.record({
      type: fc.constant('message'),
      role: or(fc.constant(role)),
      content: fc.oneof(words, fc.array(text(type), { maxLength: 2 })),
    });
  const call = { call_id: or(fc.constant('c')), id: or(fc.constant(null)) };
  const item = fc.oneof(
    ...[says('user', 'input_text'), says('developer', 'input_text')],
    says('assistant', 'output_text'),
    fc.record({
      type: fc.constant('reasoning'),
      summary: fc.array(text('summary_text'), { maxLength: 1 }),
      encrypted_content: words,
    }),
    fc.record({ type: fc.constant('function_call'), ...call, name: words, arguments: words }),
    fc.record({ type: fc.constant('function_call_output'), ...call, output: words }),
  );
  const format = fc.constantFrom<Json>(...[{ type: 'text' }, { type: 'json_object' }], {
    type: 'json_schema',
    name: 'n',
    schema: { type: 'object' },
  });
  const choice = fc.constantFrom<unknown>(
    ...['auto', 'none', 'required', { type: 'function', name: 'get_weather' }],
    { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'get_weather' }] },
  );
  const one = (...values: unknown[]) => or(fc.constantFrom(...values));
  return fc.record(
    {
      model: one('demo'),
      input: or(fc.oneof(words, fc.array(item, { minLength: 1, maxLength: 6 }))),
      max_output_tokens: one(16, 17),
      ...{ tools: one([], [GET_WEATHER]), tool_choice: or(choice) },
      text: or(fc.record({ format, verbosity: one('low', 'high') })),
      ...{ temperature: one(0, 1), top_p: one(0.5), top_logprobs: one(0, 3), stream: one(true) },
      reasoning: or(fc.record({ effort: one('none', 'high'), summary: one('auto', null) })),
      ...{ metadata: one({}, { a: 'b' }), instructions: words, truncation: one('auto') },
      include: one(['reasoning.encrypted_content'], ['message.output_text.logprobs']),
      ...{ parallel_tool_calls: one(true, false), service_tier: one('auto', 'flex') },
      ...{ prompt_cache_key: words, store: one(false, true), safety_identifier: words },
    },
    { requiredKeys: ['model', 'input', 'max_output_tokens'] },
  );
}
