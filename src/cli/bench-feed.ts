/** The feed's part of `stator bench route`: a gateway's feed, its index, and an engine in a process of its own. */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  benchTokens,
  FEED_BENCH,
  type FeedFigures,
  type Latencies,
  type Listener,
  measureFeed,
  type Others,
} from '../bench/feed.ts';
import { Feed } from '../gateway/feed/feed.ts';
import { ExactIndex } from '../kernel/index/exact.ts';
import { Config } from '../model/config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Fact } from '../model/kernel-io.ts';
import { WallClock } from '../planes/wall-clock.ts';
import type { FeedAddress } from '../ports.ts';
import { ChainHasher } from '../tokens/block-hash.ts';
import { feedSettings, feedsOf } from './feeds.ts';

const WORKER = 'bench' as WorkerId;
/** Long enough for a machine that does much else. */
const WAIT_MS_MAX = 60_000;

/** A batch is a chain of 32 blocks that is stored, and one that is removed. */
export async function benchFeed(batches: { paced: number; burst: number }): Promise<FeedFigures> {
  const { blockTokens } = FEED_BENCH;
  const hasher = new ChainHasher({ fingerprint: '', blockTokens });
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
  const server = createServer((_, response) => response.end('{}'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const processes = await startProcesses((server.address() as AddressInfo).port);
  try {
    feed.start(WORKER, processes.address, hasher);
    const listener = listenerOf(feed, index, hasher);
    while (!listener.isComplete()) await new Promise((resolve) => setTimeout(resolve, 5));
    return await measureFeed(batches, { listener, others: processes, waitMsMax: WAIT_MS_MAX });
  } finally {
    feed.close();
    processes.close();
    server.close();
  }
}

function listenerOf(feed: Feed, index: ExactIndex, hasher: ChainHasher): Listener {
  const counts = () => feed.report(WORKER)?.counts;
  const root = hasher.root('');
  return {
    blocks: () => index.count(WORKER),
    holds: (chain) => {
      index.look(hasher.blocks(root, benchTokens(chain)));
      return index.matched(WORKER)?.device === FEED_BENCH.blocksPerChain;
    },
    batches: () => counts()?.batches ?? 0,
    events: () => (counts()?.stored ?? 0) + (counts()?.removed ?? 0),
    gaps: () => counts()?.gaps ?? 0,
    isComplete: () => feed.report(WORKER)?.complete ?? false,
  };
}

function apply(index: ExactIndex, fact: Fact): void {
  if (fact.kind === 'blocksStored') index.stored(fact.worker, fact.hashes, fact.tier, fact.before);
  else if (fact.kind === 'blocksRemoved') index.removed(fact.worker, fact.hashes, fact.tier);
  else index.cleared(WORKER);
}

/** An engine that publishes, two processes that do not, and one that sends requests to all. */
async function startProcesses(
  port: number,
): Promise<Others & { address: FeedAddress; close: () => void }> {
  const publisher = start('feed-publisher.js', []);
  const idle = start('feed-bystander.js', ['idle']);
  const spinning = start('feed-bystander.js', ['spin']);
  const address = JSON.parse(await publisher.line()) as FeedAddress;
  const ports = [String(port), await idle.line(), await spinning.line()];
  const asker = start('feed-bystander.js', ['ask', ...ports]);
  await asker.line();
  return {
    address,
    async publish(chains, shape) {
      publisher.tell(`${chains} ${shape}`);
      await publisher.line();
    },
    async ask() {
      spinning.tell('on');
      asker.tell('on');
      await asker.line();
      return async () => {
        spinning.tell('off');
        asker.tell('off');
        const took = JSON.parse(await asker.line()) as [Latencies, Latencies, Latencies];
        return { gateway: took[0], idle: took[1], spinning: took[2] };
      };
    },
    close: () => {
      for (const child of [publisher, idle, spinning, asker]) child.end();
    },
  };
}

function start(file: string, args: readonly string[]) {
  // What was built, also where the sources are run.
  const path = fileURLToPath(new URL(`./${file}`, import.meta.url));
  const built = path.replace(/([\\/])src([\\/]cli)/, '$1dist$2');
  const child = spawn(process.execPath, [built, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    tell: (line: string) => void child.stdin.write(`${line}\n`),
    line: async () => {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`the process ${file} ended`);
      return String(value);
    },
    end: () => void child.stdin.end(),
  };
}
