/** vLLM servers for tests: each a process group of its own, on loopback, ended with the file that started it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { FOLDER, until } from '../e2e/stack.ts';
import { vllmHere } from './installation.ts';

/** Half a minute on two cores that have nothing else to do. */
const START_MS_MAX = 420_000;
const LOG_CHARACTERS = 3000;

/** Settings that a gateway can make the most of. */
export const BLOCK_TOKENS = 32; // the CPU's attention takes multiples of it
export const BLOCKS = 500;
export const GOOD = [
  `--block-size=${BLOCK_TOKENS}`,
  `--num-gpu-blocks-override=${BLOCKS}`,
  '--max-model-len=15000',
  '--max-num-seqs=8',
  '--enable-prefix-caching',
  '--enable-prompt-tokens-details',
  '--scheduling-policy=priority',
];

const groups = new Set<number>();
process.on('exit', () => {
  for (const group of groups) killGroup(group);
});

export class VllmServer {
  readonly url: string;
  /** Of its KV events; nobody need listen. */
  readonly replay: string;
  readonly #args: readonly string[];
  readonly #log: string;
  #child: ChildProcess | undefined;

  private constructor(given: { port: number; replayPort: number; args: readonly string[] }) {
    this.url = `http://127.0.0.1:${given.port}`;
    this.replay = `tcp://127.0.0.1:${given.replayPort}`;
    this.#args = given.args;
    this.#log = join(FOLDER, `vllm-${given.port}.log`);
  }

  /** `events`: whether it publishes them, where nobody but this machine hears. */
  static async start(
    model: string,
    given: { flags: readonly string[]; events: boolean },
  ): Promise<VllmServer> {
    const [port, replayPort] = [await freePort(), await freePort()];
    const events = {
      ...{ enable_kv_cache_events: true, publisher: 'zmq', topic: 'kv-events' },
      endpoint: `ipc://${join(FOLDER, `events-${port}`)}`,
      replay_endpoint: `tcp://127.0.0.1:${replayPort}`,
    };
    const args = [
      ...['-m', 'vllm.entrypoints.openai.api_server', '--host=127.0.0.1', `--port=${port}`],
      ...[`--model=${model}`, '--served-model-name=demo', '--load-format=dummy'],
      ...['--dtype=bfloat16', '--enforce-eager', ...given.flags],
      ...(given.events ? [`--kv-events-config=${JSON.stringify(events)}`] : []),
    ];
    const server = new VllmServer({ port, replayPort, args });
    server.begin();
    return server;
  }

  /** Starts it, or starts it again at the same address. */
  begin(): void {
    const installation = vllmHere();
    if (installation.kind === 'missing') assert.fail(installation.reason);
    const log = openSync(this.#log, 'a');
    this.#child = spawn(installation.python, this.#args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...ENVIRONMENT },
    });
    closeSync(log);
    if (this.#child.pid !== undefined) groups.add(this.#child.pid);
  }

  async ready(): Promise<void> {
    await until(`vLLM answers at ${this.url}`, () => this.#answers(), START_MS_MAX);
  }

  /** As the kernel ends a process that takes too much memory: at once, with all it started. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined) return;
    killGroup(child.pid);
    groups.delete(child.pid);
    await until('vLLM is gone', () => child.exitCode !== null || child.signalCode !== null);
  }

  async #answers(): Promise<boolean> {
    const ended = this.#child?.exitCode ?? this.#child?.signalCode ?? null;
    if (ended !== null) {
      const log = readFileSync(this.#log, 'utf8').slice(-LOG_CHARACTERS);
      assert.fail(`vLLM ended (${ended}) before it answered:\n${log}`);
    }
    const signal = AbortSignal.timeout(5_000);
    const response = await fetch(`${this.url}/health`, { signal }).catch(() => undefined);
    return response?.status === 200;
  }
}

/** No hub, no reports; one thread each, on any core. */
const ENVIRONMENT = {
  HF_HUB_OFFLINE: '1',
  VLLM_NO_USAGE_STATS: '1',
  DO_NOT_TRACK: '1',
  VLLM_SERVER_DEV_MODE: '1',
  VLLM_CPU_KVCACHE_SPACE: '1',
  VLLM_CPU_OMP_THREADS_BIND: 'nobind',
  OMP_NUM_THREADS: '1',
  VLLM_LOGGING_LEVEL: 'WARNING',
};

function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
}
