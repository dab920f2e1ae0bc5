/** A streamed response, put together as clients do it, is the answer that did not stream. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assertGolden } from '../../test/golden.ts';
import { readResponses } from '../../test/responses-reader.ts';
import { GatewayError } from '../model/error.ts';
import type { Finish, Part } from '../model/part.ts';
import { AnswerFold } from './answer.ts';
import type { Json } from './fields.ts';
import { openaiResponses } from './responses.ts';
import { echoing } from './responses-ask.ts';
import { unpackReasoning } from './responses-reasoning.ts';
import type { Ask, Opening } from './wire.ts';

const OPENING: Opening = {
  id: 'resp_1',
  createdS: 1_700_000_000,
  nowS: () => 1_700_000_003,
  model: 'demo',
  promptTokens: 40,
};
const USAGE = { promptTokens: 40, outputTokens: 12, cachedTokens: 32, reasoningTokens: 5 };

const text = (said: string): Part => ({ kind: 'text', text: said, tokens: 1 });
const thought = (said: string): Part => ({ kind: 'reasoning', text: said, tokens: 1 });
const call = (index: number, name: string): Part => {
  return { kind: 'toolCall', index, id: `call_${index}`, name };
};
const args = (index: number, said: string): Part => {
  return { kind: 'toolArguments', index, text: said, tokens: 1 };
};
const done = (finish: Finish): Part => ({ kind: 'done', finish, usage: USAGE });
const STOP = done({ kind: 'stop' });

const TOOLS = [
  { type: 'function', name: 'ls', parameters: { type: 'object' } },
  { type: 'custom', name: 'patch', format: { type: 'grammar', syntax: 'lark', definition: 'x' } },
  { type: 'namespace', name: 'agents', tools: [{ type: 'function', name: 'spawn' }] },
  { type: 'local_shell' },
  { type: 'apply_patch' },
  { type: 'tool_search', execution: 'client', parameters: { type: 'object' } },
];

const ANSWERS: Record<string, { parts: Part[]; body?: Json }> = {
  text: { parts: [text('Hel'), text(''), text('lo'), STOP] },
  'reasoning-and-text': { parts: [thought('hm, '), thought('yes'), text('Yes.'), STOP] },
  'summary-packed': {
    parts: [thought('hm, '), thought('yes'), call(0, 'ls'), args(0, '{}'), STOP],
    body: { reasoning: { summary: 'auto' }, include: ['reasoning.encrypted_content'] },
  },
  'parallel-calls': {
    parts: [
      text('I look.'),
      ...[call(0, 'ls'), args(0, '{"path"'), args(0, ':"."}')],
      ...[call(1, 'agents__spawn'), args(1, '{"task":"漢\\n"}')],
      done({ kind: 'toolCalls' }),
    ],
  },
  'custom-tool': {
    parts: [
      call(0, 'patch'),
      args(0, '{"inp'),
      args(0, 'ut": "*** Begin\\'),
      args(0, 'n+a"}'),
      STOP,
    ],
  },
  length: { parts: [text('cut'), done({ kind: 'length' })] },
  'failed-in-the-middle': {
    parts: [
      ...[thought('hm'), text('Hel')],
      { kind: 'error', error: new GatewayError('engine_lost', 'The engine broke off.') },
    ],
  },
};

for (const [name, { parts, body }] of Object.entries(ANSWERS)) {
  test(`${name}: a stream, as text`, () => {
    const stream = streamed(parts, body);
    readResponses(stream);
    // What each event repeats of the request is in the golden of the whole answer.
    assertGolden(`wire/responses-${name}.txt`, stream.replaceAll(echoOf(body), '…'));
  });
}

test('a whole answer, as text', () => {
  const body = { instructions: 'Be brief.', metadata: { a: 'b' }, prompt_cache_key: 'k' };
  const answer = whole(ANSWERS['parallel-calls'].parts, body);
  assertGolden('wire/responses-whole.json', `${JSON.stringify(answer, undefined, 2)}\n`);
});

test('whatever is answered, stream and whole answer are the same', () => {
  fc.assert(
    fc.property(partsArbitrary(), bodyArbitrary(), ({ parts }, body) => {
      const { response, assembled } = readResponses(streamed(parts, body));
      assert.deepEqual(response, whole(parts, body));
      assert.deepEqual(assembled, response.output);
      assert.ok(response.output.length > 0, 'agents that find nothing ask again and again');
    }),
    { numRuns: 150 },
  );
});

test('calls go back in the shape in which their tools came', () => {
  const parts = [
    ...[call(0, 'spawn'), args(0, '{"a":1}')],
    ...[call(1, 'patch'), args(1, 'no object')],
    ...[call(2, 'local_shell'), args(2, '{"command":["ls"]}')],
    ...[call(3, 'apply_patch'), args(3, '{"type":"delete_file","path":"a"}')],
    ...[call(4, 'tool_search'), args(4, '{"query":"q"}')],
    ...[call(5, 'local_shell'), args(5, '{"command":')],
    ...[call(6, 'unheard')],
    STOP,
  ];
  const { output } = readResponses(streamed(parts)).response;
  const calls = output.map(({ id, status: _, call_id, ...item }) => {
    assert.match(String(id), /^(fc|ctc|lsh|apc|tsc)_1_\d$/);
    return { ...item, of: call_id };
  });
  assert.deepEqual(calls, [
    {
      ...{ type: 'function_call', name: 'spawn', namespace: 'agents', arguments: '{"a":1}' },
      of: 'call_0',
    },
    { type: 'custom_tool_call', name: 'patch', input: 'no object', of: 'call_1' },
    {
      type: 'local_shell_call',
      action: { type: 'exec', env: {}, command: ['ls'] },
      of: 'call_2',
    },
    {
      type: 'apply_patch_call',
      operation: { type: 'delete_file', path: 'a' },
      of: 'call_3',
    },
    { type: 'tool_search_call', execution: 'client', arguments: { query: 'q' }, of: 'call_4' },
    { type: 'local_shell_call', action: { type: 'exec', env: {} }, of: 'call_5' },
    { type: 'function_call', name: 'unheard', arguments: '', of: 'call_6' },
  ]);
});

test('an answer sent back makes the messages it was', () => {
  const parts = [
    ...[thought('hm'), text('I look.')],
    ...[call(0, 'agents__spawn'), args(0, '{"a": 1}')],
    ...[call(1, 'patch'), args(1, '{"input":"a\\n"}')],
    STOP,
  ];
  for (const body of [{}, ...Object.values(ANSWERS).map(({ body = {} }) => body)]) {
    const { output } = readResponses(streamed(parts, body)).response;
    const { prompt } = askOf({ input: [{ role: 'user', content: 'x' }, ...output] });
    assert.deepEqual(prompt.kind === 'chat' && prompt.chat.messages[1], {
      role: 'assistant',
      content: [{ kind: 'text', text: 'I look.' }],
      reasoning: 'hm',
      toolCalls: [
        { id: 'call_0', name: 'agents__spawn', argumentsJson: '{"a": 1}' },
        { id: 'call_1', name: 'patch', argumentsJson: '{"input":"a\\n"}' },
      ],
    });
  }
});

test('failures have codes that clients act on', () => {
  const failed = (error: GatewayError) => {
    const { response, error: event } = readResponses(streamed([{ kind: 'error', error }]));
    assert.ok(event);
    assert.equal((event.error as Json).message, (response.error as Json).message);
    return response.error as Json;
  };
  const lost = failed(new GatewayError('engine_lost', 'It broke off.'));
  assert.deepEqual(lost, { code: 'server_error', message: 'It broke off.' });
  const full = failed(new GatewayError('queue_full', 'It is full.', { retryAfterUs: 1_500_000 }));
  assert.equal(full.code, 'rate_limit_exceeded');
  assert.match(String(full.message), /try again in 1\.5s/i);
  const long = failed(new GatewayError('context_length_exceeded', 'It is too long.'));
  assert.equal(long.code, 'context_length_exceeded');
});

test('signs of life add nothing, extras and notes come with the end', () => {
  const ask = askOf({ tools: [{ type: 'web_search' }] });
  const framer = openaiResponses.framer(ask, OPENING);
  const stream =
    framer.open() +
    framer.keepAlive() +
    framer.part(text('x')) +
    framer.keepAlive() +
    framer.part(STOP, { worker_id: 'w' });
  const { response, types } = readResponses(stream);
  assert.equal(types.filter((type) => type === 'response.in_progress').length, 3);
  assert.deepEqual(response.output, readResponses(streamed([text('x'), STOP])).response.output);
  const { worker_id, note } = response.nvext as Json;
  assert.equal(worker_id, 'w');
  assert.match(String(note), /web_search/);
  const kept = echoing(ask, { store: true, previous_response_id: 'resp_0' });
  const framed = openaiResponses.framer(kept, OPENING).open();
  assert.match(framed, /"previous_response_id":"resp_0"/);
  assert.match(framed, /"store":true/);
});

test('packed reasoning is the reasoning', () => {
  const body = { include: ['reasoning.encrypted_content'] };
  const { output } = readResponses(streamed([thought('漢 hm'), STOP], body)).response;
  assert.equal(unpackReasoning(String(output[0].encrypted_content)), '漢 hm');
  assert.equal(output[1].type, 'message', 'who only thought says nothing, but says it');
});

function askOf(body: Json = {}): Ask {
  return openaiResponses.parse({ model: 'demo', input: 'x', tools: TOOLS, stream: true, ...body });
}

function echoOf(body: Json | undefined): string {
  return JSON.stringify(askOf(body).responses?.echo).slice(1, -1);
}

function streamed(parts: readonly Part[], body?: Json): string {
  const framer = openaiResponses.framer(askOf(body), OPENING);
  return framer.open() + parts.map((part) => framer.part(part)).join('');
}

function whole(parts: readonly Part[], body?: Json): unknown {
  const fold = new AnswerFold();
  for (const part of parts) fold.add(part);
  const answer = fold.answer(undefined);
  assert.ok(answer);
  // As it comes out of the socket.
  return JSON.parse(JSON.stringify(openaiResponses.whole(askOf(body), OPENING, answer)));
}

function partsArbitrary(): fc.Arbitrary<{ parts: Part[] }> {
  const said = fc.string({ unit: 'binary', maxLength: 12 });
  const likely = fc.record({ text: said, bytes: fc.constant([1]), logprob: fc.constant(-1) });
  const logprobs = fc.option(fc.array(likely.map((one) => ({ ...one, top: [one] }))), {
    nil: undefined,
  });
  const spoken = fc
    .record({ kind: fc.constantFrom('text', 'reasoning'), text: said, logprobs })
    .map(({ logprobs: known, ...part }) => ({
      ...part,
      tokens: 1,
      ...(known && { logprobs: known }),
    }));
  const names = ['ls', 'patch', 'agents__spawn', 'local_shell', 'apply_patch', 'other'];
  const pieces = fc.oneof(
    fc.array(said),
    // An input cut anywhere.
    fc.tuple(said, fc.nat(40)).map(([input, at]) => {
      const json = JSON.stringify({ input });
      return [json.slice(0, at), json.slice(at)];
    }),
  );
  const called = fc.tuple(fc.constantFrom(...names), pieces);
  const block = fc.oneof(
    fc.array(spoken).map((parts) => parts as Part[]),
    called.map(([name, texts]) => [call(0, name), ...texts.map((piece) => args(0, piece))]),
  );
  const finish = fc.constantFrom<Finish>({ kind: 'stop' }, { kind: 'toolCalls' });
  return fc
    .tuple(fc.array(block, { maxLength: 5 }), finish)
    .map(([blocks, ended]) => ({ parts: [...blocks.flat(), done(ended)] }));
}

function bodyArbitrary(): fc.Arbitrary<Json> {
  return fc.record({
    reasoning: fc.constantFrom({ summary: 'auto' }, { effort: 'low' }, null),
    include: fc.constantFrom([], ['reasoning.encrypted_content', 'message.output_text.logprobs']),
  });
}
