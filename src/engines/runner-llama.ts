/** A runner on llama.cpp, which computes in a thread of its own so that its process always answers. */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { type Message, textOf } from '../model/request.ts';
import type { FileNews, Handle, StepPlan, StepResult } from '../model/step.ts';
import type { BlockStore, Runner } from '../ports.ts';
import type { ContextSettings } from './llama/context.ts';
import type { FileSettings, OpenedFiles } from './llama/file-store.ts';
import type { SelfTest } from './llama/self-test.ts';
import type { ThreadAnswer, ThreadCall, ThreadNews } from './llama/thread.ts';

export class RunnerLlama implements Runner, BlockStore {
  readonly version: string;
  readonly vocabularySize: number;
  readonly selfTest: SelfTest;
  readonly #thread: EngineThread;
  readonly #onNotice: (sentence: string) => void;

  /**
   * Loads the model; rejects with one sentence where it cannot be loaded. `onNotice` hears what was
   * switched off later, a sentence each.
   */
  static async start(
    settings: ContextSettings,
    onNotice: (sentence: string) => void,
  ): Promise<RunnerLlama> {
    const thread = new EngineThread();
    try {
      const opened = await thread.call({ kind: 'open', settings }, 'opened');
      return new RunnerLlama(thread, opened, onNotice);
    } catch (error) {
      await thread.end();
      throw error;
    }
  }

  private constructor(
    thread: EngineThread,
    opened: { version: string; vocabularySize: number; selfTest: SelfTest },
    onNotice: (sentence: string) => void,
  ) {
    this.#thread = thread;
    this.#onNotice = onNotice;
    this.version = opened.version;
    this.vocabularySize = opened.vocabularySize;
    this.selfTest = opened.selfTest;
  }

  step(plan: StepPlan, done: (outcome: StepResult | Error) => void): void {
    this.#thread.call({ kind: 'step', plan }, 'stepped').then(({ result }) => done(result), done);
  }

  listen(on: (news: readonly FileNews[]) => void): void {
    this.#thread.onNews = (news) => {
      for (const one of news) if (one.kind === 'off') this.#onNotice(one.reason);
      on(news);
    };
  }

  /** Blocks may go to files from now on; or says in a sentence why not. Before the first step. */
  async openFiles(settings: FileSettings): Promise<OpenedFiles | { reason: string }> {
    return (await this.#thread.call({ kind: 'openFiles', settings }, 'filesOpened')).outcome;
  }

  async read(handles: readonly Handle[]): Promise<Uint8Array> {
    const call: ThreadCall = { kind: 'readBlocks', handles: [...handles] };
    return (await this.#thread.call(call, 'blocksRead')).bytes;
  }

  async write(handles: readonly Handle[], bytes: Uint8Array): Promise<void> {
    const call: ThreadCall = { kind: 'writeBlocks', handles: [...handles], bytes };
    await this.#thread.call(call, 'blocksWritten', [bytes.buffer as ArrayBuffer]);
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
  onNews: (news: readonly FileNews[]) => void = () => {};
  readonly #worker: Worker;
  readonly #waiting: {
    resolve: (answer: ThreadAnswer) => void;
    reject: (error: Error) => void;
  }[] = [];
  #dead: Error | undefined;

  constructor() {
    this.#worker = new Worker(threadFile());
    this.#worker.on('message', (answer: ThreadAnswer | ThreadNews) => {
      if (answer.kind === 'news') return this.onNews(answer.news);
      const waiting = this.#waiting.shift();
      assert(waiting !== undefined, 'an answer follows a call');
      if (answer.kind === 'failed') waiting.reject(new Error(answer.message));
      else waiting.resolve(answer);
    });
    this.#worker.on('error', (error) => this.#die(error));
    this.#worker.on('exit', () => this.#die(new Error('the engine thread has ended')));
  }

  /** `moved`: memory that is the thread's from now on. */
  async call<K extends ThreadAnswer['kind']>(
    call: ThreadCall,
    kind: K,
    moved: readonly ArrayBuffer[] = [],
  ): Promise<Answer<K>> {
    if (this.#dead !== undefined) throw this.#dead;
    const answer = await new Promise<ThreadAnswer>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(call, moved);
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
