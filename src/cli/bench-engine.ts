/** `stator bench engine`: on the demo model, or the one that is named. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BareProcess } from '../bench/bare-loop.ts';
import { benchEngine } from '../bench/engine.ts';
import type { BenchEngine } from '../bench/engine-driver.ts';
import type { BenchReport } from '../bench/figure.ts';
import { RunnerWatch } from '../bench/runner-watch.ts';
import { benchServers } from '../bench/servers.ts';
import { UP_DEFAULTS, WorkerSettings } from '../model/config.ts';
import { buildWorker } from './build-worker.ts';
import { Complaint } from './complaint.ts';
import { diskBytesDefault } from './disk.ts';
import { llamaServerHere } from './llama-server.ts';
import { memoryBytes } from './memory.ts';
import { chooseModel } from './model-choice.ts';

const LENGTHS = [2048, 8192, 16_384];
const SLOTS = 8;
/** Beside the longest prompt, whole units of llama.cpp's cells. */
const ROOM_TOKENS = 1024;
/** Cold runs of the longest prompt take most of the time. */
const SERVER_ROUNDS = 2;
/** Agents: a system prompt in common, and twice as many of them as there are slots. */
const SESSIONS = {
  perSlot: 2,
  turns: 4,
  sharedTokens: 1024,
  ownTokens: 1024,
  turnTokens: 512,
  outputTokens: 32,
};

export async function engineBench(
  onProgress: (text: string) => void,
  flags: { model?: string },
): Promise<BenchReport> {
  const model = await chooseModel(flags.model ?? 'demo');
  const folder = mkdtempSync(join(tmpdir(), 'stator-bench-'));
  let bare: BareProcess | undefined;
  try {
    const settings = settingsFor(model, folder);
    const first = await start(settings);
    const { slots, contextTokens } = first;
    const { chunkTokensMax, chunkUs, threads } = settings;
    bare = await BareProcess.start({
      model: model.path,
      slots,
      contextTokens,
      batchTokens: chunkTokensMax,
      threads,
    });
    const report = await benchEngine({
      model: model.name,
      first,
      restart: () => start(settings),
      bare,
      lengths: LENGTHS,
      chunkTokensMax,
      settings: { threads, chunkTokensMax, chunkUs },
      onProgress,
    });
    bare.close();
    const lengths = LENGTHS.filter((tokens) => tokens < contextTokens);
    const servers = await benchServers({
      model: { path: model.path, slots, contextTokens, threads },
      memoryBytes: settings.memoryBytes,
      vocabularySize: first.vocabularySize,
      llamaServer: llamaServerHere(),
      lengths,
      rounds: SERVER_ROUNDS,
      sessions: SESSIONS,
      onProgress,
    });
    return {
      ...report,
      figures: { ...report.figures, ...servers.figures },
      beside: { ...report.beside, ...servers.beside },
    };
  } catch (error) {
    throw new Complaint((error as Error).message);
  } finally {
    bare?.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function settingsFor(model: { path: string; name: string }, folder: string): WorkerSettings {
  return WorkerSettings.parse({
    engine: 'llama',
    name: 'bench',
    model: model.path,
    modelName: model.name,
    memoryBytes: Math.floor(memoryBytes() * UP_DEFAULTS.memoryShare),
    slots: SLOTS,
    contextTokens: Math.max(...LENGTHS) + ROOM_TOKENS,
    diskBytes: diskBytesDefault(folder),
    diskFolder: folder,
    allowForcedOutput: true,
    tokenSlices: 0,
  });
}

async function start(settings: WorkerSettings): Promise<BenchEngine> {
  const watch = new RunnerWatch();
  const { engine, model, card, close } = await buildWorker(settings, fail, (runner) =>
    watch.around(runner),
  );
  return {
    engine,
    watch,
    vocabularySize: model.tokens.vocabularySize,
    slots: card.cache.slots,
    contextTokens: card.model.contextTokens,
    blockTokens: card.cache.blockTokens,
    blockBytes: card.cache.blockBytes,
    async close() {
      await close();
      await watch.closed;
    },
  };
}

/** Whoever waits for an answer hears of it too. */
function fail(error: Error): void {
  process.stderr.write(`the engine is lost: ${error.message}\n`);
}
