/** A runner on llama.cpp, which computes in a thread of its own so that its process always answers. */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { type Message, textOf } from '../model/request.ts';
import type { StepPlan, StepResult } from '../model/step.ts';
import type { Runner } from '../ports.ts';
import type { ContextSettings } from './llama/context.ts';
import type { SelfTest } from './llama/self-test.ts';
import type { ThreadAnswer, ThreadCall } from './llama/thread.ts';

export class RunnerLlama implements Runner {
  readonly version: string;
  readonly vocabularySize: number;
  readonly selfTest: SelfTest;
  readonly #thread: EngineThread;

  /** Loads the model; rejects with one sentence where it cannot be loaded. */
  static async start(settings: ContextSettings): Promise<RunnerLlama> {
    const thread = new EngineThread();
    try {
      return new RunnerLlama(thread, await thread.call({ kind: 'open', settings }, 'opened'));
    } catch (error) {
      await thread.end();
      throw error;
    }
  }

  private constructor(
    thread: EngineThread,
    opened: { version: string; vocabularySize: number; selfTest: SelfTest },
  ) {
    this.#thread = thread;
    this.version = opened.version;
    this.vocabularySize = opened.vocabularySize;
    this.selfTest = opened.selfTest;
  }

  step(plan: StepPlan, done: (outcome: StepResult | Error) => void): void {
    this.#thread.call({ kind: 'step', plan }, 'stepped').then(({ result }) => done(result), done);
  }

  /** Ids as llama.cpp's own tokenizer makes them. */
  async tokenize(texts: string[]): Promise<Int32Array[]> {
    const { ids } = await this.#thread.call({ kind: 'tokenize', texts }, 'tokenized');
    return ids;
  }

  /** A conversation in llama.cpp's built-in version of the model's template; tools are left out. */
  async applyTemplate(messages: readonly Message[]): Promise<string> {
    const plain = messages.map(({ role, content }) => ({ role, content: textOf(content) }));
    const { text } = await this.#thread.call({ kind: 'applyTemplate', messages: plain }, 'applied');
    return text;
  }

  async close(): Promise<void> {
    await this.#thread.call({ kind: 'close' }, 'closed').catch(() => {});
    await this.#thread.end();
  }
}

type Answer<K extends ThreadAnswer['kind']> = Extract<ThreadAnswer, { kind: K }>;

/** Calls are answered in the order they were made. */
class EngineThread {
  readonly #worker: Worker;
  readonly #waiting: {
    resolve: (answer: ThreadAnswer) => void;
    reject: (error: Error) => void;
  }[] = [];
  #dead: Error | undefined;

  constructor() {
    this.#worker = new Worker(threadFile());
    this.#worker.on('message', (answer: ThreadAnswer) => {
      const waiting = this.#waiting.shift();
      assert(waiting !== undefined, 'an answer follows a call');
      if (answer.kind === 'failed') waiting.reject(new Error(answer.message));
      else waiting.resolve(answer);
    });
    this.#worker.on('error', (error) => this.#die(error));
    this.#worker.on('exit', () => this.#die(new Error('the engine thread has ended')));
  }

  async call<K extends ThreadAnswer['kind']>(call: ThreadCall, kind: K): Promise<Answer<K>> {
    if (this.#dead !== undefined) throw this.#dead;
    const answer = await new Promise<ThreadAnswer>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(call);
    });
    assert(answer.kind === kind, 'answers come in the order of calls');
    return answer as Answer<K>;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #die(error: Error): void {
    this.#dead ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

/** Threads run what was built, also when a test runs the sources. */
function threadFile(): string {
  const here = fileURLToPath(new URL('./llama/thread.js', import.meta.url));
  return here.replace(/([\\/])src([\\/]engines[\\/])/, '$1dist$2');
}
