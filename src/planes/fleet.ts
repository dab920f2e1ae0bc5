/**
 * Workers at addresses, which somebody else starts and stops: named in the configuration, or found. Each
 * is asked who it is until it answers, and then again and again, since one that was restarted holds nothing
 * of what it held.
 *
 *   found ──answers──► up ──not ready──► draining ──ready──► up
 *                      └──not found any more, or found as another──► leaving (what runs there goes on)
 */
import { certificateProblem } from '../base/certificate.ts';
import { Lru } from '../base/lru.ts';
import { publicUrl } from '../base/public-url.ts';
import type { WorkerConfig } from '../model/fleet-config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { WorkerRules } from '../model/worker.ts';
import type {
  Cancel,
  Clock,
  Directory,
  Introduction,
  MissingWorker,
  Sink,
  Upstream,
  WorkerChange,
} from '../ports.ts';
import type { Found } from './discovery.ts';
import { Watchers } from './watchers.ts';

export interface FleetSettings {
  /** Throws a sentence where the settings cannot be used. */
  upstream: (config: WorkerConfig) => Upstream;
  /** Whom a worker serves; undefined: everybody, whole requests. */
  rules: (config: WorkerConfig) => WorkerRules | undefined;
  /** Between questions. */
  askUs: number;
}

interface FleetParts {
  clock: Clock;
  sink: Sink;
  settings: FleetSettings;
}

export interface FleetChange {
  added: number;
  removed: number;
  changed: number;
}

/** Names that were in use once, so that no two workers have the same one. */
const NAMES_MAX = 10_000;

export class Fleet implements Directory {
  readonly #parts: FleetParts;
  readonly #watchers = new Watchers();
  /** By who told of them, in the order in which they first did. */
  readonly #told = new Map<string, readonly Found[]>();
  /** By place: an address, and which of the models there. */
  readonly #members = new Map<string, Member>();
  /** How often each name was in use. */
  readonly #runs = new Lru<string, number>(NAMES_MAX);
  #numbered = 0;

  constructor(parts: FleetParts) {
    this.#parts = parts;
  }

  watch(on: (change: WorkerChange) => void): Cancel {
    return this.#watchers.watch(on);
  }

  missing(): MissingWorker[] {
    return [...this.#members.values()].flatMap((member) => member.missing() ?? []);
  }

  /** `found`: all whom `source` knows of from now on. Of two at one place, the one who was told of first counts. */
  set(source: string, found: readonly Found[]): FleetChange {
    if (found.length === 0) this.#told.delete(source);
    else this.#told.set(source, found);
    const wanted = this.#wanted();
    const change = { added: 0, removed: 0, changed: 0 };
    const names = new Map<string, string>();
    for (const [place, member] of this.#members) {
      const one = wanted.get(place);
      if (one !== undefined && member.is(one)) continue;
      this.#members.delete(place);
      member.leave(one === undefined ? 'it is not listed any more' : 'its settings changed');
      if (one === undefined) change.removed++;
      else {
        change.changed++;
        names.set(place, member.name);
      }
    }
    for (const [place, one] of wanted) {
      const present = this.#members.get(place);
      if (present === undefined) {
        const name = one.name ?? names.get(place) ?? `worker-${++this.#numbered}`;
        this.#members.set(place, this.#member(name, one));
        change.added++;
      } else present.drain(one.draining === true);
    }
    change.added -= change.changed;
    return change;
  }

  close(): void {
    for (const member of this.#members.values()) member.close();
  }

  #wanted(): Map<string, Found> {
    const wanted = new Map<string, Found>();
    for (const found of this.#told.values()) {
      for (const one of found) {
        const place = placeOf(one.config);
        if (!wanted.has(place)) wanted.set(place, one);
      }
    }
    return wanted;
  }

  #member(name: string, found: Found): Member {
    return new Member(name, found, this.#parts, this.#watchers, () => this.#id(name));
  }

  /** A name is a worker's while it runs: the next one of that name is another. */
  #id(name: string): WorkerId {
    const runs = (this.#runs.get(name) ?? 0) + 1;
    this.#runs.set(name, runs);
    return (runs === 1 ? name : `${name}.${runs}`) as WorkerId;
  }
}

/** Some engines serve several models at one address, each of which is a worker. */
function placeOf({ url, engineModel, model }: WorkerConfig): string {
  return JSON.stringify([new URL(url).href.replace(/\/+$/, ''), engineModel, model]);
}

class Member {
  readonly name: string;
  readonly #found: Found;
  readonly #parts: FleetParts;
  readonly #watchers: Watchers;
  readonly #nextId: () => WorkerId;
  /** Made when it is first asked: what it takes may not be there yet. */
  #upstream: Upstream | undefined;
  /** Who it is, and since when it runs. */
  #present: { id: WorkerId; run: string } | undefined;
  #draining: boolean;
  /** Why it was not met when it was asked last; undefined: it was. */
  #silence: string | undefined;
  /** What was said of it once. */
  readonly #complaints = new Set<string>();
  #closed = false;
  #cancelAsk: Cancel = () => {};

  constructor(
    name: string,
    found: Found,
    parts: FleetParts,
    watchers: Watchers,
    nextId: () => WorkerId,
  ) {
    this.name = name;
    this.#found = found;
    this.#parts = parts;
    this.#watchers = watchers;
    this.#nextId = nextId;
    this.#draining = found.draining === true;
    void this.#ask();
  }

  /** Whether it need not be another for that. */
  is({ config, instance }: Found): boolean {
    return (
      instance === this.#found.instance &&
      JSON.stringify(config) === JSON.stringify(this.#found.config)
    );
  }

  missing(): MissingWorker | undefined {
    if (this.#silence === undefined) return undefined;
    return { url: this.#url, worker: this.#present?.id, says: this.#silence };
  }

  drain(draining: boolean): void {
    this.#draining = draining;
    if (this.#present === undefined) return;
    this.#watchers.tell({ kind: 'draining', worker: this.#present.id, draining });
  }

  leave(reason: string): void {
    this.close();
    if (this.#present === undefined) return;
    this.#watchers.tell({ kind: 'leaving', worker: this.#present.id, reason });
  }

  close(): void {
    this.#closed = true;
    this.#cancelAsk();
    this.#upstream?.close();
  }

  async #ask(): Promise<void> {
    const { clock, settings } = this.#parts;
    try {
      this.#upstream ??= settings.upstream(this.#found.config);
      const introduction = await this.#upstream.introduce();
      if (!this.#closed) this.#seen(introduction, this.#upstream);
    } catch (error) {
      if (!this.#closed) this.#silent(error as Error);
    }
    if (!this.#closed) this.#cancelAsk = clock.after(settings.askUs, () => void this.#ask());
  }

  get #url(): string {
    return publicUrl(this.#found.config.url);
  }

  #silent(error: Error): void {
    const url = this.#url;
    const [reason] = error.message.split('\n');
    this.#silence = reason;
    const { code } = (error.cause ?? {}) as { code?: unknown };
    if (certificateProblem(code) !== undefined) {
      // Whoever is trusted may have been written anew where we read it.
      this.#upstream?.close();
      this.#upstream = undefined;
      return this.#complain(`${url}: ${reason}`);
    }
    if (this.#present === undefined && this.#complaints.size === 0) {
      this.#complain(`${url} does not say who it is yet: ${reason}`);
    }
  }

  #seen({ run, worker, about, events, adapters }: Introduction, upstream: Upstream): void {
    this.#silence = undefined;
    if (this.#present?.run === run) return;
    if (this.#present !== undefined) {
      const { id } = this.#present;
      this.#watchers.tell({ kind: 'down', worker: id, reason: 'it was started anew' });
    }
    const id = this.#nextId();
    this.#present = { id, run };
    const { config } = this.#found;
    for (const { check, well, says } of about.findings ?? []) {
      if (!well) this.#complain(`${this.#url}: ${check}: ${says}`);
    }
    const { events: endpoint, replay, handoff } = config;
    const hands = handoff === undefined ? {} : { handoff };
    const rules = rulesOf(this.#parts.settings.rules(config), adapters);
    this.#watchers.tell({
      kind: 'up',
      worker: { ...worker, ...hands, id, rules },
      engine: upstream.engine(id),
      events: endpoint === undefined ? events : { endpoint, replay },
      about,
    });
    this.drain(this.#draining);
  }

  #complain(sentence: string): void {
    if (this.#complaints.has(sentence)) return;
    this.#complaints.add(sentence);
    this.#parts.sink.note({ kind: 'warning', sentence });
  }
}

/** Undefined where there is nothing to tell of it: then nobody need ask. */
function rulesOf(
  rules: WorkerRules | undefined,
  adapters: readonly string[],
): WorkerRules | undefined {
  if (adapters.length === 0) return rules;
  const { role = 'both', tenants = [], taints = [], labels = {} } = rules ?? {};
  const all = [...new Set([...(rules?.adapters ?? []), ...adapters])];
  return { role, tenants, taints, labels, adapters: all };
}
