/**
 * llama.cpp's own decode loop and nothing else, in a process of its own: what the same libraries do
 * where no scheduler, cache or stream stands around them. Its CPU time is that process's alone.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Took } from './stopwatch.ts';

export interface BareSettings {
  model: string;
  slots: number;
  /** Per slot. */
  contextTokens: number;
  /** Most tokens of one call, as `llama-bench -b -ub`. */
  batchTokens: number;
  threads: number;
}

export type BareCall =
  | { kind: 'open'; settings: BareSettings }
  /** Computes a new prompt of as many tokens as these chunks have together, one call for each. */
  | { kind: 'prefill'; chunks: number[] }
  /** `batch` sequences with `context` tokens each go on for `steps` tokens, each sampled greedily. */
  | { kind: 'decode'; batch: number; context: number; steps: number };

export type BareAnswer =
  | { kind: 'opened' }
  | { kind: 'took'; took: Took }
  | { kind: 'failed'; message: string };

/** What a bench asks of it. */
export interface BareLoop {
  prefill(chunks: number[]): Promise<Took>;
  decode(given: { batch: number; context: number; steps: number }): Promise<Took>;
}

export class BareProcess implements BareLoop {
  readonly #child: ChildProcess;
  #resolve: ((answer: BareAnswer) => void) | undefined;

  /** Throws one sentence where the model cannot be loaded. */
  static async start(settings: BareSettings): Promise<BareProcess> {
    const loop = new BareProcess(
      fork(processFile(), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }),
    );
    await loop.#call({ kind: 'open', settings });
    return loop;
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (answer: BareAnswer) => this.#resolve?.(answer));
    child.on('exit', () => {
      this.#resolve?.({ kind: 'failed', message: 'the bare loop has ended' });
    });
  }

  async prefill(chunks: number[]): Promise<Took> {
    return this.#took({ kind: 'prefill', chunks });
  }

  async decode(given: { batch: number; context: number; steps: number }): Promise<Took> {
    return this.#took({ kind: 'decode', ...given });
  }

  close(): void {
    this.#child.kill();
  }

  async #took(call: BareCall): Promise<Took> {
    const answer = await this.#call(call);
    if (answer.kind === 'took') return answer.took;
    throw new Error('the bare loop answered something else');
  }

  async #call(call: BareCall): Promise<BareAnswer> {
    const answer = await new Promise<BareAnswer>((resolve) => {
      this.#resolve = resolve;
      this.#child.send(call);
    });
    if (answer.kind === 'failed') throw new Error(answer.message);
    return answer;
  }
}

/** Processes run what was built, also when a test runs the sources. */
function processFile(): string {
  const here = fileURLToPath(new URL('./bare-loop-process.js', import.meta.url));
  return here.replace(/([\\/])src([\\/]bench[\\/])/, '$1dist$2');
}
