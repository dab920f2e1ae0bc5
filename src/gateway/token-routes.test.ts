/** Counting and tokenizing over HTTP's border: the same tokens as serving, and a sentence for the rest. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Call, Reply } from '../http/call.ts';
import { router } from '../http/router.ts';
import { Config } from '../model/config.ts';
import type { TenantId, WorkerId } from '../model/ids.ts';
import type { Worker, WorkerAbout } from '../model/worker.ts';
import type { Engine } from '../ports.ts';
import { IncrementalEncoder } from '../tokens/prompt-encoder.ts';
import { toyTokens } from '../tokens/toy-tokens.test.ts';
import { CHATML } from '../tokens/toy-vocabulary.test.ts';
import { anthropicMessages } from '../wire/anthropic-messages.ts';
import { Access } from './access.ts';
import { identify } from './identify.ts';
import { Models } from './models.ts';
import { Normalizer } from './normalize/normalizer.ts';
import { promptOf } from './prompt.ts';
import { tokenRoutes } from './token-routes.ts';

const CONTEXT_TOKENS = 1000;
const OPENING = '<|im_start|>assistant\\n';

const tokens = builtTokens();
const prompts = new IncrementalEncoder({
  tokens,
  elsewhere: undefined,
  settings: { bytesMax: 1e6, hereMax: 1e6 },
});
const models = new Models({
  known: new Map([['exact', { tokens, prompts, fingerprint: 'f' }]]),
  names: [{ name: 'exact', aliases: ['alias'], split: [], fallbacks: [] }],
});
up('exact', 'exact');
const normalizer = new Normalizer(Config.parse({}).normalise);

const messages = [{ role: 'user', content: 'the other king' }];
const BILLING = {
  type: 'text',
  text: 'x-anthropic-billing-header: cc_version=1.f1d; cc_entrypoint=cli;',
};

test('/tokenize gives the ids of a text, and /detokenize gives the text back', async () => {
  for (const text of ['the other king', '', 'größe 😀 日本語\r\n', '<|im_start|>x']) {
    const made = await ask('/tokenize', { model: 'exact', prompt: text });
    const ids = Array.from(tokens.encode(text));
    assert.deepEqual(made.body, {
      count: ids.length,
      max_model_len: CONTEXT_TOKENS,
      tokens: ids,
      token_strs: null,
    });
    const back = await ask('/detokenize', { tokens: ids });
    assert.deepEqual([back.status, back.body], [200, { prompt: text }]);
  }
});

test('/tokenize writes a conversation as serving does, with or without the opening of an answer', async () => {
  const rendered = '<|im_start|>user\nthe other king<|im_end|>\n';
  for (const [body, text] of [
    [{}, `${rendered}<|im_start|>assistant\n`],
    [
      { add_generation_prompt: true, add_special_tokens: false },
      `${rendered}<|im_start|>assistant\n`,
    ],
    [{ add_generation_prompt: false, return_token_strs: false }, rendered],
  ] as const) {
    // One model is served, so it may be left out.
    const made = await ask('/tokenize', { messages, ...body });
    assert.deepEqual((made.body as { tokens: number[] }).tokens, [...tokens.encode(text)]);
  }
});

test('counts are what the same request would be charged with when served', async () => {
  const body = { model: 'alias', system: [BILLING, { type: 'text', text: 'Be brief.' }], messages };
  const counted = await ask('/v1/messages/count_tokens', body);
  const served = anthropicMessages.parse({ ...body, max_tokens: 10 });
  const who = identify('default' as TenantId, {}, []);
  const model = models.find('exact');
  const { ask: plain } = normalizer.normalise({ body, ask: served, model, who });
  const { promptTokens } = await promptOf(plain, model, who);
  assert.deepEqual([counted.status, counted.body], [200, { input_tokens: promptTokens }]);
  assert.notEqual((await promptOf(served, model, who)).promptTokens, promptTokens);

  const responses = await ask('/v1/responses/input_tokens', {
    model: 'exact',
    instructions: 'Be brief.',
    input: 'the other king',
  });
  assert.deepEqual(responses.body, { object: 'response.input_tokens', input_tokens: promptTokens });
});

test('bad input is one sentence in the API’s own shape, and names its field', async () => {
  const wrongs: [string, unknown, number, string | null][] = [
    ['/tokenize', '{', 400, null],
    ['/tokenize', [], 400, 'the body'],
    ['/tokenize', {}, 400, 'prompt'],
    ['/tokenize', { prompt: 5 }, 400, 'prompt'],
    ['/tokenize', { prompt: 'x', model: 5 }, 400, 'model'],
    ['/tokenize', { prompt: 'x', model: 'none' }, 404, 'model'],
    ['/tokenize', { messages: [] }, 400, 'messages'],
    ['/tokenize', { messages, add_generation_prompt: 'no' }, 400, 'add_generation_prompt'],
    ['/tokenize', { messages, continue_final_message: true }, 400, 'continue_final_message'],
    ['/tokenize', { prompt: 'x', return_token_strs: true }, 400, 'return_token_strs'],
    ['/tokenize', { messages, chat_template: '{{ x }}' }, 400, 'chat_template'],
    ['/tokenize', { prompt: 'x'.repeat(100_000) }, 400, null],
    ['/detokenize', {}, 400, 'tokens'],
    ['/detokenize', { tokens: 'x' }, 400, 'tokens'],
    ['/detokenize', { tokens: [1, -1] }, 400, 'tokens[1]'],
    ['/detokenize', { tokens: [1.5] }, 400, 'tokens[0]'],
    ['/detokenize', { tokens: [tokens.vocabularySize] }, 400, 'tokens[0]'],
    ['/detokenize', { tokens: Array(CONTEXT_TOKENS + 1).fill(1) }, 400, 'tokens'],
    ['/v1/responses/input_tokens', { model: 'exact' }, 400, 'input'],
    ['/v1/responses/input_tokens', { input: 'x' }, 400, 'model'],
  ];
  for (const [path, body, status, param] of wrongs) {
    const refused = await ask(path, body);
    const { error } = refused.body as { error: { message: string; param: string | null } };
    const named = JSON.stringify([path, body]).slice(0, 200);
    assert.deepEqual([refused.status, error.param], [status, param], named);
    assert.match(error.message, /^[^\n]+\.$/, named);
  }
  const refused = await ask('/v1/messages/count_tokens', { model: 'exact' });
  assert.deepEqual(refused.body, {
    type: 'error',
    error: { type: 'invalid_request_error', message: 'messages must be a list.' },
    ...(typeof refused.body === 'object' && refused.body !== null && 'request_id' in refused.body
      ? { request_id: (refused.body as { request_id: unknown }).request_id }
      : {}),
  });
});

test('a model whose prompts pass through is refused in a sentence, and two models must be told apart', async () => {
  up('text', 'passThrough');
  try {
    const bodies: [string, object][] = [
      ['/tokenize', { prompt: 'x' }],
      ['/tokenize', { messages }],
      ['/detokenize', { tokens: [1] }],
      ['/v1/messages/count_tokens', { messages }],
      ['/v1/responses/input_tokens', { input: 'x' }],
    ];
    for (const [path, body] of bodies) {
      const refused = await ask(path, { model: 'text', ...body });
      assert.equal(refused.status, 400, path);
      assert.match(JSON.stringify(refused.body), /\\"text\\" pass through as they come/, path);
    }
    assert.equal((await ask('/tokenize', { prompt: 'x' })).status, 400);
    assert.equal((await ask('/tokenize', { prompt: 'x', model: 'exact' })).status, 200);
  } finally {
    models.changed({ kind: 'down', worker: 'text' as WorkerId, reason: '' });
  }
});

test('where keys are needed, nothing is counted without one', async () => {
  const keys = [{ key: 'key-of-alice', tenant: 'alice', admin: false }];
  for (const path of ['/tokenize', '/detokenize', '/v1/messages/count_tokens']) {
    assert.equal((await ask(path, '{', { keys })).status, 401);
  }
  const body = { model: 'exact', messages };
  const headers = { 'x-api-key': 'key-of-alice' };
  assert.equal((await ask('/v1/messages/count_tokens', body, { keys, headers })).status, 200);
});

interface Settings {
  keys?: { key: string; tenant: string; admin: boolean }[];
  headers?: Record<string, string>;
}

/** A body that is a text is sent as it stands. */
async function ask(path: string, body: unknown, { keys = [], headers = {} }: Settings = {}) {
  const access = new Access({ keys, trustedProxies: [], host: 'localhost' });
  const got = { status: 0, text: '' };
  const reply: Reply = {
    head: (status) => {
      got.status = status;
    },
    write: (text) => {
      got.text += text;
      return undefined;
    },
    end: (text) => {
      got.text += text ?? '';
    },
    destroy: () => assert.fail('broken off'),
    get headSent() {
      return got.status > 0;
    },
  };
  const sent = typeof body === 'string' ? body : JSON.stringify(body);
  const call: Call = {
    method: 'POST',
    path,
    query: new URLSearchParams(),
    headers,
    remote: '127.0.0.1',
    body: async () => new TextEncoder().encode(sent),
    stream: () => new Blob([sent]).stream(),
    signal: new AbortController().signal,
    requestId: 'request',
    reply,
  };
  const sink = { note: () => assert.fail('something went wrong inside') };
  await router(tokenRoutes({ access, models, normalizer, sink }))(call);
  return { status: got.status, body: JSON.parse(got.text) as unknown };
}

function up(name: string, tokensMode: WorkerAbout['tokensMode']): void {
  const worker = { id: name as WorkerId, contextTokens: CONTEXT_TOKENS } as Worker;
  const about = { model: name, fingerprint: 'f', tokensMode, demo: false } as WorkerAbout;
  models.changed({ kind: 'up', worker, engine: {} as Engine, events: undefined, about });
}

/** ChatML that opens an answer only where it is asked to. */
function builtTokens() {
  const template = CHATML.replace(
    `{{ '${OPENING}' }}`,
    `{% if add_generation_prompt %}{{ '${OPENING}' }}{% endif %}`,
  );
  assert.notEqual(template, CHATML);
  return toyTokens({ template });
}
