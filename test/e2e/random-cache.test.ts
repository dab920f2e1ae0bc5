/**
 * Random operations on the real engine with all tiers: every answer's logits equal, bit for bit, those
 * of an engine that computes each prompt anew.
 *
 *   STATOR_REAL_OPERATIONS=2000x5 node --import tsx test/run.ts e2e random-cache     the full size
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Prng } from '../../src/base/prng.ts';
import { type BuiltWorker, buildWorker } from '../../src/cli/build-worker.ts';
import { WorkerSettings } from '../../src/model/config.ts';
import { demoModel } from '../../src/weights/demo-model.ts';
import { OVERHEAD_BYTES } from '../../src/worker/budget.ts';
import { plainJob } from '../plain-job.ts';
import { CACHE, FOLDER } from './stack.ts';

const [OPERATIONS, SEEDS] = (process.env.STATOR_REAL_OPERATIONS ?? '80x1').split('x').map(Number);
const CHUNK = 64;
const CONTEXT = 1024;
const PROMPT_MAX = 700;
/** The process itself, as the budget counts it, and room for few blocks besides the slot. */
const ROOM_BYTES = 9_000_000;

let cold: BuiltWorker;
before(async () => {
  cold = await start({ memoryBytes: 500_000_000 });
});
after(() => cold.close());

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`${OPERATIONS} operations, seed ${seed}: logits are those of computing everything`, async () => {
    const random = new Prng(seed);
    const diskFolder = mkdtempSync(join(FOLDER, 'random-'));
    const { weightsBytes } = cold.card.memory;
    const memoryBytes = weightsBytes + OVERHEAD_BYTES + ROOM_BYTES;
    const given = { memoryBytes, diskBytes: 60_000_000, diskFolder };
    let worker = await start(given);
    const seen = { asked: 0, compared: 0, cachedTokens: 0, damaged: 0, restarts: 0, resets: 0 };
    const histories = Array.from({ length: 8 }, () => ids(random, 100 + random.below(200)));
    const open: Promise<void>[] = [];
    for (let i = 0; i < OPERATIONS; i++) {
      const kind = random.below(100);
      if (kind < 88) {
        const which = random.below(histories.length);
        const prompt = [...histories[which], ...ids(random, 1 + random.below(90))];
        histories[which] = prompt.length > PROMPT_MAX ? ids(random, 100) : prompt;
        if (prompt.length > PROMPT_MAX) continue;
        seen.asked++;
        open.push(compare(worker, prompt, random.below(12) === 0, seen));
        if (random.below(3) > 0) await Promise.all(open.splice(0));
      } else if (kind < 96) {
        seen.damaged += damage(worker, random) ? 1 : 0;
      } else if (kind < 98) {
        await Promise.all(open.splice(0));
        await worker.engine.resetCache();
        seen.resets++;
      } else {
        await Promise.all(open.splice(0));
        await worker.close();
        worker = await start(given);
        seen.restarts++;
      }
    }
    await Promise.all(open);
    const report = await worker.engine.report();
    console.log(`  ${JSON.stringify({ ...seen, diskBlocks: report?.diskBlocks })}`);
    assert.ok(seen.cachedTokens > 0);
    await worker.close();
    rmSync(diskFolder, { recursive: true, force: true });
  });
}

async function compare(
  worker: BuiltWorker,
  prompt: number[],
  leaves: boolean,
  seen: { compared: number; cachedTokens: number },
): Promise<void> {
  const answer = await ask(worker, prompt, leaves);
  if (answer === undefined) return;
  const twin = await recompute(prompt);
  assert.equal(answer.digests, twin, 'logits differ');
  seen.compared++;
  seen.cachedTokens += answer.cachedTokens;
}

const known = new Map<string, string>();
let recomputing: Promise<unknown> = Promise.resolve();

/** One at a time, each from nothing. */
async function recompute(prompt: number[]): Promise<string> {
  const key = prompt.join();
  const before = known.get(key);
  if (before !== undefined) return before;
  const turn = recomputing.then(async () => {
    await cold.engine.resetCache();
    const answer = await ask(cold, prompt, false);
    assert.equal(answer?.cachedTokens, 0);
    return answer?.digests ?? '';
  });
  recomputing = turn;
  const digests = await turn;
  known.set(key, digests);
  return digests;
}

/** Undefined where the client left before the end. */
async function ask(
  { engine }: BuiltWorker,
  prompt: number[],
  leaves: boolean,
): Promise<{ digests: string; cachedTokens: number } | undefined> {
  const leaving = new AbortController();
  const parts = engine.generate(
    plainJob({
      model: 'demo',
      prompt: { kind: 'tokens', ids: Uint32Array.from(prompt) },
      outputTokensMax: 2,
      engineData: true,
    }),
    leaving.signal,
  );
  if (leaves) setTimeout(() => leaving.abort(), prompt.length % 40);
  const digests: string[] = [];
  for await (const part of parts) {
    assert.notEqual(part.kind, 'error');
    if (part.kind === 'text') digests.push(...(part.engineData?.logitsDigests ?? []));
    if (part.kind !== 'done') continue;
    return { digests: digests.join(), cachedTokens: part.usage.cachedTokens ?? 0 };
  }
  return undefined;
}

/** Flips a bit somewhere in one of the files. */
function damage({ card }: BuiltWorker, random: Prng): boolean {
  const folder = card.disk?.folder ?? assert.fail('it has a disk');
  const names = readdirSync(folder).filter((name) => name.endsWith('.kv'));
  if (names.length === 0) return false;
  const path = join(folder, random.pick(names));
  try {
    const bytes = readFileSync(path);
    bytes[random.below(bytes.length)] ^= 1 << random.below(8);
    writeFileSync(path, bytes);
    return true;
  } catch {
    return false; // It went meanwhile.
  }
}

function ids(random: Prng, length: number): number[] {
  return Array.from({ length }, () => 300 + random.below(4000));
}

function start(given: Partial<WorkerSettings>): Promise<BuiltWorker> {
  const settings = WorkerSettings.parse({
    engine: 'llama',
    name: 'random',
    model: demoModel(CACHE),
    modelName: 'demo',
    contextTokens: CONTEXT,
    exact: true,
    exactChunkTokens: CHUNK,
    tokenSlices: 0,
    ...given,
  });
  return buildWorker(settings, (error) => {
    throw error;
  });
}
