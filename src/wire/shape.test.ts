import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Part, TokenLogprob } from '../model/part.ts';
import { type Format, FREE, type Shape } from '../model/request.ts';
import { type Answer, AnswerFold } from './answer.ts';
import { anthropicMessages } from './anthropic-messages.ts';
import { openaiChat } from './openai-chat.ts';
import { openaiCompletions, TOKEN_LOGPROBS } from './openai-completions.ts';
import { embeddingsWhole, parseEmbeddings, readEmbedding } from './openai-embeddings.ts';
import { UpstreamReader } from './openai-upstream.ts';
import { parsed } from './parsed.ts';
import { formatFields } from './shape.ts';
import type { Ask, Wire } from './wire.ts';

const CHAT = { model: 'm', messages: [{ role: 'user', content: 'x' }] };
const OPENING = { id: 'id', createdS: 1, model: 'm', promptTokens: 1 };
const TOOL = { name: 'ls', description: 'lists', parameters: { type: 'object' } };

test('formats mean the same in whichever field they come', () => {
  const schema = { type: 'object', properties: { b: {}, a: {} } };
  const same: [Format, object[]][] = [
    [
      { kind: 'schema', schema },
      [
        { response_format: { type: 'json_schema', json_schema: { name: 'n', schema } } },
        { structured_outputs: { json: schema } },
        { guided_json: schema },
        { guided_json: JSON.stringify(schema) },
      ],
    ],
    [
      { kind: 'json' },
      [{ response_format: { type: 'json_object' } }, { structured_outputs: { json_object: true } }],
    ],
    [{ kind: 'regex', pattern: 'a+' }, [{ guided_regex: 'a+' }]],
    [{ kind: 'choice', choices: ['a', 'b'] }, [{ guided_choice: ['a', 'b'] }]],
    [{ kind: 'grammar', gbnf: 'root ::= "a"' }, [{ guided_grammar: 'root ::= "a"' }]],
  ];
  for (const [format, bodies] of same) {
    for (const body of bodies) {
      assert.deepEqual(openaiChat.parse({ ...CHAT, ...body }).shape.format, format);
      const completion = { model: 'm', prompt: 'x', ...body };
      assert.deepEqual(openaiCompletions.parse(completion).shape.format, format);
    }
  }
  const messages = {
    ...CHAT,
    max_tokens: 5,
    output_config: { format: { type: 'json_schema', schema } },
  };
  assert.deepEqual(anthropicMessages.parse(messages).shape.format, { kind: 'schema', schema });
  assert.equal(
    openaiChat.parse({ ...CHAT, response_format: { type: 'text' } }).shape.format,
    undefined,
  );
});

test('the choice of tools asks for calls, and goes before a format', () => {
  const tools = [{ function: TOOL }, { function: { ...TOOL, name: 'cat' } }];
  const response_format = { type: 'json_object' };
  const formatOf = (body: object) => openaiChat.parse({ ...CHAT, tools, ...body }).shape.format;
  const [ls, cat] = [TOOL, { ...TOOL, name: 'cat' }];
  assert.deepEqual(formatOf({ tool_choice: 'required', response_format }), {
    kind: 'calls',
    tools: [ls, cat],
    many: true,
  });
  const one = formatOf({ tool_choice: 'required', parallel_tool_calls: false });
  assert.deepEqual(one, { kind: 'calls', tools: [ls, cat], many: false });
  const named = formatOf({ tool_choice: { type: 'function', function: { name: 'cat' } } });
  assert.deepEqual(named, { kind: 'calls', tools: [cat], many: false });
  assert.deepEqual(formatOf({ tool_choice: 'none' }), { kind: 'noCalls' });
  assert.deepEqual(formatOf({ tool_choice: 'none', response_format }), { kind: 'json' });
  assert.equal(formatOf({ tool_choice: 'auto' }), undefined);
});

test('what a gateway writes of a shape, its worker reads', () => {
  const formats: Format[] = [
    { kind: 'json' },
    { kind: 'schema', schema: { enum: ['é'] } },
    { kind: 'regex', pattern: '\\d' },
    { kind: 'choice', choices: ['x'] },
    { kind: 'grammar', gbnf: 'root ::= [a]' },
    { kind: 'calls', tools: [TOOL], many: false },
    { kind: 'calls', tools: [TOOL], many: true },
    { kind: 'noCalls' },
  ];
  for (const format of formats) {
    const body = JSON.parse(JSON.stringify({ model: 'm', prompt: 'x', ...formatFields(format) }));
    assert.deepEqual(openaiCompletions.parse(body).shape.format, format);
  }
});

const likely = fc.record(
  {
    text: fc.string({ maxLength: 4 }),
    bytes: fc.array(fc.nat(255), { maxLength: 4 }),
    logprob: fc.double({ min: -30, max: 0, noNaN: true }).map((it) => it + 0),
  },
  { noNullPrototype: true },
);
const logprob: fc.Arbitrary<TokenLogprob> = fc
  .tuple(likely, fc.array(likely, { maxLength: 3 }))
  .map(([token, top]) => ({ ...token, top }));

/** Answers to one request, interleaved as an engine would tell them. */
const answers = fc
  .tuple(
    fc.integer({ min: 1, max: 4 }),
    fc.array(fc.tuple(fc.nat(3), fc.string({ minLength: 1 }), fc.array(logprob)), {
      maxLength: 20,
    }),
  )
  .map(([choices, told]) => {
    const parts: Part[] = told.map(([at, text, logprobs]) => ({
      kind: 'text',
      text,
      tokens: 1,
      ...(logprobs.length > 0 && { logprobs }),
      ...(at % choices > 0 && { choice: at % choices }),
    }));
    for (let choice = 0; choices > 1 && choice < choices; choice++) {
      parts.push({ kind: 'ended', choice, finish: { kind: choice % 2 ? 'length' : 'stop' } });
    }
    const usage = { promptTokens: 3, outputTokens: told.length, cachedTokens: 1 };
    parts.push({ kind: 'done', finish: { kind: choices % 2 ? 'stop' : 'length' }, usage });
    return { choices, parts };
  });

test('several answers with log probabilities come through a stream as they were', () => {
  const property = fc.property(
    answers,
    fc.constantFrom(openaiChat, openaiCompletions),
    (given, wire) => {
      const { choices, parts } = given;
      const ask = askOf(wire, { n: choices });
      const back = readBack(wire, ask, parts);
      assert.deepEqual(folded(back), folded(parts));
    },
  );
  fc.assert(property, { numRuns: 300 });
});

test('several answers stand side by side in a whole answer too', () => {
  const logprobs = [
    { text: 'b', bytes: [98], logprob: -1, top: [{ text: '�', bytes: [200], logprob: -2 }] },
  ];
  const parts: Part[] = [
    { kind: 'text', text: 'a', tokens: 1 },
    { kind: 'text', text: 'b', tokens: 1, choice: 1, logprobs },
    { kind: 'ended', choice: 1, finish: { kind: 'length' } },
    { kind: 'ended', choice: 0, finish: { kind: 'stop' } },
    {
      kind: 'done',
      finish: { kind: 'stop' },
      usage: { promptTokens: 1, outputTokens: 2, cachedTokens: 0 },
    },
  ];
  const answer = folded(parts) ?? assert.fail('it is whole');
  const chat = openaiChat.whole(
    askOf(openaiChat, { n: 2, logprobs: true, top_logprobs: 1 }),
    OPENING,
    answer,
  );
  assert.deepEqual((chat as { choices: unknown }).choices, [
    {
      index: 0,
      message: { role: 'assistant', content: 'a', refusal: null },
      logprobs: { content: [], refusal: null },
      finish_reason: 'stop',
    },
    {
      index: 1,
      message: { role: 'assistant', content: 'b', refusal: null },
      logprobs: {
        content: [
          {
            token: 'b',
            logprob: -1,
            bytes: [98],
            top_logprobs: [{ token: '�', logprob: -2, bytes: [200] }],
          },
        ],
        refusal: null,
      },
      finish_reason: 'length',
    },
  ]);
  const plain = openaiCompletions.whole(
    askOf(openaiCompletions, { n: 2, logprobs: 1 }),
    OPENING,
    answer,
  );
  assert.deepEqual((plain as { choices: unknown[] }).choices[1], {
    index: 1,
    text: 'b',
    logprobs: {
      tokens: ['b'],
      token_logprobs: [-1],
      top_logprobs: [{ '�': -2 }],
      text_offset: [0],
    },
    finish_reason: 'length',
    stop_reason: null,
  });
});

test('offsets of completions count through a stream, for each answer alone', () => {
  const ask = askOf(openaiCompletions, { n: 2, logprobs: 0, nvext: {} });
  const framer = openaiCompletions.framer(ask, OPENING);
  const offsets = (choice: number, ...texts: string[]) => {
    const logprobs = texts.map((text) => ({ text, bytes: [], logprob: -1, top: [] }));
    const frame = framer.part({ kind: 'text', text: texts.join(''), tokens: 1, choice, logprobs });
    return JSON.parse(frame.slice(6)).choices[0].logprobs.text_offset;
  };
  assert.deepEqual(
    [offsets(0, 'ab', 'c'), offsets(1, 'x'), offsets(0, 'd'), offsets(1, 'y', 'z')],
    [[0, 2], [0], [3], [1, 2]],
  );
});

test('a parser that holds text back loses no log probability, and parses each answer alone', async () => {
  const parser = () => {
    let held = '';
    return {
      push: (text: string): Part[] => {
        held += text;
        return [];
      },
      end: (): Part[] => [
        { kind: 'toolCall', index: 0, id: 'call_0', name: held },
        { kind: 'toolArguments', index: 0, text: '{}', tokens: 1 },
      ],
    };
  };
  const one = (text: string): TokenLogprob => ({ text, bytes: [], logprob: -1, top: [] });
  const told: Part[] = [
    { kind: 'text', text: 'l', tokens: 1, logprobs: [one('l')] },
    { kind: 'text', text: 'c', tokens: 1, choice: 1, logprobs: [one('c')] },
    { kind: 'text', text: 's', tokens: 1, logprobs: [one('s')] },
    { kind: 'ended', choice: 0, finish: { kind: 'stop' } },
    { kind: 'ended', choice: 1, finish: { kind: 'length' } },
    {
      kind: 'done',
      finish: { kind: 'length' },
      usage: { promptTokens: 1, outputTokens: 3, cachedTokens: 0 },
    },
  ];
  const parts: Part[] = [];
  for await (const part of parsed(toAsync(told), { parser })) parts.push(part);
  const answer = folded(parts) ?? assert.fail('it is whole');
  assert.deepEqual(
    answer.logprobs.map(({ text }) => text),
    ['l', 's'],
  );
  assert.deepEqual(answer.blocks, [
    { kind: 'toolCall', id: 'call_0', name: 'ls', argumentsJson: '{}' },
  ]);
  assert.deepEqual(
    [answer.finish, answer.others[0].finish],
    [{ kind: 'toolCalls' }, { kind: 'length' }],
  );
  assert.deepEqual(
    answer.others[0].logprobs.map(({ text }) => text),
    ['c'],
  );
});

test('a stream of which one answer has no finish reason has no end', () => {
  const reader = new UpstreamReader(2);
  const chunk = { choices: [{ index: 1, delta: { content: 'x' }, finish_reason: 'stop' }] };
  const parts = [JSON.stringify(chunk), '[DONE]'].flatMap((data) => reader.read(data));
  assert.deepEqual(
    parts.map(({ kind }) => kind),
    ['text', 'ended'],
  );
});

test('vectors are the same as numbers and as base64', () => {
  const vectors = [Float32Array.from([0.5, -1e-30, 3.25]), Float32Array.from([1, 2, 3])];
  const input = ['a', [5, 6]];
  const answer = { vectors, promptTokens: 3, note: 'Mind this.' };
  const asNumbers = embeddingsWhole(parseEmbeddings({ model: 'm', input }), answer) as {
    data: { embedding: number[]; index: number }[];
    usage: unknown;
  };
  assert.deepEqual(
    asNumbers.data.map(({ embedding }) => Float32Array.from(embedding)),
    vectors,
  );
  assert.deepEqual(asNumbers.usage, { prompt_tokens: 3, total_tokens: 3 });
  const ask = parseEmbeddings({ model: 'm', input: 'a', encoding_format: 'base64' });
  const back = readEmbedding(JSON.parse(JSON.stringify(embeddingsWhole(ask, answer))));
  assert.deepEqual(back, {
    vector: vectors[0],
    usage: { promptTokens: 3, outputTokens: 0, cachedTokens: undefined },
    note: 'Mind this.',
  });
  assert.deepEqual(parseEmbeddings({ model: 'm', input: [7, 8] }).inputs, [
    { kind: 'tokens', ids: Uint32Array.from([7, 8]) },
  ]);
  const wrong: [object, RegExp][] = [
    [{ input: 5 }, /^input must be a list/],
    [{ input: [] }, /^input must not be empty/],
    [{ input: ['a', ''] }, /^input\[1\] must not be empty/],
    [{ input: [[1.5]] }, /^input\[0\]\[0\] must be a token id/],
    [{ input: 'x', encoding_format: 'hex' }, /^encoding_format/],
  ];
  for (const [body, sentence] of wrong) {
    assert.throws(() => parseEmbeddings({ model: 'm', ...body }), { message: sentence });
  }
  const large = parseEmbeddings({ model: 'm', input: 'a', dimensions: 9 });
  assert.throws(() => embeddingsWhole(large, answer), /dimensions must be 3/);
});

function askOf(wire: Wire, more: object): Ask {
  const body = wire === openaiChat ? CHAT : { model: 'm', prompt: 'x' };
  const nvext = { extra_fields: [TOKEN_LOGPROBS] };
  const ask = wire.parse({
    ...body,
    nvext,
    stream: true,
    stream_options: { include_usage: true },
    ...more,
  });
  const shape: Shape = { ...FREE, ...ask.shape };
  return { ...ask, shape };
}

function readBack(wire: Wire, ask: Ask, parts: readonly Part[]): Part[] {
  const framer = wire.framer(ask, OPENING);
  const text = framer.open() + parts.map((part) => framer.part(part)).join('');
  const reader = new UpstreamReader(ask.shape.choices);
  return text
    .split('\n\n')
    .filter((event) => event !== '')
    .flatMap((event) => reader.read(event.slice('data: '.length)));
}

function folded(parts: readonly Part[]): Answer | undefined {
  const fold = new AnswerFold();
  for (const part of parts) fold.add(part);
  return fold.answer(undefined);
}

async function* toAsync<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
