/**
 * Workers named in the configuration: asked for their card until they answer, and then again and again,
 * since one that was restarted holds nothing of what it held. Never started or stopped from here.
 */
import { parseConfig } from '../model/config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { WorkerRules } from '../model/worker.ts';
import { aboutOf, WorkerCard, workerOf } from '../model/worker-card.ts';
import type { Cancel, Clock, Directory, Engine, Sink, WorkerChange } from '../ports.ts';
import { Watchers } from './watchers.ts';

interface StaticWorker {
  url: string;
  /** Where its KV events are to be had, if not where its card says. */
  events: string | undefined;
  replay: string | undefined;
  rules?: WorkerRules | undefined;
}

export interface StaticWorkersSettings {
  workers: readonly StaticWorker[];
  fetchCard: (url: string) => Promise<unknown>;
  engine: (worker: WorkerId, url: string) => Engine;
  /** Whether the gateway knows the secret that they want to hear with wishes about their KV. */
  movesKv: boolean;
  /** Between questions. */
  askUs: number;
}

export class StaticWorkers implements Directory {
  readonly #watchers = new Watchers();
  readonly #members: Member[];

  constructor(parts: { clock: Clock; sink: Sink; settings: StaticWorkersSettings }) {
    this.#members = parts.settings.workers.map(
      (worker, i) => new Member(`worker-${i + 1}`, worker, parts, this.#watchers),
    );
  }

  watch(on: (change: WorkerChange) => void): Cancel {
    return this.#watchers.watch(on);
  }

  close(): void {
    for (const member of this.#members) member.close();
  }
}

class Member {
  readonly #name: string;
  readonly #worker: StaticWorker;
  readonly #parts: { clock: Clock; sink: Sink; settings: StaticWorkersSettings };
  readonly #watchers: Watchers;
  /** Who it is, and since when it runs. */
  #present: { id: WorkerId; run: string } | undefined;
  #runs = 0;
  #complained = false;
  #closed = false;
  #cancelAsk: Cancel = () => {};

  constructor(
    name: string,
    worker: StaticWorker,
    parts: { clock: Clock; sink: Sink; settings: StaticWorkersSettings },
    watchers: Watchers,
  ) {
    this.#name = name;
    this.#worker = worker;
    this.#parts = parts;
    this.#watchers = watchers;
    void this.#ask();
  }

  close(): void {
    this.#closed = true;
    this.#cancelAsk();
  }

  async #ask(): Promise<void> {
    const { clock, settings } = this.#parts;
    try {
      const card = parseConfig(WorkerCard, await settings.fetchCard(this.#worker.url));
      if (card.kind === 'wrong') throw new Error(`what it shows is none (${card.sentences[0]})`);
      if (!this.#closed) this.#seen(card.value);
    } catch (error) {
      if (this.#present === undefined) this.#complain((error as Error).message.split('\n')[0]);
    }
    if (!this.#closed) this.#cancelAsk = clock.after(settings.askUs, () => void this.#ask());
  }

  #seen(card: WorkerCard): void {
    const run = `${card.pid} ${card.startMs} ${card.events?.endpoint}`;
    if (this.#present?.run === run) return;
    if (this.#present !== undefined) {
      const { id } = this.#present;
      this.#watchers.tell({ kind: 'down', worker: id, reason: 'it was started anew' });
    }
    this.#runs++;
    const id = (this.#runs === 1 ? this.#name : `${this.#name}.${this.#runs}`) as WorkerId;
    this.#present = { id, run };
    const { url, events, replay, rules } = this.#worker;
    const ownEvents = card.events ?? undefined;
    const { settings } = this.#parts;
    const worker = { ...workerOf(id, card), rules };
    if (!settings.movesKv) worker.kvLayout = undefined;
    this.#watchers.tell({
      kind: 'up',
      worker,
      engine: settings.engine(id, url),
      events: events === undefined ? ownEvents : { endpoint: events, replay },
      about: aboutOf(card),
    });
  }

  #complain(reason: string): void {
    if (this.#complained) return;
    this.#complained = true;
    const sentence = `${this.#worker.url} shows no worker card yet: ${reason}`;
    this.#parts.sink.note({ kind: 'warning', sentence });
  }
}
