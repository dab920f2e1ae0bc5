/** A model's tokenizer in a thread: begun when the first long text comes, kept for the next ones. */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { must } from '../base/assert.ts';

export class TokenizerThread {
  readonly #path: string;
  readonly #blockTokens: number;
  #worker: Worker | undefined;
  /** Answered in the order they were asked. */
  #waiting: { resolve: (ids: Uint32Array) => void; reject: (error: Error) => void }[] = [];

  /** `path`: as `loadTokens` takes it. */
  constructor(path: string, blockTokens: number) {
    this.#path = path;
    this.#blockTokens = blockTokens;
  }

  /** Rejects when the thread is lost; the next call begins another. */
  encode(text: string): Promise<Uint32Array> {
    this.#worker ??= this.#begin();
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      worker.ref();
      worker.postMessage(text);
    });
  }

  #begin(): Worker {
    const workerData = { path: this.#path, blockTokens: this.#blockTokens };
    const worker = new Worker(threadFile(), { workerData });
    const lose = (error: Error) => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    };
    worker.on('message', (ids: Uint32Array) => {
      must(this.#waiting.shift(), 'ids follow a text').resolve(ids);
      // Nobody waits: it must not keep a process alive that wants to end.
      if (this.#waiting.length === 0) worker.unref();
    });
    worker.on('error', lose);
    worker.on('exit', () => lose(new Error('the tokenizer thread has ended')));
    return worker;
  }
}

/** Threads run what was built, also when a test runs the sources. */
function threadFile(): string {
  const here = fileURLToPath(new URL('./tokenizer-thread.js', import.meta.url));
  return here.replace(/([\\/])src([\\/]cli[\\/])/, '$1dist$2');
}
