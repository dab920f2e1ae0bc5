/**
 * Workers on this machine: starts them as child processes, restarts those that die, and announces who
 * is up. The only supervisor there is.
 *
 *   spawn ──card line on stdout──► up ──exit──► down ──back-off, doubling──► spawn
 *
 * A child holds one end of a pipe (its stdin): when this process ends, however it ends, the pipe
 * closes and the child goes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { WorkerId } from '../model/ids.ts';
import type { WorkerRules } from '../model/worker.ts';
import { aboutOf, WorkerCard, workerOf } from '../model/worker-card.ts';
import type { Cancel, Clock, Directory, Engine, Scaler, WorkerChange } from '../ports.ts';
import { Watchers } from './watchers.ts';

export interface LocalWorkersSettings {
  /** Arguments of `node` that start the worker of a name. */
  command: (name: string) => string[];
  environment: Record<string, string>;
  engine: (worker: WorkerId, card: WorkerCard) => Engine;
  /** Whom the worker of a name serves; undefined: everybody, whole requests. */
  rules?: (name: string) => WorkerRules | undefined;
  restartUsMin: number;
  restartUsMax: number;
  startUsMax: number;
  /** What a child says on stderr, a line at a time. */
  onLine: (name: string, line: string) => void;
}

export class LocalWorkers implements Directory, Scaler {
  readonly #clock: Clock;
  readonly #settings: LocalWorkersSettings;
  readonly #watchers = new Watchers();
  readonly #children: Child[] = [];

  constructor(given: { clock: Clock; settings: LocalWorkersSettings }) {
    this.#clock = given.clock;
    this.#settings = given.settings;
  }

  watch(on: (change: WorkerChange) => void): Cancel {
    return this.#watchers.watch(on);
  }

  /** Resolves when each of them is up; rejects with the sentence of the first that cannot start. */
  async set(count: number): Promise<void> {
    while (this.#children.length > count) await this.#children.pop()?.withdraw();
    const started: Promise<void>[] = [];
    while (this.#children.length < count) {
      const name = `worker-${this.#children.length + 1}`;
      const child = new Child(name, this.#clock, this.#settings, this.#watchers);
      this.#children.push(child);
      started.push(child.firstUp);
    }
    await Promise.all(started);
  }

  /**
   * Ends the worker and starts another in its place, which finds its files of KV; resolves when that is
   * up. Rejects where it does not come up the first time; it is tried again all the same.
   */
  async restart(worker: WorkerId): Promise<void> {
    await this.#children.find(({ id }) => id === worker)?.restart();
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.splice(0).map((child) => child.stop()));
  }

  /** Process ids, by worker name; for tests that kill. */
  pids(): Map<string, number> {
    const pids = new Map<string, number>();
    for (const { name, pid } of this.#children) if (pid !== undefined) pids.set(name, pid);
    return pids;
  }
}

interface Settle {
  resolve: () => void;
  reject: (error: Error) => void;
}

class Child {
  readonly name: string;
  readonly firstUp: Promise<void>;
  readonly #clock: Clock;
  readonly #settings: LocalWorkersSettings;
  readonly #watchers: Watchers;
  #process: ChildProcess | undefined;
  /** Of the process that runs. */
  #id: WorkerId | undefined;
  #starts = 0;
  #failures = 0;
  #upSinceUs: number | undefined;
  #stopped = false;
  #cancelRestart: Cancel = () => {};
  #settleFirst!: Settle;
  /** Who waits for the process that follows this one. */
  #settleNext: Settle | undefined;
  /** Whether its end is wanted, and followed by a start at once. */
  #isReplaced = false;

  constructor(name: string, clock: Clock, settings: LocalWorkersSettings, watchers: Watchers) {
    this.name = name;
    this.#clock = clock;
    this.#settings = settings;
    this.#watchers = watchers;
    this.firstUp = new Promise((resolve, reject) => {
      this.#settleFirst = { resolve, reject };
    });
    this.#start();
  }

  get id(): WorkerId | undefined {
    return this.#id;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Nobody sends it anything any more; then it goes. */
  async withdraw(): Promise<void> {
    const reason = 'fewer workers are wanted';
    if (this.#id !== undefined) this.#watchers.tell({ kind: 'down', worker: this.#id, reason });
    await this.stop();
  }

  async restart(): Promise<void> {
    const next = new Promise<void>((resolve, reject) => {
      this.#settleNext = { resolve, reject };
    });
    // Whoever restarts hears how it went, also where it goes wrong before this one has ended.
    next.catch(() => {});
    if (this.#running !== undefined) {
      this.#isReplaced = true;
      await this.#end();
    } else {
      this.#cancelRestart();
      this.#start();
    }
    await next;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelRestart();
    this.#settleNext?.reject(new Error('it was stopped'));
    await this.#end();
  }

  get #running(): ChildProcess | undefined {
    const child = this.#process;
    const hasEnded =
      child?.pid === undefined || child.exitCode !== null || child.signalCode !== null;
    return hasEnded ? undefined : child;
  }

  async #end(): Promise<void> {
    const child = this.#running;
    if (child === undefined) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.stdin?.end();
    const cancel = this.#clock.after(2_000_000, () => child.kill('SIGKILL'));
    await gone;
    cancel();
  }

  #start(): void {
    this.#starts++;
    // A restarted worker is another one: it holds nothing of what the first held.
    const id = (this.#starts === 1 ? this.name : `${this.name}.${this.#starts}`) as WorkerId;
    this.#id = id;
    const { command, environment, onLine } = this.#settings;
    const child: ChildProcess = spawn(process.execPath, command(this.name), {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    this.#process = child;
    const cancelStart = this.#clock.after(this.#settings.startUsMax, () => child.kill('SIGKILL'));
    const last: string[] = [];
    let ended = false;
    const end = (reason: string) => {
      if (ended) return;
      ended = true;
      cancelStart();
      this.#exited(id, reason, last);
    };
    // A process that cannot be started (no descriptors, no memory) has no exit.
    child.once('error', (error) => end(error.message));
    child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
    const { stdin, stdout, stderr } = child;
    if (!stdin || !stdout || !stderr) return; // Not even pipes could be had: the error follows.
    stdin.on('error', () => {}); // It died before us: its exit says so.
    createInterface({ input: stderr }).on('line', (line) => {
      last.push(line);
      if (last.length > 5) last.shift();
      onLine(this.name, line);
    });
    createInterface({ input: stdout }).once('line', (line) => {
      cancelStart();
      try {
        this.#announce(id, line);
      } catch {
        const said = 'what it showed first is no worker card';
        last.push(said);
        onLine(this.name, said);
        child.kill('SIGKILL');
      }
    });
  }

  #announce(id: WorkerId, line: string): void {
    const card = WorkerCard.parse(JSON.parse(line));
    this.#upSinceUs = this.#clock.nowUs();
    this.#settleFirst.resolve();
    this.#settleNext?.resolve();
    this.#settleNext = undefined;
    this.#watchers.tell({
      kind: 'up',
      worker: { ...workerOf(id, card), rules: this.#settings.rules?.(this.name) },
      engine: this.#settings.engine(id, card),
      events: card.events ?? undefined,
      about: aboutOf(card),
    });
  }

  #exited(id: WorkerId, reason: string, lastLines: readonly string[]): void {
    if (!this.#stopped) this.#watchers.tell({ kind: 'down', worker: id, reason });
    // One that never came up will not come up by itself: whoever waits for it hears why.
    const said =
      lastLines.at(-1)?.replace(/^stator: /, '') ?? `it ended with ${reason} and said nothing`;
    this.#settleFirst.reject(new Error(said));
    if (this.#stopped) return;
    if (this.#isReplaced) {
      this.#isReplaced = false;
      return this.#start();
    }
    this.#settleNext?.reject(new Error(said));
    this.#settleNext = undefined;
    const { restartUsMin, restartUsMax } = this.#settings;
    const livedUs = this.#clock.nowUs() - (this.#upSinceUs ?? this.#clock.nowUs());
    if (livedUs > restartUsMax) this.#failures = 0;
    this.#upSinceUs = undefined;
    const waitUs = Math.min(restartUsMax, restartUsMin * 2 ** this.#failures++);
    this.#cancelRestart = this.#clock.after(waitUs, () => this.#start());
  }
}
