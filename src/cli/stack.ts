/** A gateway and its local workers on this machine: what `up` runs, and what `compare` measures. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findLibraries } from '../engines/llama/libraries.ts';
import { StatorEngine } from '../engines/stator.ts';
import type { KnownModel } from '../gateway/models.ts';
import { type Config, UP_DEFAULTS } from '../model/config.ts';
import type { Device } from '../model/device.ts';
import type { WorkerRules } from '../model/worker.ts';
import { LocalWorkers } from '../planes/local.ts';
import { WallClock } from '../planes/wall-clock.ts';
import type { Tokens } from '../ports.ts';
import { buildGateway, type Gateway } from './build.ts';
import { Complaint } from './complaint.ts';
import { diskBytesDefault, diskFolder } from './disk.ts';
import { knownModel } from './load-model.ts';
import { memoryBytes } from './memory.ts';
import type { ChosenModel } from './model-choice.ts';

export interface StackOptions {
  config: Config;
  workers: number;
  /** Of them, so many that compute prompts for the others. */
  prefillWorkers?: number;
  engine: 'llama' | 'sim';
  /** Of all workers together; undefined: the default share of what there is. */
  memoryBytes: number | undefined;
  slots: number | undefined;
  contextTokens: number | undefined;
  kvTokens: number | undefined;
  /** Of all workers together; undefined: the default. */
  diskBytes: number | undefined;
  diskFolder: string | undefined;
  exact: boolean;
  allowForcedOutput: boolean;
  script: string | undefined;
  threads: number | undefined;
  device: Device | undefined;
  /** A folder: each worker writes its steps to a file there, `<name>.jsonl`. */
  stepLogs?: string;
  /** Called once the address is known to be ours, before anything is loaded. */
  chooseModel: () => Promise<ChosenModel>;
  log: (line: string) => void;
}

export interface Stack {
  url: string;
  gateway: Gateway;
  workers: LocalWorkers;
  model: ChosenModel;
  tokens: Tokens;
  engine: 'llama' | 'sim';
  /** Why the engine is not the one that was asked for; undefined where it is. */
  fallback: string | undefined;
  close(): Promise<void>;
}

/** Throws a `Complaint` where the port is taken or the model cannot be served. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { config } = options;
  const secret = randomBytes(24).toString('base64url');
  const models = new Map<string, KnownModel>();
  const fallback = options.engine === 'llama' ? missingLibraries(options.device) : undefined;
  const engine = fallback === undefined ? options.engine : 'sim';
  let command: (name: string) => string[] = () => [];
  const workers = new LocalWorkers({
    clock: new WallClock(),
    settings: {
      command: (name) => command(name),
      environment: { STATOR_KV_SECRET: secret },
      engine: (worker, card) =>
        new StatorEngine({
          worker,
          url: card.url,
          silenceUsMax: config.limits.engineSilenceUsMax,
          kvSecret: secret,
        }),
      rules: (name) => rulesOf(name, options),
      ...UP_DEFAULTS,
      onLine: (name, line) => options.log(`${name}: ${line}`),
    },
  });
  const gateway = buildGateway({
    config,
    directory: () => workers,
    restart: (worker) => workers.restart(worker),
    models,
    log: options.log,
  });
  const close = async () => {
    await gateway.close();
    await workers.close();
  };
  try {
    const port = await listen(gateway, config);
    const model = await options.chooseModel();
    const { limits } = config;
    const loaded = knownModel(model.path, { blockTokens: BLOCK_TOKENS, limits });
    models.set(model.name, loaded);
    command = (name) => workerCommand(name, model, engine, options);
    await workers.set(options.workers);
    return {
      url: `http://${config.listen.host}:${port}`,
      gateway,
      workers,
      model,
      tokens: loaded.tokens,
      engine,
      fallback,
      close,
    };
  } catch (error) {
    await close();
    throw error instanceof Complaint ? error : new Complaint((error as Error).message);
  }
}

const BLOCK_TOKENS = 16;

/** The last ones compute prompts, where some do. */
function rulesOf(name: string, options: StackOptions): WorkerRules | undefined {
  const { workers, prefillWorkers = 0 } = options;
  const number = Number(/\d+$/.exec(name)?.[0]);
  if (number <= workers - prefillWorkers) return undefined;
  return { role: 'prefill', adapters: [], tenants: [], taints: [], labels: {} };
}

/** Why llama.cpp cannot be had here; throws it where a device was named, which nothing can stand in for. */
function missingLibraries(device: Device = 'cpu'): string | undefined {
  const libraries = findLibraries(device);
  if (libraries.kind === 'found') return undefined;
  if (device === 'cpu' || device === 'auto') return libraries.reason;
  throw new Complaint(libraries.reason);
}

/** Listening comes first: a port that is taken is said before a model is loaded. */
async function listen(gateway: Gateway, config: Config): Promise<number> {
  const { host, port } = config.listen;
  try {
    return await gateway.server.listen(host, port);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      const holder = (await isStator(host, port)) ? 'another Stator' : 'another program';
      throw new Complaint(
        `Port ${port} is in use by ${holder}; stop it, or choose one with --port.`,
      );
    }
    throw new Complaint(
      `Cannot listen on ${host}:${port} (${code}); choose others with --host, --port.`,
    );
  }
}

async function isStator(host: string, port: number): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(1000);
    const response = await fetch(`http://${host}:${port}/api/hello`, { signal });
    return ((await response.json()) as { server?: string }).server === 'stator';
  } catch {
    return false; // It speaks no HTTP, or not ours.
  }
}

function workerCommand(
  name: string,
  model: ChosenModel,
  engine: 'llama' | 'sim',
  options: StackOptions,
): string[] {
  const folder = diskFolder(options.diskFolder);
  // A modelled disk is a choice, a real one a convenience.
  const disk = options.diskBytes ?? (engine === 'sim' ? 0 : diskBytesDefault(folder));
  const total = options.memoryBytes ?? memoryBytes() * UP_DEFAULTS.memoryShare;
  const flags: Record<string, string | number | boolean | undefined> = {
    engine,
    name,
    model: model.path,
    'model-name': model.name,
    memory: Math.floor(total / options.workers),
    slots: options.slots,
    context: options.contextTokens,
    'kv-tokens': options.kvTokens,
    disk: Math.floor(disk / options.workers),
    'disk-folder': options.diskFolder,
    threads: options.threads,
    device: options.device,
    exact: options.exact,
    'allow-forced-output': options.allowForcedOutput,
    script: options.script,
    'step-log': options.stepLogs && join(options.stepLogs, `${name}.jsonl`),
  };
  const args = [mainFile(), 'worker'];
  for (const [flag, value] of Object.entries(flags)) {
    if (value === undefined || value === false) continue;
    args.push(value === true ? `--${flag}` : `--${flag}=${value}`);
  }
  return args;
}

/** Children run what was built, also when a test runs the sources. */
function mainFile(): string {
  const here = fileURLToPath(new URL('../main.js', import.meta.url));
  return here.replace(/([\\/])src([\\/]main\.js)$/, '$1dist$2');
}
