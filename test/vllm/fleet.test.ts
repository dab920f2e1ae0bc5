/**
 * Two real vLLM servers (CPU build, random weights) behind `stator serve`: what they say of their caches
 * is what we make of it, turns land where they were computed, and a server that dies is a normal day.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Dealer } from 'zeromq';
import { Prng } from '../../src/base/prng.ts';
import { loadTokens } from '../../src/cli/load-model.ts';
import { BlockNames } from '../../src/gateway/feed/block-names.ts';
import { FEED_SETTINGS } from '../../src/sim/scene.ts';
import { KvEventReader } from '../../src/wire/kv-event-reader.ts';
import { post } from '../e2e/client.ts';
import { FOLDER, until } from '../e2e/stack.ts';
import { type Answered, Gateway } from './gateway.ts';
import { writeModelFolder } from './model-folder.ts';
import { BLOCK_TOKENS, BLOCKS, GOOD, VllmServer } from './server.ts';

const MODEL = join(FOLDER, 'model');
const WORDS = 'king castle once upon a time there was and then they said what river stone'.split(
  ' ',
);
/** Predictions are promises about a cache that others use at the same time. */
const AGREEING_MIN = 0.97;

let servers: VllmServer[] = [];
let gateway: Gateway;
before(async () => {
  writeModelFolder(MODEL);
  servers = [
    await VllmServer.start(MODEL, { flags: GOOD, events: true }),
    await VllmServer.start(MODEL, { flags: GOOD, events: true }),
  ];
  for (const server of servers) await server.ready();
  gateway = await Gateway.start(
    MODEL,
    servers.map(({ url }) => url),
  );
  await gateway.knows(2);
});
after(async () => {
  for (const server of servers) await server.kill();
});

test('each says who it is: blocks, cache, context, events; prompts go as token ids', async () => {
  const { workers, models } = await gateway.snapshot();
  assert.deepEqual(models[0].tokens, 'exact');
  for (const { blockTokens, about, mode } of workers) {
    assert.deepEqual([blockTokens, mode, about.engine], [BLOCK_TOKENS, 'exact', 'vllm']);
    const card = about.card as Record<string, unknown>;
    const { blocks, slots, contextTokens, policy, events, replays } = card;
    assert.deepEqual(
      { blocks, slots, contextTokens, policy, events, replays },
      {
        blocks: BLOCKS,
        slots: 8,
        contextTokens: 15_000,
        policy: 'priority',
        events: 'told',
        replays: true,
      },
    );
  }
});

test('blocks are named as we name them: events read back are the hashes of the prompt that was sent', async () => {
  const [{ url, replay }] = servers;
  const { hasher } = loadTokens(MODEL, BLOCK_TOKENS).tokens;
  const ids = Uint32Array.from({ length: 10 * BLOCK_TOKENS + 5 }, (_, i) => (i * i) % 5000);
  for (const salt of ['', 'ada']) {
    const body = { model: 'demo', prompt: [...ids], max_tokens: 1, cache_salt: salt || undefined };
    assert.equal((await post(`${url}/v1/completions`, body)).status, 200);
    const wanted = [...hasher.blocks(hasher.root(salt), ids)];
    await until('its blocks were told of', async () => {
      const told = await hashesTold(replay, hasher);
      return wanted.every((hash) => told.has(hash));
    });
  }
});

test('the next turn lands where the last one was computed; what was predicted is what was cached', async () => {
  const sessions = Array.from({ length: 4 }, (_, i) => new Session(i, 600));
  const all: Answered[] = [];
  for (let turn = 0; turn < 4; turn++) {
    for (const session of sessions) {
      all.push(await session.turn());
      await gateway.isSettled();
    }
  }
  const workers = new Set(sessions.map(({ worker }) => worker));
  assert.equal(workers.size, 2, 'sessions spread over both');
  for (const { places } of sessions) assert.equal(new Set(places).size, 1, places.join());
  assertAgreeing(all);
  for (const { last } of sessions) {
    const share = (last?.cachedTokens ?? 0) / (last?.promptTokens ?? 1);
    assert.ok(share > 0.85, `${share} of the last prompt was cached`);
  }
});

test('where more is live than fits, what was thrown out is not promised', async () => {
  const held = BLOCKS * BLOCK_TOKENS;
  const sessions = Array.from({ length: 10 }, (_, i) => new Session(100 + i, 4_000));
  const all: Answered[] = [];
  for (let turn = 0; turn < 2; turn++) {
    for (const session of sessions) {
      all.push(await session.turn());
      await gateway.isSettled();
    }
  }
  assert.ok(all.reduce((sum, { promptTokens }) => sum + promptTokens, 0) > 4 * held);
  assertAgreeing(all);
  const { workers } = await gateway.snapshot();
  for (const { indexedBlocks } of workers) assert.ok(indexedBlocks <= BLOCKS, `${indexedBlocks}`);
});

test('tenants that look alike share nothing', async () => {
  const messages = [{ role: 'user', content: textOf(new Prng(77), 900) }];
  const cached: number[] = [];
  for (const salt of ['one', 'two', 'one']) {
    const { body } = await gateway.ask(`salted-${cached.length}`, {
      ...{ messages, cache_salt: salt },
    });
    cached.push(body.usage.prompt_tokens_details?.cached_tokens ?? -1);
    await gateway.isSettled();
  }
  assert.deepEqual(cached.slice(0, 2), [0, 0]);
  assert.ok(cached[2] > 500, `${cached[2]}`);
});

test('formats, calls, several answers and log probabilities are vLLM’s to keep, and it keeps them', async () => {
  const messages = [{ role: 'user', content: 'Which?' }];
  const ask = async (more: Record<string, unknown>) => {
    const { status, body, text } = await gateway.ask('shapes', { messages, ...more });
    assert.equal(status, 200, text);
    return body;
  };
  // It may reason first, and then noise reasons for ever: among some draws one does not.
  const drawn = async (more: Record<string, unknown>) => {
    for (let seed = 1; seed <= 12; seed++) {
      const drawing = { max_tokens: 60, temperature: 1, ignore_eos: false };
      const { choices } = await ask({ ...drawing, seed, ...more });
      if (choices[0].finish_reason !== 'length') return choices[0];
    }
    return assert.fail('no draw ended');
  };
  const chosen = await drawn({ structured_outputs: { choice: ['heads', 'tails'] } });
  assert.match(chosen.message.content ?? '', /^(heads|tails)$/);
  const number = await drawn({ structured_outputs: { regex: '[0-9]{5}' } });
  assert.match(number.message.content ?? '', /^[0-9]{5}$/);
  const parameters = {
    ...{ type: 'object', required: ['city'], additionalProperties: false },
    properties: { city: { enum: ['Paris', 'Rome'] } },
  };
  const tools = [{ type: 'function', function: { name: 'weather', parameters } }];
  const called = await drawn({ tools, tool_choice: 'required', parallel_tool_calls: false });
  assert.equal(called.finish_reason, 'tool_calls');
  const [call] = called.message.tool_calls ?? [];
  assert.equal(call.function.name, 'weather');
  assert.ok(['Paris', 'Rome'].includes(JSON.parse(call.function.arguments).city));
  const sampled = { n: 3, max_tokens: 4, temperature: 1, seed: 1 };
  const several = await ask({ ...sampled, logprobs: true, top_logprobs: 2 });
  assert.equal(several.choices.length, 3);
  for (const { logprobs } of several.choices) {
    assert.equal(logprobs?.content.length, 4);
    assert.ok(logprobs?.content.every(({ logprob }) => logprob < 0));
  }
});

test('doctor finds everything well', async () => {
  const { code, findings } = await gateway.doctor();
  assert.deepEqual(
    findings.filter(({ well }) => !well),
    [],
  );
  assert.equal(code, 0);
  const checks = new Set(findings.map(({ check }) => check));
  for (const check of [
    'tokenizer',
    'block size',
    'event source',
    'event replay',
    'usage',
    'priority',
  ])
    assert.ok(checks.has(check), check);
});

test('kill -9: its sessions go on elsewhere, and once it is back it is met again, and holds nothing', async () => {
  const sessions = Array.from({ length: 4 }, (_, i) => new Session(200 + i, 500));
  for (const session of sessions) await session.turn();
  await servers[1].kill();
  const places = new Set<string>();
  for (let turn = 0; turn < 2; turn++) {
    // All at once, and none may fail.
    const answers = await Promise.all(sessions.map((session) => session.turn()));
    if (turn > 0) for (const { worker } of answers) places.add(worker);
  }
  assert.equal(places.size, 1);
  servers[1].begin();
  await servers[1].ready();
  await until(
    'it is met as another worker',
    async () => (await gateway.snapshot()).workers.some(({ id }) => id === 'worker-2.2'),
    90_000,
  );
  await gateway.knows(2);
  const { workers } = await gateway.snapshot();
  const anew = workers.find(({ id }) => id === 'worker-2.2');
  assert.ok((anew?.indexedBlocks ?? BLOCKS) < 10);
  const fresh = Array.from({ length: 4 }, (_, i) => new Session(300 + i, 500));
  const answers = await Promise.all(fresh.map((session) => session.turn()));
  assert.ok(answers.some(({ worker }) => worker === 'worker-2.2'));
  assert.equal((await gateway.doctor()).code, 0);
  await gateway.stop();
});

/** A conversation that grows, with a beginning that all share. */
class Session {
  readonly #id: string;
  readonly #rng: Prng;
  readonly #messages: object[];
  readonly places: string[] = [];
  last: Answered | undefined;

  constructor(seed: number, words: number) {
    this.#id = `session-${seed}`;
    this.#rng = new Prng(1000 + seed);
    const content = `You help. ${textOf(new Prng(1), 100)} ${textOf(this.#rng, words)}`;
    this.#messages = [{ role: 'system', content }];
  }

  get worker(): string {
    return this.last?.worker ?? '';
  }

  async turn(): Promise<Answered> {
    this.#messages.push({ role: 'user', content: textOf(this.#rng, 20) });
    this.last = await gateway.answered(this.#id, this.#messages);
    this.places.push(this.last.worker);
    this.#messages.push({ role: 'assistant', content: this.last.text });
    return this.last;
  }
}

function assertAgreeing(all: readonly Answered[]): void {
  const off = all.filter(
    ({ predictedTokens, cachedTokens }) => Math.abs(predictedTokens - cachedTokens) > BLOCK_TOKENS,
  );
  const share = 1 - off.length / all.length;
  console.log(`  ${all.length} answers, ${(100 * share).toFixed(1)} % cached as predicted`);
  assert.ok(share >= AGREEING_MIN, JSON.stringify(off));
}

function textOf(rng: Prng, words: number): string {
  return Array.from({ length: words }, () => WORDS[rng.below(WORDS.length)]).join(' ');
}

/** All that a server ever stored, under our names. */
async function hashesTold(
  replay: string,
  hasher: ConstructorParameters<typeof BlockNames>[0],
): Promise<Set<bigint>> {
  const names = new BlockNames(hasher, FEED_SETTINGS);
  const reader = new KvEventReader();
  const told = new Set<bigint>();
  const dealer = new Dealer({ linger: 0, receiveTimeout: 10_000 });
  dealer.connect(replay);
  await dealer.send(['', Buffer.alloc(8)]);
  for await (const [, , sequence, payload] of dealer) {
    if (sequence.readBigInt64BE() < 0n) break;
    reader.read(payload, () => {}, {
      stored: (event) => {
        const naming = names.stored(event);
        assert.equal(naming.kind, 'named');
        if (naming.kind === 'named') {
          for (const { hashes } of naming.runs) for (const hash of hashes) told.add(hash);
        }
      },
      removed: (event) => void names.removed(event),
      cleared: () => names.clear(),
      skipped: (why) => assert.fail(why),
    });
  }
  dealer.close();
  return told;
}
