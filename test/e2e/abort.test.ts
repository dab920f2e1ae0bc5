/** Whoever leaves during a long prefill frees the engine at the next border between two chunks. */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type BuiltWorker, buildWorker } from '../../src/cli/build-worker.ts';
import { WorkerSettings } from '../../src/model/config.ts';
import type { Part } from '../../src/model/part.ts';
import type { StepPlan } from '../../src/model/step.ts';
import type { Runner } from '../../src/ports.ts';
import { demoModel } from '../../src/weights/demo-model.ts';
import { plainJob } from '../plain-job.ts';
import { CACHE, FOLDER, until } from './stack.ts';

const PROMPT_TOKENS = 12_000;
const CHUNKS_BEFORE = 3;

let worker: BuiltWorker;
/** Every step that was begun, in order. */
const plans: StepPlan[] = [];
let onPlan: () => void = () => {};

before(async () => {
  const settings = WorkerSettings.parse({
    engine: 'llama',
    name: 'abort',
    model: demoModel(CACHE),
    modelName: 'demo',
    memoryBytes: 800_000_000,
    slots: 2,
    contextTokens: 16_384,
    diskFolder: mkdtempSync(join(FOLDER, 'abort-')),
    allowForcedOutput: true,
    tokenSlices: 0,
  });
  worker = await buildWorker(
    settings,
    (error) => {
      throw error;
    },
    watched,
  );
});
after(() => worker.close());

test('no step after the abort computes of that prompt; a stream beside it goes on', async () => {
  const beside = new AbortController();
  const stream = drain(generate(ids(64, 1), 5000, beside.signal));
  await until('the stream writes', () => plans.length > 5);
  const first = plans.length;
  const leaving = new AbortController();
  const long = drain(generate(ids(PROMPT_TOKENS, 2), 1, leaving.signal));
  // At the begin of its third chunk: that one is in flight and will be the last.
  const aborted = new Promise<number>((resolve) => {
    onPlan = () => {
      if (prefills(plans.slice(first)).length < CHUNKS_BEFORE) return;
      onPlan = () => {};
      leaving.abort();
      resolve(plans.length);
    };
  });
  const atAbort = await aborted;
  assert.deepEqual(await long, []);
  await until('the stream goes on', () => plans.length > atAbort + 20);
  assert.deepEqual(prefills(plans.slice(atAbort)), [], 'a chunk after the abort');
  const report = await worker.engine.report();
  assert.equal(report?.slots.filter(({ busy }) => busy).length, 1);
  assert.equal(report?.waiting, 0);
  beside.abort();
  assert.ok((await stream).length > 0);
});

test('its slot is free: the next prompt is not kept waiting, and finds what was computed', async () => {
  const leaving = new AbortController();
  const prompt = ids(PROMPT_TOKENS, 3);
  const first = plans.length;
  const long = drain(generate(prompt, 1, leaving.signal));
  await until('it computes', () => prefills(plans.slice(first)).length >= CHUNKS_BEFORE);
  leaving.abort();
  await long;
  const atAbort = plans.length;
  const again = await drain(generate(prompt.slice(0, 600), 1, new AbortController().signal));
  const done = again.find((part) => part.kind === 'done');
  assert.ok(done?.kind === 'done' && (done.usage.cachedTokens ?? 0) >= 128);
  const computed = prefills(plans.slice(atAbort)).reduce((sum, tokens) => sum + tokens, 0);
  assert.ok(computed < 600, `${computed} tokens were computed after the abort`);
});

/** Tells each step before the runner gets it. */
function watched(runner: Runner): Runner {
  return {
    ...runner,
    step: (plan, done) => {
      plans.push(plan);
      runner.step(plan, done);
      onPlan();
    },
    listen: (on) => runner.listen(on),
    close: () => runner.close(),
  };
}

/** Tokens of each prompt chunk. */
function prefills(steps: readonly StepPlan[]): number[] {
  return steps.flatMap(({ slices }) =>
    slices.map(({ tokens }) => tokens.length).filter((count) => count > 1),
  );
}

function generate(prompt: Uint32Array, tokens: number, signal: AbortSignal): AsyncIterable<Part> {
  return worker.engine.generate(
    plainJob({
      model: 'demo',
      prompt: { kind: 'tokens', ids: prompt },
      outputTokensMax: tokens,
      forcedOutput: ' the'.repeat(tokens),
    }),
    signal,
  );
}

async function drain(parts: AsyncIterable<Part>): Promise<Part[]> {
  const all: Part[] = [];
  for await (const part of parts) all.push(part);
  return all;
}

function ids(count: number, seed: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => 300 + ((i * 7919 + seed * 131) % 15_000));
}
