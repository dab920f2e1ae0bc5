/** `stator bench proxy` and `stator bench gateway`: clients here, everything else in processes of its own. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { BenchReport } from '../bench/figure.ts';
import { benchGateway } from '../bench/streams/gateway.ts';
import { benchProxy } from '../bench/streams/proxy.ts';
import { type Between, type StreamRig, type Usage, wait } from '../bench/streams/rig.ts';
import { chooseModel } from './model-choice.ts';

const READY_MS = 50;

type Flags = { model?: string };

export async function proxyBench(show: (text: string) => void, flags: Flags): Promise<BenchReport> {
  return await benchProxy(await rigOf(flags), show);
}

export async function gatewayBench(
  show: (text: string) => void,
  flags: Flags,
): Promise<BenchReport> {
  return await benchGateway(await rigOf(flags), show);
}

async function rigOf(flags: Flags): Promise<StreamRig> {
  const { path: model } = await chooseModel(flags.model);
  return {
    descriptors: descriptorLimit(),
    async withEngine({ eventsPerS, events }, work) {
      const engine = start(['engine', String(eventsPerS), String(events), model]);
      try {
        const url = `http://127.0.0.1:${await engine.line()}`;
        return await work(async (kind) => await between([kind, url, model]));
      } finally {
        await engine.close();
      }
    },
  };
}

async function between(args: readonly string[]): Promise<Between> {
  const child = start(args);
  // A port alone, or the sentence that ends with it.
  const port = Number(/\d+$/.exec(await child.line())?.[0]);
  while (!(await fetch(`http://127.0.0.1:${port}/ready`)).ok) await wait(READY_MS);
  return {
    port,
    close: child.close,
    async usage() {
      child.tell('usage');
      return JSON.parse(await child.line()) as Usage;
    },
  };
}

function start(args: readonly string[]) {
  // What was built, also where the sources are run.
  const path = fileURLToPath(new URL('./bench-stream-process.js', import.meta.url));
  const built = path.replace(/([\\/])src([\\/]cli)/, '$1dist$2');
  const child = spawn(process.execPath, [built, ...args], { stdio: ['pipe', 'pipe', 'ignore'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exited = once(child, 'exit');
  return {
    tell: (line: string) => void child.stdin.write(`${line}\n`),
    line: async () => {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`the process '${args[0]}' ended`);
      return String(value);
    },
    close: async () => {
      child.stdin.end();
      await exited;
    },
  };
}

/** Node raises its own limit as far as it may; elsewhere than on systems with a shell there is none. */
function descriptorLimit(): number {
  const { stdout } = spawnSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' });
  const limit = Number(stdout ?? '');
  return Number.isFinite(limit) && limit > 0 ? limit : 1_000_000;
}
