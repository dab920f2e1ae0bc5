/**
 * Workers behind a name: each address that it has, or each target of its SRV records. Asked again before
 * the answer is too old. A name server that fails says nothing; one that says twice in a row that there is
 * nobody is believed.
 */
import { Resolver } from 'node:dns/promises';
import type { WorkerConfig } from '../model/fleet-config.ts';
import type { Cancel, Clock, Sink } from '../ports.ts';
import type { Discovery, Found } from './discovery.ts';

export interface DnsDiscoveryGiven {
  clock: Clock;
  sink: Sink;
  name: string;
  record: 'a' | 'aaaa' | 'srv';
  /** Undefined: the scheme's own; SRV records have theirs. */
  port: number | undefined;
  scheme: 'http' | 'https';
  /** The longest time between two questions. */
  everyUs: number;
  /** All workers, but for their addresses. */
  worker: Omit<WorkerConfig, 'url'>;
  lookup: DnsLookup;
}

/** What is asked of a name server; rejects with Node's codes. */
export interface DnsLookup {
  resolve4(name: string, options: { ttl: true }): Promise<{ address: string; ttl: number }[]>;
  resolve6(name: string, options: { ttl: true }): Promise<{ address: string; ttl: number }[]>;
  resolveSrv(name: string): Promise<{ name: string; port: number }[]>;
}

/** `servers`: addresses, with a port where it is not 53; none: those of the system. */
export function dnsLookup(servers: readonly string[]): DnsLookup {
  const resolver = new Resolver({ timeout: ANSWER_MS_MAX, tries: 2 });
  if (servers.length > 0) resolver.setServers(servers);
  return resolver;
}

const ANSWER_MS_MAX = 5_000;

/** However short an answer is good for. */
const ASK_US_MIN = 1_000_000;

/** Codes that say that there is nobody, and not that nobody knows. */
const NOBODY: ReadonlySet<unknown> = new Set(['ENOTFOUND', 'ENODATA']);

interface Place {
  host: string;
  port: number | undefined;
  /** What its certificate names it. */
  name: string;
}

export class DnsDiscovery implements Discovery {
  readonly #given: DnsDiscoveryGiven;
  /** The last answer, as text. */
  #known = '';
  #emptyAnswers = 0;
  #complained = false;
  #closed = false;
  #cancel: Cancel = () => {};

  constructor(given: DnsDiscoveryGiven) {
    this.#given = given;
  }

  watch(on: (found: readonly Found[]) => void): void {
    void this.#ask(on);
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  async #ask(on: (found: readonly Found[]) => void): Promise<void> {
    const { clock, name, everyUs } = this.#given;
    let againUs = everyUs;
    try {
      const { places, ttlS } = await this.#resolve();
      if (this.#closed) return;
      this.#complained = false;
      againUs = Math.min(everyUs, Math.max(ASK_US_MIN, ttlS * 1e6));
      this.#answered(places, on);
      if (this.#emptyAnswers === 1) againUs = Math.min(everyUs, ASK_US_MIN);
    } catch (error) {
      const { code = 'no code' } = error as NodeJS.ErrnoException;
      this.#complain(`${name} cannot be resolved (${code}); its last addresses stay.`);
    }
    if (!this.#closed) this.#cancel = clock.after(againUs, () => void this.#ask(on));
  }

  #answered(places: readonly Place[], on: (found: readonly Found[]) => void): void {
    const { name, scheme, port: common, worker } = this.#given;
    this.#emptyAnswers = places.length === 0 ? this.#emptyAnswers + 1 : 0;
    if (this.#emptyAnswers === 1) return;
    if (this.#emptyAnswers === 2) this.#complain(`${name} has no addresses.`);
    const named = worker.serverName === undefined && scheme === 'https';
    const found = places.map(({ host, port = common, name: serverName }): Found => {
      const url = `${scheme}://${host}${port === undefined ? '' : `:${port}`}`;
      return { config: { ...worker, ...(named && { serverName }), url } };
    });
    // Name servers shuffle.
    found.sort((a, b) => (a.config.url < b.config.url ? -1 : 1));
    const text = JSON.stringify(found);
    if (text === this.#known) return;
    this.#known = text;
    on(found);
  }

  async #resolve(): Promise<{ places: Place[]; ttlS: number }> {
    const { name, record, lookup } = this.#given;
    if (record !== 'srv') return this.#addresses(name, record);
    const targets = await orNobody(lookup.resolveSrv(name));
    const places: Place[] = [];
    let ttlS = Number.POSITIVE_INFINITY;
    for (const target of targets) {
      let answer = await this.#addresses(target.name, 'a');
      if (answer.places.length === 0) answer = await this.#addresses(target.name, 'aaaa');
      ttlS = Math.min(ttlS, answer.ttlS);
      places.push(...answer.places.map((place) => ({ ...place, port: target.port })));
    }
    return { places, ttlS };
  }

  async #addresses(name: string, record: 'a' | 'aaaa'): Promise<{ places: Place[]; ttlS: number }> {
    const { lookup } = this.#given;
    const asked =
      record === 'a' ? lookup.resolve4(name, { ttl: true }) : lookup.resolve6(name, { ttl: true });
    const answers = await orNobody(asked);
    const host = (address: string) => (record === 'a' ? address : `[${address}]`);
    return {
      places: answers.map(({ address }) => ({ host: host(address), port: undefined, name })),
      ttlS: Math.min(...answers.map(({ ttl }) => ttl)),
    };
  }

  #complain(sentence: string): void {
    if (this.#complained || this.#closed) return;
    this.#complained = true;
    this.#given.sink.note({ kind: 'warning', sentence });
  }
}

async function orNobody<T>(asked: Promise<T[]>): Promise<T[]> {
  try {
    return await asked;
  } catch (error) {
    if (NOBODY.has((error as NodeJS.ErrnoException).code)) return [];
    throw error;
  }
}
