/**
 * `stator worker`: one worker process. Prints its card as one JSON line; goes when its parent's pipe
 * closes, when it is told to, or when its engine is lost.
 */
import { fstatSync } from 'node:fs';
import { router } from '../http/router.ts';
import { HttpServer } from '../http/server.ts';
import { HTTP_LIMITS, parseConfig, UP_DEFAULTS, WorkerSettings } from '../model/config.ts';
import type { WorkerCard } from '../model/worker-card.ts';
import { logSteps } from '../observe/step-log.ts';
import type { Runner } from '../ports.ts';
import { kvRoutes } from '../worker/kv-routes.ts';
import { workerRoutes } from '../worker/routes.ts';
import { buildWorker } from './build-worker.ts';
import { Complaint } from './complaint.ts';
import { diskBytesDefault, diskFolder } from './disk.ts';
import { memoryBytes } from './memory.ts';

/** `stepLog`: the file that each step is written to. */
export async function runWorker(
  settings: WorkerSettings,
  { port, stepLog }: { port: number; stepLog?: string },
): Promise<void> {
  leaveWithParent();
  const lost = (error: Error) => {
    // Nothing can be served any more: whoever supervises starts another.
    process.stderr.write(`the engine is lost: ${error.message}\n`);
    process.exit(1);
  };
  const logged = (runner: Runner, { slots }: { slots: number }) => {
    const { modelName: model, blockTokens } = settings;
    if (stepLog === undefined) return runner;
    return logSteps(runner, stepLog, { stepLog: 1, model, slots, blockTokens });
  };
  const built = await buildWorker(settings, lost, logged).catch((error: Error) => {
    throw error instanceof Complaint ? error : new Complaint(error.message);
  });
  let card: WorkerCard | undefined;
  const routes = workerRoutes({
    engine: built.engine,
    tokens: built.model.tokens,
    card: () => card as WorkerCard,
    foreignRender: built.foreignRender,
    kvSecret: settings.kvSecret,
    events: built.events,
  });
  const { kv } = built;
  const kvControl = kvRoutes({ kv, kvSecret: settings.kvSecret });
  const server = new HttpServer(router(new Map([...routes, ...kvControl])), HTTP_LIMITS);
  const listening = await server.listen('127.0.0.1', port);
  card = { ...built.card, url: `http://127.0.0.1:${listening}` };
  for (const note of built.notes) process.stderr.write(`${note}\n`);
  process.stdout.write(`${JSON.stringify(card)}\n`);
  const stop = () => {
    setTimeout(leave, 500).unref();
    void Promise.all([server.close(), built.close()]).finally(() => process.exit(0));
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

/** A parent that dies closes its end of our stdin; a terminal or a file there is no parent. */
function leaveWithParent(): void {
  const stdin = fstatSync(0);
  if (!stdin.isFIFO() && !stdin.isSocket()) return;
  process.stdin.on('end', leave).on('close', leave).on('error', leave);
  process.stdin.resume();
}

/** At once: `exit` would wait for a thread that is inside llama.cpp. */
function leave(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** A modelled disk is there only where it was asked for. */
function diskBytesOf(flags: Record<string, unknown>): number {
  if (flags.engine === 'sim') return 0;
  return diskBytesDefault(diskFolder(flags.diskFolder as string | undefined));
}

/** Flags → settings; throws a `Complaint` where they are not. */
export function workerSettings(flags: Record<string, unknown>): WorkerSettings {
  const parsed = parseConfig(WorkerSettings, {
    engine: flags.engine,
    name: flags.name,
    model: flags.model,
    modelName: flags.modelName,
    memoryBytes: flags.memory ?? Math.floor(memoryBytes() * UP_DEFAULTS.memoryShare),
    slots: flags.slots,
    contextTokens: flags.context,
    kvTokens: flags.kvTokens,
    diskBytes: flags.disk ?? diskBytesOf(flags),
    diskFolder: flags.diskFolder,
    threads: flags.threads,
    device: flags.device,
    exact: flags.exact,
    allowForcedOutput: flags.allowForcedOutput,
    script: flags.script,
    events: flags.events,
    kvSecret: process.env.STATOR_KV_SECRET,
  });
  if (parsed.kind === 'ok') return parsed.value;
  throw new Complaint(`This worker cannot run so: ${parsed.sentences.join('; ')}.`, 2);
}
