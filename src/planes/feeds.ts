/** Which way a worker's KV events come, by the address they are to be had at. */
import type { WorkerId } from '../model/ids.ts';
import type { FeedAddress, FeedLink, FeedListener, KvFeed } from '../ports.ts';

export interface FeedWays {
  zeromq: KvFeed;
  nats: KvFeed;
  sse: KvFeed;
  trtllm: KvFeed;
}

export class Feeds implements KvFeed {
  readonly #ways: FeedWays;

  constructor(ways: FeedWays) {
    this.#ways = ways;
  }

  subscribe(
    worker: FeedAddress & { id: WorkerId; blockTokens: number },
    on: FeedListener,
  ): FeedLink {
    return this.#ways[wayOf(worker.endpoint)].subscribe(worker, on);
  }
}

function wayOf(endpoint: string): keyof FeedWays {
  if (/^nats:/.test(endpoint)) return 'nats';
  if (!/^https?:/.test(endpoint)) return 'zeromq';
  return /\/kv_cache_events$/.test(endpoint) ? 'trtllm' : 'sse';
}
