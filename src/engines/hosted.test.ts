/** Upstreams that are somebody's service: what they take is learnt from what they refuse. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type Asked,
  fixture,
  introduction,
  play,
  refuse,
  standIn,
} from '../../test/engine-stand-in.ts';
import { plainJob } from '../../test/plain-job.ts';
import type { GatewayError } from '../model/error.ts';
import { WorkerConfig } from '../model/fleet-config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import { type Chat, FREE, GREEDY } from '../model/request.ts';
import type { Engine, Job } from '../ports.ts';
import { UPSTREAMS } from './upstreams.ts';

type Body = Record<string, unknown>;

test('OpenAI: each field that is refused is left out, or named anew, and not sent again', async (t) => {
  const { engine, bodies } = await upstream(t, 'openai', (body) => {
    if ('max_tokens' in body) {
      return [
        400,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        'max_tokens',
      ];
    }
    if ('temperature' in body) {
      return [
        400,
        "Unsupported value: 'temperature' does not support 0.5 with this model.",
        'temperature',
      ];
    }
    if ('top_k' in body) return [400, 'Unrecognized request argument supplied: top_k'];
    return Number(body.max_completion_tokens) > 16_384
      ? [
          400,
          'max_tokens is too large: 50000. This model supports at most 16384 completion tokens.',
        ]
      : undefined;
  });
  const job = chatJob({
    sampling: { ...GREEDY, temperature: 0.5, topK: 3 },
    outputTokensMax: 50_000,
  });
  await take(engine, job);
  assert.equal(bodies.length, 5);
  await take(engine, job);
  assert.equal(bodies.length, 6);
  const last = bodies[5];
  assert.equal(last.max_completion_tokens, 16_384);
  for (const name of ['max_tokens', 'temperature', 'top_k']) assert.ok(!(name in last), name);
});

test('OpenAI: a refusal that teaches nothing is the client’s, and asked once', async (t) => {
  const { engine, bodies } = await upstream(t, 'openai', () => [400, 'messages.0 is unsupported']);
  await assert.rejects(
    take(engine, chatJob()),
    ({ code }: GatewayError) => code === 'invalid_request',
  );
  assert.equal(bodies.length, 1);
});

test('OpenAI: reasoning of earlier turns is shown to those who ask for it; no name of ours leaves', async (t) => {
  const { engine, bodies } = await upstream(t, 'openai', (body) =>
    JSON.stringify(body.messages).includes('reasoning_content')
      ? undefined
      : [400, 'The `reasoning_content` in the thinking mode must be passed back to the API.'],
  );
  const job = chatJob({ thread: 'claude-session-42', cacheSalt: '["acme"]' });
  await take(engine, job);
  assert.equal(bodies.length, 2);
  assert.doesNotMatch(JSON.stringify(bodies), /session-42|acme/);
  assert.match(String(bodies[1].prompt_cache_key), /^[0-9a-f]{32}$/);
  await take(engine, { ...job, cacheSalt: '["other"]' });
  assert.notEqual(bodies[2].prompt_cache_key, bodies[1].prompt_cache_key);
});

test('Anthropic: thinking is asked for as the model knows it, and limits are kept', async (t) => {
  const { engine, bodies } = await upstream(t, 'anthropic', (body) => {
    const { type } = (body.thinking ?? {}) as Body;
    if (type === 'adaptive') return [400, 'adaptive thinking is not supported on this model'];
    if (Number(body.max_tokens) > 8192) {
      return [
        400,
        `max_tokens: ${body.max_tokens} > 8192, which is the maximum allowed number of output tokens`,
      ];
    }
    return undefined;
  });
  await take(engine, chatJob({}, { thinking: true, effort: 'high' }));
  const [first, , last] = bodies;
  assert.equal(bodies.length, 3);
  assert.deepEqual(first.output_config, { effort: 'high' });
  assert.equal(first.max_tokens, 32_000);
  assert.equal(last.max_tokens, 8192);
  assert.deepEqual(last.thinking, { type: 'enabled', budget_tokens: Math.floor(8192 * 0.7) });
});

test('Anthropic: signed thinking goes back with the call it led to; without it nothing is thought', async (t) => {
  const { engine, bodies, answers } = await upstream(t, 'anthropic', () => undefined);
  answers.push(fixture('anthropic', 'calls.sse'));
  const parts = await take(engine, chatJob({}, { thinking: true }));
  const [call] = parts.filter((part) => part.kind === 'toolCall');
  const goesOn = (id: string) =>
    chatJob(
      {},
      {
        thinking: true,
        messages: [
          { role: 'user', content: [{ kind: 'text', text: 'Weather?' }] },
          {
            role: 'assistant',
            content: [],
            reasoning: 'Let me look.',
            toolCalls: [{ id, name: 'weather', argumentsJson: '{"city":"Paris"}' }],
          },
          {
            role: 'tool',
            toolCallId: id,
            isError: false,
            content: [{ kind: 'text', text: 'rain' }],
          },
        ],
      },
    );
  await take(engine, goesOn(call.id));
  const turns = bodies[1].messages as { role: string; content: Body[] }[];
  const [thought, said] = turns[1].content;
  assert.equal(thought.thinking, 'Let me look.');
  assert.match(String(thought.signature), /^EqQB/);
  assert.equal(said.type, 'tool_use');
  assert.ok('thinking' in bodies[1]);
  await take(engine, goesOn('call_of_another_engine'));
  assert.ok(!('thinking' in bodies[2]));
});

test('Anthropic: what its API has nothing for is refused before anybody is asked', async (t) => {
  const { engine, bodies } = await upstream(t, 'anthropic', () => undefined);
  const refused: Partial<Job>[] = [
    { shape: { ...FREE, choices: 2 } },
    { shape: { ...FREE, logprobs: 1 } },
    { shape: { ...FREE, format: { kind: 'regex', pattern: 'a' } } },
    { prompt: { kind: 'tokens', ids: Uint32Array.of(1) } },
    { forcedOutput: 'a' },
  ];
  for (const changes of refused) {
    await assert.rejects(
      async () => take(engine, chatJob(changes)),
      ({ code }: GatewayError) => code === 'invalid_request',
    );
  }
  assert.equal(bodies.length, 0);
});

test('several models and none named: it says which there are', async (t) => {
  const server = await standIn(t, introduction('openai'));
  const config = WorkerConfig.parse({ url: server.url, kind: 'openai' });
  const none = UPSTREAMS.openai({ ...GIVEN, config });
  await assert.rejects(none.introduce(), /serves 2 models \("gpt-5.1", "gpt-5.1-mini"\); name one/);
  const named = UPSTREAMS.openai({ ...GIVEN, config: { ...config, model: 'gpt-5.1-mini' } });
  assert.deepEqual((await named.introduce()).worker.models, ['gpt-5.1-mini']);
  const other = UPSTREAMS.openai({ ...GIVEN, config: { ...config, engineModel: 'gpt-9' } });
  await assert.rejects(other.introduce(), /serves no model "gpt-9"/);
  const bare = await standIn(t, {});
  const asked = { ...config, url: bare.url, engineModel: 'x', model: 'mine' };
  const unlisted = await UPSTREAMS.openai({ ...GIVEN, config: asked }).introduce();
  assert.deepEqual(unlisted.worker.models, ['mine']);
});

const GIVEN = {
  silenceUsMax: 60_000_000,
  kvSecret: undefined,
  known: () => undefined,
  compareTokens: () => assert.fail('nobody’s tokens are known'),
};

/** `refusal`: status, sentence and field of what a body gets in place of an answer. */
async function upstream(
  t: TestContext,
  kind: 'openai' | 'anthropic',
  refusal: (body: Body) => [number, string, string?] | undefined,
) {
  const server = await standIn(t, introduction(kind));
  const named = kind === 'openai' ? { engineModel: 'gpt-5.1' } : {};
  const config = WorkerConfig.parse({ url: server.url, kind, ...named });
  const made = UPSTREAMS[kind]({ ...GIVEN, config });
  await made.introduce();
  const engine: Engine = made.engine('w' as WorkerId);
  t.after(() => engine.close());
  const bodies: Body[] = [];
  const answers: string[] = [];
  server.answer = (asked: Asked) => {
    bodies.push(asked.body);
    const no = refusal(asked.body);
    if (no === undefined) return play(answers.shift() ?? fixture(kind, 'chat.sse'))(asked);
    const [status, message, param = null] = no;
    refuse(status, JSON.stringify({ error: { message, param } }))(asked);
  };
  return { engine, bodies, answers };
}

function chatJob(changes: Partial<Job> = {}, more: Partial<Chat> = {}): Job {
  const chat: Chat = {
    model: 'm',
    messages: [
      { role: 'user', content: [{ kind: 'text', text: 'Hi' }] },
      {
        role: 'assistant',
        content: [{ kind: 'text', text: 'Hello' }],
        reasoning: 'So.',
        toolCalls: [],
      },
      { role: 'user', content: [{ kind: 'text', text: 'And?' }] },
    ],
    tools: [],
    toolChoice: { kind: 'auto' },
    thinking: undefined,
    ...more,
  };
  return plainJob({ prompt: { kind: 'chat', chat }, ...changes });
}

async function take(engine: Engine, job: Job): Promise<Part[]> {
  const parts: Part[] = [];
  for await (const part of engine.generate(job, new AbortController().signal)) parts.push(part);
  return parts;
}
