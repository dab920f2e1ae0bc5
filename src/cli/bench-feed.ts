/** The feed's part of `stator bench route`: a gateway's feed, its index, and an engine in a process of its own. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Burst, FEED_BENCH, type FeedFigures, measureFeed } from '../bench/feed.ts';
import { Feed } from '../gateway/feed.ts';
import { ExactIndex } from '../kernel/index/exact.ts';
import { Config } from '../model/config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Fact } from '../model/kernel-io.ts';
import { WallClock } from '../planes/wall-clock.ts';
import { ChainHasher } from '../tokens/block-hash.ts';
import { feedSettings, feedsOf } from './feeds.ts';

const WORKER = 'bench' as WorkerId;
/** Long enough for a machine that does much else. */
const WAIT_MS_MAX = 60_000;

/** `batches` of a store and a removal of 32 blocks each. */
export async function benchFeed(batches: { paced: number; burst: number }): Promise<FeedFigures> {
  const { limits } = Config.parse({});
  const clock = new WallClock();
  const index = new ExactIndex({ bytesMax: limits.indexBytesMax });
  const feed = new Feed({
    host: { tell: (fact) => apply(index, fact) },
    feed: feedsOf(limits, clock),
    clock,
    sink: { note: () => {} },
    settings: feedSettings(limits),
  });
  const { address, burst, close } = await startPublisher();
  try {
    const { blockTokens } = FEED_BENCH;
    feed.start(WORKER, address, new ChainHasher({ fingerprint: '', blockTokens }));
    const report = () => feed.report(WORKER);
    while (!report()?.complete) await new Promise((resolve) => setTimeout(resolve, 5));
    const listener = {
      blocks: () => index.count(WORKER),
      batches: () => report()?.counts.batches ?? 0,
      events: () => (report()?.counts.stored ?? 0) + (report()?.counts.removed ?? 0),
      resyncs: () => report()?.counts.gaps ?? 0,
      isComplete: () => report()?.complete ?? false,
    };
    return await measureFeed(batches, { listener, burst, waitMsMax: WAIT_MS_MAX });
  } finally {
    feed.close();
    close();
  }
}

function apply(index: ExactIndex, fact: Fact): void {
  if (fact.kind === 'blocksStored') index.stored(fact.worker, fact.hashes, fact.tier, fact.before);
  else if (fact.kind === 'blocksRemoved') index.removed(fact.worker, fact.hashes, fact.tier);
  else index.cleared(WORKER);
}

async function startPublisher() {
  // What was built, also where the sources are run.
  const main = fileURLToPath(new URL('./feed-publisher.js', import.meta.url));
  const child = spawn(process.execPath, [main.replace(/([\\/])src([\\/]cli)/, '$1dist$2')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error('the process that publishes ended');
    return String(value);
  };
  const address = JSON.parse(await line()) as { endpoint: string; replay: string };
  const burst: Burst = {
    async publish(count) {
      child.stdin.write(`${count}\n`);
      await line();
    },
    blocks: FEED_BENCH.chainsHeld * FEED_BENCH.blocksPerEvent,
  };
  return { address, burst, close: () => child.stdin.end() };
}
