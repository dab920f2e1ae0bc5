/**
 * Workers that are endpoints of a Kubernetes service: all of them listed once, then what changes, for as
 * long as the API remembers what did. While it cannot be reached the last answer stays.
 *
 *   list ──version──► watch ──ended──► watch from the last version on
 *    ▲                  ├──gone (410)──► list
 *    └──────────────────┴──broke off──► after a while, doubling: watch, or list where none was made yet
 */
import { sleep } from '../base/sleep.ts';
import type { Clock, Sink } from '../ports.ts';
import type { Discovery, Found } from './discovery.ts';
import { type EndpointSlice, type EndpointsAsked, foundIn, readSlice } from './endpoint-slices.ts';
import { type KubernetesApi, VersionGone } from './kubernetes-api.ts';

export interface KubernetesDiscoveryGiven extends EndpointsAsked {
  clock: Clock;
  sink: Sink;
  api: Pick<KubernetesApi, 'json' | 'lines'>;
  namespace: string;
  service: string;
  /** After a failure, doubling. */
  againUsMin: number;
  againUsMax: number;
}

/** The API ends a watch after so long, and one that it does not end was cut on the way. */
const WATCH_S = 240;
const WATCH_US_MAX = 270_000_000;
const LIST_US_MAX = 30_000_000;
/** What was good for so long may break off again. */
const PEACE_US_MIN = 10_000_000;

export class KubernetesDiscovery implements Discovery {
  readonly #given: KubernetesDiscoveryGiven;
  readonly #slices = new Map<string, EndpointSlice>();
  readonly #leaving = new AbortController();
  /** Up to where changes are known; undefined: all is to be listed. */
  #version: string | undefined;
  #failures = 0;
  #told = '';
  /** What was said last, until it is well again. */
  #complaint: string | undefined;
  #portProblem: string | undefined;

  constructor(given: KubernetesDiscoveryGiven) {
    this.#given = given;
  }

  watch(on: (found: readonly Found[]) => void): void {
    void this.#run(on);
  }

  close(): void {
    this.#leaving.abort();
  }

  async #run(on: (found: readonly Found[]) => void): Promise<void> {
    const { clock, againUsMin, againUsMax } = this.#given;
    const { signal } = this.#leaving;
    while (!signal.aborted) {
      const begunUs = clock.nowUs();
      let againUs = againUsMin;
      try {
        if (this.#version === undefined) await this.#within(LIST_US_MAX, (s) => this.#list(s, on));
        await this.#within(WATCH_US_MAX, (s) => this.#follow(s, on));
        this.#isWell();
      } catch (error) {
        if (signal.aborted) return;
        if (clock.nowUs() - begunUs >= PEACE_US_MIN) this.#isWell();
        if (error instanceof VersionGone) this.#version = undefined;
        // One that was cut is nothing to speak of.
        else if (this.#failures > 0) this.#complain(error as Error);
        againUs = Math.min(againUsMax, againUsMin * 2 ** this.#failures++);
      }
      await sleep(clock, againUs, signal);
    }
  }

  async #list(signal: AbortSignal, on: (found: readonly Found[]) => void): Promise<void> {
    const list = (await this.#given.api.json(this.#path({}), signal)) as EndpointSliceList;
    if (!Array.isArray(list?.items)) throw new Error('what it answers is no list');
    this.#slices.clear();
    for (const item of list.items) {
      const slice = readSlice(item);
      if (slice !== undefined) this.#slices.set(slice.name, slice);
    }
    this.#version = String(list.metadata?.resourceVersion ?? '');
    this.#complaint = undefined;
    this.#tell(on);
  }

  /** Until the API ends it. */
  async #follow(signal: AbortSignal, on: (found: readonly Found[]) => void): Promise<void> {
    const query = {
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: this.#version ?? '',
      timeoutSeconds: String(WATCH_S),
    };
    for await (const event of this.#given.api.lines(this.#path(query), signal)) {
      if (typeof event !== 'object' || event === null) throw new Error('what it says is no event');
      this.#isWell();
      if (this.#changed(event)) this.#tell(on);
    }
  }

  /** Whether somebody may have come or gone. */
  #changed({ type, object }: WatchEvent): boolean {
    if (type === 'ERROR') {
      if (object?.code === 410) throw new VersionGone(object.message);
      throw new Error(`it ends the watch: ${object?.message ?? object?.code}`);
    }
    const version = object?.metadata?.resourceVersion;
    if (version !== undefined) this.#version = version;
    const slice = type === 'BOOKMARK' ? undefined : readSlice(object);
    if (slice === undefined) return false;
    if (type === 'DELETED') this.#slices.delete(slice.name);
    else this.#slices.set(slice.name, slice);
    return true;
  }

  #tell(on: (found: readonly Found[]) => void): void {
    const { found, problem } = foundIn(this.#slices.values(), this.#given);
    if (problem !== undefined && problem !== this.#portProblem) this.#warn(problem);
    this.#portProblem = problem;
    const text = JSON.stringify(found);
    if (text === this.#told) return;
    this.#told = text;
    on(found);
  }

  #path(query: Record<string, string>): string {
    const { namespace, service } = this.#given;
    const labelSelector = `kubernetes.io/service-name=${service}`;
    const asked = new URLSearchParams({ labelSelector, ...query });
    const where = `/apis/discovery.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}`;
    return `${where}/endpointslices?${asked}`;
  }

  /** Whoever does not answer within is left. */
  async #within(us: number, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const stop = new AbortController();
    const leave = () => stop.abort();
    const cancel = this.#given.clock.after(us, leave);
    this.#leaving.signal.addEventListener('abort', leave);
    try {
      await run(stop.signal);
    } finally {
      cancel();
      this.#leaving.signal.removeEventListener('abort', leave);
    }
  }

  #isWell(): void {
    this.#failures = 0;
    this.#complaint = undefined;
  }

  #complain({ message }: Error): void {
    if (message === this.#complaint) return;
    this.#complaint = message;
    this.#warn(`the Kubernetes API cannot be asked: ${message}; those that were there last stay`);
  }

  #warn(what: string): void {
    const { sink, namespace, service } = this.#given;
    sink.note({
      kind: 'warning',
      sentence: `Workers of service ${namespace}/${service}: ${what}.`,
    });
  }
}

/** As far as it is read here; nothing of it need be so. */
interface EndpointSliceList {
  metadata?: { resourceVersion?: string };
  items?: unknown;
}

interface WatchEvent {
  type?: string;
  object?: { code?: number; message?: string; metadata?: { resourceVersion?: string } };
}
