/**
 * Starts what a user starts, `stator` in processes of its own, and leaves none behind: every process
 * carries a mark in its environment, and the last hook of each file looks for it.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import type { Snapshot } from '../../src/gateway/state.ts';
import type { WorkerCard } from '../../src/model/worker-card.ts';

const START_MS_MAX = 60_000;
const RUN_MS_MAX = 200_000;
const STOP_MS_MAX = 15_000;
const MARK = randomUUID();
const MAIN = join(import.meta.dirname, '..', '..', 'dist', 'main.js');
/** Of this test file; gone at its end. */
export const FOLDER = mkdtempSync(join(tmpdir(), 'stator-e2e-'));
/** test/run.ts shares one over all files, so that the demo model is written once. */
export const CACHE = process.env.STATOR_E2E_CACHE ?? join(FOLDER, 'cache');
const STATE = join(FOLDER, 'state');

/** Enough for what tests ask, and quick to allocate. */
export const SMALL = ['--memory=1GB', '--context=8192', '--slots=2'];

const children = new Set<ChildProcess>();
/** Workers of stacks that were started, for systems where environments cannot be read. */
const workersSeen = new Set<number>();

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(FOLDER, { recursive: true, force: true });
});
// Without a listener these end the process and skip its exit.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(1));

after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await until('no process is left', () => leftovers().length === 0);
});

/** A running process of `stator`, and what it said so far. */
export class Running {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  /** Resolves when it has ended. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;

  constructor(args: readonly string[], environment: Record<string, string> = {}, main = MAIN) {
    const ours = { STATOR_CACHE: CACHE, STATOR_STATE: STATE, STATOR_E2E_MARK: MARK };
    const env = { ...process.env, ...ours, ...environment };
    this.child = spawn(process.execPath, [main, ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    children.add(this.child);
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve) => {
      this.child.on('close', (code, signal) => {
        children.delete(this.child);
        resolve({ code, signal });
      });
    });
  }

  get pid(): number {
    return this.child.pid ?? assert.fail('the process was not started');
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Asks it to end and resolves to its exit code. */
  async stop(): Promise<number | null> {
    this.child.kill('SIGTERM');
    return (await inTime('the process ends when told to', this.ended, STOP_MS_MAX)).code;
  }
}

/** `stator up` that answers. */
export class Stack extends Running {
  url = '';

  async snapshot(): Promise<Snapshot> {
    const response = await fetch(`${this.url}/stator/v1/snapshot`, {
      headers: this.adminHeaders,
      signal: AbortSignal.timeout(10_000),
    });
    assert.equal(response.status, 200);
    const snapshot = (await response.json()) as Snapshot;
    for (const { about } of snapshot.workers) workersSeen.add((about.card as WorkerCard).pid);
    return snapshot;
  }

  adminHeaders: Record<string, string> = {};

  /** Of the workers that are up, by their ids. */
  async cards(): Promise<Map<string, WorkerCard>> {
    const { workers } = await this.snapshot();
    return new Map(workers.map(({ id, about }) => [id, about.card as WorkerCard]));
  }

  /** No request runs or waits anywhere, and no slot is held. */
  async isIdle(): Promise<boolean> {
    const { running, waiting, workers } = await this.snapshot();
    if (running + waiting > 0) return false;
    return workers.every(
      ({ requests, engine }) =>
        requests === 0 &&
        engine !== null &&
        engine.running + engine.waiting === 0 &&
        engine.slots.every(({ busy }) => !busy),
    );
  }
}

/** Starts `stator up` on a free port and waits until /health is 200. */
export async function startUp(
  args: readonly string[],
  given: { adminKey?: string; env?: Record<string, string> } = {},
): Promise<Stack> {
  const stack = new Stack(['up', '--port=0', ...args], given.env);
  if (given.adminKey !== undefined)
    stack.adminHeaders = { authorization: `Bearer ${given.adminKey}` };
  await until(
    'up prints where it serves',
    () => {
      if (stack.hasEnded) assert.fail(`up ended at once: ${stack.stderr}`);
      stack.url = /gateway +(http\S+)/.exec(stack.stdout)?.[1] ?? '';
      return stack.url !== '';
    },
    START_MS_MAX,
  );
  await until('/health is 200', async () => (await fetch(`${stack.url}/health`)).status === 200);
  await stack.snapshot();
  return stack;
}

/** Starts one `stator worker` with the demo model and waits for its card. */
export async function startWorker(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Running & { card: WorkerCard }> {
  const model = await demoModel();
  const worker = new Running(['worker', `--model=${model}`, '--model-name=demo', ...args], env);
  await until(
    'the worker prints its card',
    () => {
      if (worker.hasEnded) assert.fail(`the worker ended at once: ${worker.stderr}`);
      return worker.stdout.includes('\n');
    },
    START_MS_MAX,
  );
  const card = JSON.parse(worker.stdout.split('\n')[0]) as WorkerCard;
  return Object.assign(worker, { card });
}

/** Runs `stator` to its end. */
export async function runToEnd(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const running = new Running(args, env);
  const { code } = await inTime(`stator ${args.join(' ')} ends`, running.ended, RUN_MS_MAX);
  return { code, stdout: running.stdout, stderr: running.stderr };
}

/** The path of the demo model, written by `up` where it does not exist yet. */
export async function demoModel(): Promise<string> {
  const find = () => {
    try {
      return readdirSync(CACHE).find((name) => /^stator-demo-.*\.gguf$/.test(name));
    } catch {
      return undefined; // Nothing was started yet.
    }
  };
  if (find() === undefined) await (await startUp(['--engine=sim', '--workers=1'])).stop();
  return join(CACHE, find() ?? assert.fail('up writes the demo model to its cache folder'));
}

/** A file of this test file's own folder. */
export function write(name: string, content: string | Uint8Array): string {
  const path = join(FOLDER, name);
  writeFileSync(path, content);
  return path;
}

/** The flags that make simulated workers answer by these rules. */
export function scripted(rules: readonly object[]): string[] {
  const path = write(`script-${randomUUID()}.json`, JSON.stringify({ rules }));
  return ['--engine=sim', `--script=${path}`];
}

/** Asks again and again until it is so. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  msMax = 20_000,
): Promise<void> {
  const end = Date.now() + msMax;
  while (!(await isSo())) {
    assert.ok(Date.now() < end, `${what}: not within ${msMax} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function inTime<T>(what: string, promise: Promise<T>, msMax = 30_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${msMax} ms`)), msMax);
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch {
    return false;
  }
}

/** It ended, and whoever inherited it has not yet asked how. */
function isZombie(pid: number): boolean {
  return /^\d+ \(.*\) Z/.test(procFile(pid, 'stat'));
}

/** Processes that this file started, directly or not, and that still run. */
export function leftovers(): number[] {
  const ours = process.platform === 'linux' ? marked() : [...workersSeen];
  const direct = [...children].map(({ pid }) => pid ?? 0).filter((pid) => pid > 0);
  return [...new Set([...ours, ...direct])].filter(isAlive);
}

/** Linux: every process whose environment holds the mark. */
export function marked(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => procFile(pid, 'environ').includes(`STATOR_E2E_MARK=${MARK}`));
}

export function procFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return ''; // It is gone, or not ours.
  }
}
