/** What agents ask of an answer's form, through the gateway: by real weights, and by the simulated engine. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { openStream, post } from './client.ts';
import { SMALL, type Stack, startUp, until } from './stack.ts';

const stacks = new Map<string, Stack>();
before(async () => {
  stacks.set('llama', await startUp([...SMALL, '--workers=1']));
  stacks.set('sim', await startUp(['--engine=sim', '--workers=2']));
});

const user = (content: string) => [{ role: 'user', content }];
const TOOLS = [
  {
    type: 'function',
    function: {
      name: 'read_file',
      description: 'Reads a file.',
      parameters: {
        type: 'object',
        properties: {
          path: { type: 'string' },
          lines: { type: 'integer', minimum: 1, maximum: 99 },
        },
        required: ['path', 'lines'],
        additionalProperties: false,
      },
    },
  },
  { type: 'function', function: { name: 'now' } },
];

const SCHEMAS: [object, (value: never) => boolean][] = [
  [
    {
      type: 'object',
      properties: {
        name: { type: 'string', minLength: 1, maxLength: 30 },
        age: { type: 'integer', minimum: 0, maximum: 130 },
        tags: { type: 'array', items: { enum: ['a', 'ü', 'z"\\'] }, maxItems: 3 },
      },
      required: ['name', 'age'],
    },
    ({ name, age, tags = [] }: { name: string; age: number; tags?: string[] }) =>
      name.length > 0 &&
      age >= 0 &&
      age <= 130 &&
      tags.every((tag) => ['a', 'ü', 'z"\\'].includes(tag)),
  ],
  [{ type: 'string', format: 'date-time' }, (text: string) => !Number.isNaN(Date.parse(text))],
  [
    {
      $ref: '#/$defs/tree',
      $defs: {
        tree: {
          type: 'object',
          properties: {
            value: { type: 'number' },
            below: { type: 'array', items: { $ref: '#/$defs/tree' } },
          },
          required: ['value', 'below'],
        },
      },
    },
    ({ value, below }: { value: number; below: unknown[] }) =>
      typeof value === 'number' && Array.isArray(below),
  ],
];

interface Choice {
  index: number;
  message: {
    content: string | null;
    tool_calls?: { function: { name: string; arguments: string } }[];
  };
  finish_reason: string;
  logprobs: {
    content: {
      token: string;
      bytes: number[];
      logprob: number;
      top_logprobs: { logprob: number }[];
    }[];
  } | null;
}
interface Completion {
  choices: Choice[];
  usage: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details: { cached_tokens: number };
  };
}

for (const engine of ['llama', 'sim']) {
  const chat = async (body: object) => {
    const { url } = stacks.get(engine) ?? assert.fail();
    return await post<Completion & { error?: { message: string; param: string } }>(
      `${url}/v1/chat/completions`,
      {
        model: 'demo',
        max_tokens: 2000,
        chat_template_kwargs: { enable_thinking: false },
        ...body,
      },
    );
  };

  test(`${engine}: whatever the weights are worth, the answer is valid by its schema`, async () => {
    for (const [schema, isValid] of SCHEMAS) {
      for (const temperature of [0, 1, 2]) {
        const response_format = { type: 'json_schema', json_schema: { name: 'x', schema } };
        const messages = user(`Answer ${temperature}.`);
        const { body, status, text } = await chat({
          messages,
          response_format,
          temperature,
          seed: 5,
        });
        assert.equal(status, 200, text);
        const [{ message, finish_reason }] = body.choices;
        assert.equal(finish_reason, 'stop');
        assert.ok(isValid(JSON.parse(message.content ?? '') as never), message.content ?? '');
      }
    }
    const object = await chat({ messages: user('x'), response_format: { type: 'json_object' } });
    assert.equal(typeof JSON.parse(object.body.choices[0].message.content ?? ''), 'object');
  });

  test(`${engine}: a call that is required, or named, is made`, async () => {
    for (let seed = 0; seed < 4; seed++) {
      const asked = { messages: user('read it'), tools: TOOLS, tool_choice: 'required', seed };
      const { body, text } = await chat(asked);
      const [{ message, finish_reason }] = body.choices;
      assert.equal(finish_reason, 'tool_calls', text);
      for (const call of message.tool_calls ?? assert.fail(text)) {
        const given = JSON.parse(call.function.arguments);
        if (call.function.name === 'now') assert.deepEqual(given, {});
        else assert.ok(typeof given.path === 'string' && given.lines >= 1 && given.lines <= 99);
      }
    }
    const tool_choice = { type: 'function', function: { name: 'now' } };
    const { body } = await chat({ messages: user('x'), tools: TOOLS, tool_choice });
    assert.deepEqual(
      body.choices[0].message.tool_calls?.map((call) => call.function),
      [{ name: 'now', arguments: '{}' }],
    );
    const none = await chat({ messages: user('x'), tools: TOOLS, tool_choice: 'none' });
    assert.equal(none.body.choices[0].message.tool_calls, undefined);
  });

  test(`${engine}: several answers come apart, and share their prompt`, async () => {
    const messages = user(`Tell me ${'a long story '.repeat(20)}`);
    const { body } = await chat({ messages, n: 3, temperature: 1, seed: 9, max_tokens: 12 });
    assert.deepEqual(
      body.choices.map(({ index }) => index),
      [0, 1, 2],
    );
    assert.ok(body.usage.completion_tokens <= 36 && body.usage.completion_tokens > 12);
    if (engine === 'llama') {
      const texts = new Set(body.choices.map(({ message }) => message.content));
      assert.equal(texts.size, 3, 'each has a seed of its own');
    }
    const { url } = stacks.get(engine) ?? assert.fail();
    const asked = {
      model: 'demo',
      messages,
      n: 3,
      temperature: 1,
      seed: 9,
      max_tokens: 12,
      stream: true,
    };
    const stream = await openStream(`${url}/v1/chat/completions`, {
      ...asked,
      chat_template_kwargs: { enable_thinking: false },
    });
    const texts = ['', '', ''];
    const reasons: string[] = [];
    for await (const { data } of stream.events) {
      if (data === '[DONE]') continue;
      for (const { index, delta, finish_reason } of JSON.parse(data).choices) {
        texts[index] += delta.content ?? '';
        if (finish_reason !== null) reasons[index] = finish_reason;
      }
    }
    assert.ok(texts.every((text) => text !== ''));
    assert.ok(reasons.every((reason) => ['stop', 'length'].includes(reason)));
    assert.equal(reasons.length, 3);
    // What real weights say depends on how a prompt was cut, and now most of it is cached.
    if (engine === 'llama') return;
    assert.deepEqual(
      texts,
      body.choices.map(({ message }) => message.content),
    );
  });

  test(`${engine}: tokens tell how likely they were`, async () => {
    const { body } = await chat({
      messages: user('x'),
      logprobs: true,
      top_logprobs: 3,
      max_tokens: 8,
      temperature: 0,
    });
    const [{ logprobs, message }] = body.choices;
    const content = logprobs?.content ?? assert.fail('they were asked for');
    const bytes = content.flatMap((token) => token.bytes);
    assert.ok(
      Buffer.from(bytes)
        .toString()
        .startsWith(message.content ?? '-'),
    );
    for (const { logprob, top_logprobs } of content) {
      assert.equal(top_logprobs.length, 3);
      assert.equal(logprob, top_logprobs[0].logprob, 'at temperature 0 the most likely is taken');
      const mass = top_logprobs.reduce((sum, top) => sum + Math.exp(top.logprob), 0);
      assert.ok(mass > 0 && mass <= 1.0001);
    }
    const { url } = stacks.get(engine) ?? assert.fail();
    const asked = { model: 'demo', prompt: 'the king', logprobs: 2, max_tokens: 6, temperature: 0 };
    const plain = await post<{
      choices: {
        logprobs: { tokens: string[]; token_logprobs: number[]; text_offset: number[] };
      }[];
    }>(`${url}/v1/completions`, asked);
    const [{ logprobs: lists }] = plain.body.choices;
    assert.equal(lists.tokens.length, lists.token_logprobs.length);
    assert.equal(lists.text_offset[0], 0);
  });

  test(`${engine}: what cannot be kept is refused with one sentence, before the first byte`, async () => {
    const json = (schema: object) => ({
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
    });
    const wrong: [object, RegExp][] = [
      [json({ type: 'integer', minimum: 2, maximum: 1 }), /No text at all satisfies/],
      [json({ not: {} }), /The schema uses not/],
      [{ structured_outputs: { grammar: 'root ::= root "a"' } }, /No text at all|itself/],
      [{ structured_outputs: { grammar: 'root ::= "a' } }, /lacks " in line 1/],
      [{ structured_outputs: { regex: '(?=a)' } }, /looks around/],
      [{ temperature: 3 }, /temperature must be between/],
      [{ top_p: 2 }, /top_p must be between/],
      [{ top_logprobs: 2 }, /needs logprobs/],
    ];
    for (const [body, sentence] of wrong) {
      for (const stream of [false, true]) {
        const { status, text } = await chat({ messages: user('x'), stream, ...body });
        assert.equal(status, 400, text);
        assert.match(JSON.parse(text).error.message, sentence);
      }
    }
    const stack = stacks.get(engine) ?? assert.fail();
    await until('nothing is left', () => stack.isIdle());
  });

  test(`${engine}: texts become vectors`, async () => {
    const { url } = stacks.get(engine) ?? assert.fail();
    const input = ['the king', 'the other king', 'the king', 'x'.repeat(3000)];
    interface Embeddings {
      data: { embedding: number[] | string; index: number }[];
      usage: { prompt_tokens: number };
      nvext: { note: string };
    }
    const { body, text } = await post<Embeddings>(`${url}/v1/embeddings`, { model: 'demo', input });
    assert.equal(body.data?.length, 4, text);
    const vectors = body.data.map(({ embedding }) => embedding as number[]);
    for (const vector of vectors) assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-4);
    const cosine = (a: number[], b: number[]) => a.reduce((sum, it, i) => sum + it * b[i], 0);
    assert.ok(cosine(vectors[0], vectors[2]) > 0.999 && cosine(vectors[0], vectors[1]) < 0.9999);
    assert.match(body.nvext.note, engine === 'llama' ? /not made for embeddings/ : /mean nothing/);
    const coded = await post<Embeddings>(`${url}/v1/embeddings`, {
      ...{ model: 'demo', input: 'the king', encoding_format: 'base64' },
    });
    const bytes = Buffer.from(coded.body.data[0].embedding as string, 'base64');
    assert.equal(bytes.length, 4 * vectors[0].length);
    const answered = await chat({ messages: user('and text again'), max_tokens: 4 });
    assert.equal(answered.status, 200, 'vectors leave the engine as it was');
    const wrong = await post<{ error: { param: string } }>(`${url}/v1/embeddings`, {
      model: 'demo',
      input: [''],
    });
    assert.deepEqual([wrong.status, wrong.body.error.param], [400, 'input[0]']);
  });
}
