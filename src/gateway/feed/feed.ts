/** Listens to the KV events of all workers that publish them; what they say becomes facts for the kernel. */
import type { WorkerId } from '../../model/ids.ts';
import type { BlockHasher, Clock, FeedAddress, KvFeed, Sink } from '../../ports.ts';
import type { Host } from '../host.ts';
import type { FeedReport } from './account.ts';
import type { NamesLimits } from './block-names.ts';
import { FeedEvents } from './events.ts';
import { FeedSource, type SourceSettings } from './source.ts';
import { FeedTurns } from './turns.ts';

export interface FeedSettings extends SourceSettings, NamesLimits {
  /** In one turn of the event loop so long, of all workers together. */
  sliceUs: number;
}

export interface FeedParts {
  host: Pick<Host, 'tell'>;
  feed: KvFeed;
  clock: Clock;
  sink: Sink;
  settings: FeedSettings;
}

export class Feed {
  readonly #parts: FeedParts;
  readonly #turns: FeedTurns;
  readonly #sources = new Map<WorkerId, FeedSource>();

  constructor(parts: FeedParts) {
    this.#parts = parts;
    this.#turns = new FeedTurns({ clock: parts.clock, sliceUs: parts.settings.sliceUs });
  }

  /**
   * Of a worker that the kernel knows. Its cache is predicted until its events are known to be complete.
   * `vocabularySize`: no token of its model is as large, where that is known.
   */
  start(
    worker: WorkerId,
    address: FeedAddress,
    hasher: BlockHasher,
    vocabularySize = Number.POSITIVE_INFINITY,
  ): void {
    const { host, feed, clock, sink, settings } = this.#parts;
    this.stop(worker);
    let source: FeedSource | undefined;
    const unfit = (sentence: string) => source?.close(sentence);
    const about = { worker, hasher, vocabularySize, limits: settings };
    const events = new FeedEvents({ ...about, host, sink, unfit });
    const { blockTokens } = hasher;
    const from = { worker, address, blockTokens, events };
    source = new FeedSource({ ...from, feed, turns: this.#turns, clock, sink, settings });
    this.#sources.set(worker, source);
  }

  stop(worker: WorkerId): void {
    this.#sources.get(worker)?.close();
    this.#sources.delete(worker);
  }

  /** How the worker's events fare; undefined where it publishes none that can be used. */
  report(worker: WorkerId): FeedReport | undefined {
    return this.#sources.get(worker)?.report();
  }

  reports(): [WorkerId, FeedReport][] {
    return [...this.#sources].map(([worker, source]) => [worker, source.report()]);
  }

  close(): void {
    for (const worker of [...this.#sources.keys()]) this.stop(worker);
  }
}
