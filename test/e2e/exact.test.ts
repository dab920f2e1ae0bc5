/** What was reused computes what would have been computed: bit for bit with --exact, and how often without. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Call, readSessions, type Session } from '../../src/bench/sessions.ts';
import { type BuiltWorker, buildWorker } from '../../src/cli/build-worker.ts';
import { WorkerSettings } from '../../src/model/config.ts';
import { demoModel } from '../../src/weights/demo-model.ts';
import { openaiChat } from '../../src/wire/openai-chat.ts';
import { plainJob } from '../plain-job.ts';
import { CACHE } from './stack.ts';

const EXACT_CALLS = 50;
const NORMAL_CALLS = 12;
const SESSIONS = readSessions('test/fixtures/traces/tau-bench-airline-10tasks');
const CALLS = SESSIONS.flatMap((session) => session.calls.map((call) => ({ session, call })));

test(`--exact: logits of ${EXACT_CALLS} tau-bench calls are bit-equal with reuse and without`, async () => {
  const worker = await start({ exact: true });
  const calls = CALLS.slice(0, EXACT_CALLS);
  const { reused, cold } = await bothWays(worker, calls, 3);
  const equal = reused.filter((one, i) => one.digests === cold[i].digests).length;
  const withReuse = reused.filter(({ cachedTokens }) => cachedTokens > 0).length;
  console.log(
    `  --exact: ${equal} of ${calls.length} calls give bit-equal logits; ${withReuse} of them reused KV`,
  );
  assert.equal(equal, EXACT_CALLS);
  assert.ok(withReuse >= EXACT_CALLS - 1, `${withReuse} calls reused KV`);
  assert.ok(cold.every(({ cachedTokens }) => cachedTokens === 0));
  await worker.close();
});

test('normal mode: the share of equal greedy answers is told', async () => {
  const worker = await start({ exact: false });
  const calls = CALLS.slice(0, NORMAL_CALLS);
  const { reused, cold } = await bothWays(worker, calls, 8);
  const equal = reused.filter((one, i) => one.ids === cold[i].ids).length;
  console.log(
    `  normal mode: ${equal} of ${calls.length} greedy answers of 8 tokens are equal (random weights: ties are common)`,
  );
  assert.ok(reused.slice(1).every(({ cachedTokens }) => cachedTokens > 0));
  await worker.close();
});

interface Outcome {
  digests: string;
  ids: string;
  cachedTokens: number;
}

async function bothWays(
  worker: BuiltWorker,
  calls: readonly { session: Session; call: Call }[],
  outputTokens: number,
): Promise<{ reused: Outcome[]; cold: Outcome[] }> {
  const reused: Outcome[] = [];
  for (const one of calls) reused.push(await answer(worker, one, outputTokens));
  const cold: Outcome[] = [];
  for (const one of calls) {
    await worker.engine.resetCache();
    cold.push(await answer(worker, one, outputTokens));
  }
  return { reused, cold };
}

async function answer(
  { engine }: BuiltWorker,
  { session, call }: { session: Session; call: Call },
  outputTokensMax: number,
): Promise<Outcome> {
  const body = { model: 'demo', messages: call.messages, tools: session.tools };
  const { prompt } = openaiChat.parse(body);
  const parts = engine.generate(
    plainJob({
      model: 'demo',
      prompt,
      outputTokensMax,
      engineData: true,
    }),
    new AbortController().signal,
  );
  const digests: string[] = [];
  const ids: number[] = [];
  let cachedTokens = 0;
  for await (const part of parts) {
    assert.notEqual(part.kind, 'error');
    if (part.kind === 'text') {
      digests.push(...(part.engineData?.logitsDigests ?? []));
      ids.push(...(part.ids ?? []));
    }
    if (part.kind === 'done') cachedTokens = part.usage.cachedTokens ?? 0;
  }
  assert.ok(digests.length > 0);
  return { digests: digests.join(), ids: ids.join(), cachedTokens };
}

function start(given: { exact: boolean }): Promise<BuiltWorker> {
  const settings = WorkerSettings.parse({
    engine: 'llama',
    name: 'exact',
    model: demoModel(CACHE),
    modelName: 'demo',
    memoryBytes: 1_500_000_000,
    contextTokens: 16_384,
    slots: 2,
    ...given,
  });
  return buildWorker(settings, (error) => {
    throw error;
  });
}
