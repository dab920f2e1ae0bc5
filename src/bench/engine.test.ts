import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalEngine } from '../engines/local.ts';
import { FixedPace } from '../engines/perf.ts';
import { RunnerSimulated, SimulatedMemory } from '../engines/runner-simulated.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Clock } from '../ports.ts';
import { toyTokens } from '../tokens/toy-tokens.test.ts';
import { benchEngine } from './engine.ts';
import type { BenchEngine } from './engine-driver.ts';
import { RunnerWatch } from './runner-watch.ts';

const BLOCK = 16;
const SLOTS = 4;
const CONTEXT = 2048;
const LENGTHS = [512, 1024, 8192];

test('what was to be reused was, from slots and the host store; what does not fit is left out', async () => {
  const first = start({ hostBlocks: 4000, withFiles: false });
  const { figures, beside } = await run(first, () => assert.fail('there are no files to find'));
  const ttft = beside.ttft as Record<string, { reused: Record<string, Record<string, object>> }>;
  assert.deepEqual(Object.keys(ttft), ['512', '1024']);
  for (const { reused } of Object.values(ttft)) {
    assert.deepEqual(Object.keys(reused.slot).sort(), ['0.5', '0.95', '0.99']);
    for (const home of [reused.slot, reused.host]) {
      for (const runs of Object.values(home)) assert.ok('wall' in runs, JSON.stringify(runs));
    }
    assert.deepEqual(reused.disk, { all: { reason: 'this engine keeps nothing in files' } });
  }
  assert.match(String(beside.leftOut), /too short for prompts of 8192\.$/);
  assert.equal(figures.ttft95RatioDisk, null);
  assert.ok((figures.decodeBatch4Ratio ?? 0) > 0);
  const rates = beside.bytesPerS as Record<string, number | null>;
  assert.ok(rates.slotToHost !== null && rates.hostToSlot !== null);
  assert.equal(rates.toDisk, null);
});

test('a tier that did not give back what it took is a reason, and no figure', async () => {
  const none = start({ hostBlocks: 0, withFiles: false });
  const { beside } = await run(none, () => assert.fail('there are no files to find'));
  const reused = (report: typeof beside) =>
    (report.ttft as Record<string, { reused: Record<string, Record<string, object>> }>)[1024]
      .reused;
  assert.deepEqual(reused(beside).host['0.95'], {
    reason: '960 tokens were to be reused, but 0 were',
  });
  // Files are written, but the engine after the restart finds none of them.
  let restarts = 0;
  const forgetful = await run(start({ hostBlocks: 4000, withFiles: true }), () => {
    restarts++;
    return start({ hostBlocks: 4000, withFiles: true });
  });
  assert.deepEqual(reused(forgetful.beside).disk['0.99'], {
    reason: '1008 tokens were to be reused, but 0 were',
  });
  assert.equal(restarts, 2);
});

function run(first: BenchEngine, restart: () => BenchEngine) {
  return benchEngine({
    model: 'toy',
    first,
    restart: async () => restart(),
    bare: {
      prefill: async () => ({ wallMs: 1, cpuMs: 1 }),
      decode: async () => ({ wallMs: 1, cpuMs: 1 }),
    },
    lengths: LENGTHS,
    chunkTokensMax: 512,
    settings: {},
    onProgress: () => {},
  });
}

function start(given: { hostBlocks: number; withFiles: boolean }): BenchEngine {
  const tokens = toyTokens({ blockTokens: BLOCK });
  const memory = new SimulatedMemory(SLOTS, {
    seed: 1,
    blockTokens: BLOCK,
    words: tokens.encode('the other king'),
    endToken: [...tokens.endTokens][0],
    turnToken: undefined,
    answerTokensMin: 5,
    answerTokensMax: 25,
  });
  const pace = new FixedPace(CURVE);
  const watch = new RunnerWatch();
  const engine = new LocalEngine({
    worker: 'w' as WorkerId,
    runner: watch.around(new RunnerSimulated({ memory, curve: CURVE, clock: SOON, fileUs: 0 })),
    pace,
    tokens,
    events: { publish: () => {} },
    settings: {
      sizes: {
        slots: SLOTS,
        blockTokens: BLOCK,
        blocksMax: 4000,
        hostBlocks: given.hostBlocks,
        matchBlocks: 1,
        disk: given.withFiles ? DISK : undefined,
      },
      batch: {
        blockTokens: BLOCK,
        contextTokens: CONTEXT,
        waitingMax: 100,
        stepUsMax: 1000,
        chunkTokensMax: 512,
        exactChunkTokens: undefined,
      },
      allowForcedOutput: true,
      answerTokens: undefined,
      grammars: 'derived',
      embeddings: { kind: 'made', note: '' },
    },
    onFailure: (error) => assert.fail(error),
  });
  return {
    engine,
    watch,
    vocabularySize: tokens.vocabularySize,
    slots: SLOTS,
    contextTokens: CONTEXT,
    blockTokens: BLOCK,
    blockBytes: 64,
    close: async () => engine.close(),
  };
}

const CURVE = {
  baseUs: 10,
  perTokenUs: 1,
  perTokenContextUs: 0,
  perLooseContextUs: 0,
  perSequenceUs: 1,
  perContextUs: 0,
};

const DISK = {
  bytesMax: 1e6,
  dirtyBytesMax: 1e5,
  fileBytes: 100,
  blockBytes: 64,
  fileBlocksMax: 32,
  saltBytesMax: 100,
};

/** Whatever is to take time happens as soon as nothing else does. */
const SOON: Clock = {
  nowUs: () => 0,
  wallMs: () => 0,
  after(_us, run) {
    const timer = setImmediate(run);
    return () => clearImmediate(timer);
  },
};
