/** Servers that a bench starts for itself: a worker of ours, or llama.cpp's own server. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { WorkerCard } from '../model/worker-card.ts';
import { ServerClient } from './server-client.ts';

export interface ServedModel {
  path: string;
  slots: number;
  /** Per slot. */
  contextTokens: number;
  threads: number;
  /** Where a rival may save its slots; undefined: nowhere. */
  slotFolder?: string;
}

const START_MS_MAX = 60_000;
/** Answers of ours are made of it: one token in any vocabulary. */
const WORD = ' the';
const STDERR_MAX = 4000;

export class ServerProcess {
  readonly client: ServerClient;
  readonly #child: ChildProcess;

  /** A worker that keeps nothing on disk: rivals do not either. Throws where it does not start. */
  static async worker(model: ServedModel, memoryBytes: number): Promise<ServerProcess> {
    const child = new Started(process.execPath, [
      mainFile(),
      'worker',
      `--model=${model.path}`,
      '--model-name=bench',
      `--slots=${model.slots}`,
      `--context=${model.contextTokens}`,
      `--threads=${model.threads}`,
      `--memory=${memoryBytes}`,
      '--disk=0',
      '--allow-forced-output',
    ]);
    await child.until(() => child.stdout.includes('\n'));
    const { url } = JSON.parse(child.stdout.split('\n')[0]) as WorkerCard;
    const fields = (tokens: number) => ({
      model: 'bench',
      nvext: { forced_output: WORD.repeat(tokens) },
    });
    return new ServerProcess(child.process, new ServerClient(url, fields));
  }

  /** With its prompt cache on, as it is by default, and a KV stream per slot, as with `--parallel`. */
  static async llamaServer(executable: string, model: ServedModel): Promise<ServerProcess> {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const flags: Record<string, string | number> = {
      model: model.path,
      host: '127.0.0.1',
      port,
      parallel: model.slots,
      'ctx-size': model.slots * model.contextTokens,
      threads: model.threads,
      'threads-batch': model.threads,
      'flash-attn': 'on',
      ...(model.slotFolder !== undefined && { 'slot-save-path': model.slotFolder }),
    };
    const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
    const child = new Started(executable, args);
    await child.until(
      async () => (await fetch(`${url}/health`).catch(() => undefined))?.ok === true,
    );
    return new ServerProcess(child.process, new ServerClient(url, () => ({ ignore_eos: true })));
  }

  private constructor(child: ChildProcess, client: ServerClient) {
    this.#child = child;
    this.client = client;
  }

  /** CPU time of all its threads so far; undefined where the system does not tell. */
  cpuMs(): number | undefined {
    try {
      const tasks = `/proc/${this.#child.pid}/task`;
      return readdirSync(tasks).reduce((sum, task) => {
        const [ns] = readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ');
        return sum + Number(ns) / 1e6;
      }, 0);
    } catch {
      return undefined; // Not on this system.
    }
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }
}

/** A child process, and what it said while it started. */
class Started {
  readonly process: ChildProcess;
  stdout = '';
  #stderr = '';
  #ended = false;

  constructor(command: string, args: readonly string[]) {
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout = (this.stdout + text).slice(0, 100_000);
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_MAX);
    });
    const forget = endWith(this.process);
    const end = () => {
      this.#ended = true;
      forget();
    };
    this.process.on('error', end).on('exit', end);
  }

  async until(isSo: () => boolean | Promise<boolean>): Promise<void> {
    const endMs = performance.now() + START_MS_MAX;
    while (!(await isSo())) {
      if (this.#ended || performance.now() > endMs) {
        this.process.kill('SIGKILL');
        throw new Error(`${this.process.spawnfile} did not start: ${this.#stderr.trim()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Nobody else would end the child where this process is ended. The returned function undoes it. */
function endWith(child: ChildProcess): () => void {
  const kill = () => child.kill('SIGKILL');
  const signalled = (signal: NodeJS.Signals) => {
    forget();
    kill();
    process.kill(process.pid, signal);
  };
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
  const forget = () => {
    process.off('exit', kill);
    for (const signal of signals) process.off(signal, signalled);
  };
  process.once('exit', kill);
  for (const signal of signals) process.once(signal, signalled);
  return forget;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** Processes run what was built, also when a test runs the sources. */
function mainFile(): string {
  const here = fileURLToPath(new URL('../main.js', import.meta.url));
  return here.replace(/([\\/])src([\\/]main\.js)$/, '$1dist$2');
}
