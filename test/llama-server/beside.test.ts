/**
 * Our worker beside llama.cpp's own server on the same libraries and model, each behind its HTTP:
 * greedy answers are the same, both reuse what they computed, and the comparison of `bench engine` runs.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Prng } from '../../src/base/prng.ts';
import { compareServers } from '../../src/bench/server-comparison.ts';
import { ServerProcess } from '../../src/bench/server-process.ts';
import { llamaServerHere } from '../../src/cli/llama-server.ts';
import { call } from '../e2e/client.ts';
import { demoModel } from '../e2e/stack.ts';

const MODEL = { slots: 4, contextTokens: 4096, threads: 1 };
const MEMORY_BYTES = 600_000_000;
const VOCABULARY = 16_000;

let ours: ServerProcess;
let theirs: ServerProcess;
before(async () => {
  const server = llamaServerHere();
  if (server.kind === 'missing') assert.fail(server.reason);
  const model = { ...MODEL, path: await demoModel() };
  ours = await ServerProcess.worker(model, MEMORY_BYTES);
  theirs = await ServerProcess.llamaServer(server.path, model);
});
after(() => {
  ours?.close();
  theirs?.close();
});

test('the same prompt, greedily, is answered with the same tokens', async () => {
  const prng = new Prng(7);
  for (const length of [3, 24, 61]) {
    const prompt = ids(prng, length);
    // The demo's answers have a length of their own; what it samples is compared up to there.
    const mine = await answer(ours, { model: 'bench' }, prompt);
    const rivals = await answer(theirs, { ignore_eos: true }, prompt);
    assert.ok(mine.length > 0);
    assert.equal(mine, rivals.slice(0, mine.length), `a prompt of ${length} tokens`);
  }
});

test('both reuse what they computed, and ours counts whole blocks of it', async () => {
  const prng = new Prng(8);
  const prompt = ids(prng, 1000);
  for (const { client } of [ours, theirs]) await client.ask({ ids: prompt, tokens: 1 });
  const next = [...prompt.slice(0, 950), ...ids(prng, 50)];
  const mine = await ours.client.ask({ ids: next, tokens: 1 });
  const rivals = await theirs.client.ask({ ids: next, tokens: 1 });
  assert.equal(mine.usage?.cachedTokens, 944);
  assert.equal(rivals.usage?.cachedTokens, 950);
});

test('more sessions than slots, side by side', async () => {
  const report = await compareServers({
    servers: { ours, theirs },
    vocabularySize: VOCABULARY,
    slots: MODEL.slots,
    lengths: [2048],
    rounds: 1,
    sessions: {
      perSlot: 3,
      turns: 3,
      sharedTokens: 512,
      ownTokens: 512,
      turnTokens: 256,
      outputTokens: 16,
    },
    onProgress: () => {},
  });
  for (const [who, { ttft, decode, sessions }] of Object.entries(report)) {
    console.log(
      `  ${who}: ${JSON.stringify({
        coldMs: ttft[2048].cold.bestMs,
        reusedMs: ttft[2048].reused.bestMs,
        decode,
        sessions,
      })}`,
    );
  }
  const { sessions } = report.ours;
  const others = report.theirs.sessions;
  assert.equal(sessions.requests, 36);
  assert.equal(sessions.promptTokens, others.promptTokens);
  // Sessions that found no slot come back from the host store: only new tokens are computed.
  const least = 512 + 12 * (512 + 3 * 256);
  assert.ok(sessions.computedTokens >= least - 12 * 3 * 16);
  assert.ok(sessions.computedTokens < 1.15 * least, `${sessions.computedTokens} of ${least}`);
  assert.ok(sessions.computedTokens <= 1.05 * others.computedTokens);
});

async function answer(
  { client }: ServerProcess,
  fields: object,
  prompt: number[],
): Promise<string> {
  const body = { prompt, max_tokens: 16, temperature: 0, ...fields };
  const reply = await call<{ choices: { text: string }[] }>(
    'POST',
    `${client.url}/v1/completions`,
    {
      body,
    },
  );
  assert.equal(reply.status, 200, reply.text);
  return reply.body.choices[0].text;
}

/** Without the special tokens at the end of the vocabulary. */
function ids(prng: Prng, count: number): number[] {
  return Array.from({ length: count }, () => 300 + prng.below(VOCABULARY - 300));
}
