/**
 * What it costs to hear an engine: a child process publishes events of 32 blocks over ZeroMQ as fast as
 * it can, this process hears them as a gateway does. CPU time is of this process alone, its threads
 * included: receiving, reading, hashing, naming, indexing.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { KvEvent } from '../model/block.ts';

export const FEED_BENCH = { blocksPerEvent: 32, blockTokens: 16, chainsHeld: 2000 } as const;

export interface FeedFigures {
  /** Events of 32 blocks, stored or removed, per second of this process's CPU, taken at leisure. */
  eventsPerCpuS: number;
  /** Of the burst: batches published, and taken as they came; the rest was made good at once. */
  published: number;
  taken: number;
  /** From the last event published until the index held what the engine holds. */
  equalMsAfter: number;
  /** Longest that the event loop was held up, and its 99th percentile. */
  loopMsMax: number;
  loopMsP99: number;
  wallMs: number;
  resyncs: number;
}

/** What the bench needs of a gateway that listens. */
export interface Listener {
  /** Blocks that the index holds, and batches and events taken. */
  blocks(): number;
  batches(): number;
  events(): number;
  resyncs(): number;
  isComplete(): boolean;
}

/** What it needs of the process that publishes; `publish` resolves when the last event went out. */
export interface Burst {
  publish(events: number): Promise<void>;
  /** What it holds then. */
  blocks: number;
}

/** Event `number` of the engine: chains of 32 blocks; of those stored longest ago one leaves. */
export function benchEvents(number: number): KvEvent[] {
  const { blocksPerEvent, blockTokens, chainsHeld } = FEED_BENCH;
  const first = BigInt(number) << 8n;
  const names = (from: bigint) =>
    Array.from({ length: blocksPerEvent }, (_, i) => from + BigInt(i));
  const tokens = new Uint32Array(blocksPerEvent * blockTokens);
  for (let i = 0; i < tokens.length; i++) tokens[i] = (number * 31 + i * 7919) % 150_000;
  const stored: KvEvent = {
    kind: 'stored',
    hashes: names(first),
    parent: undefined,
    tokens,
    blockTokens,
    tier: 'device',
    extraKeys: [],
  };
  if (number < chainsHeld) return [stored];
  const gone = names(BigInt(number - chainsHeld) << 8n).reverse();
  return [stored, { kind: 'removed', hashes: gone, tier: 'device' }];
}

/** Batches that are published before it is waited for them. */
const PACE_BATCHES = 256;

/** Throws where the index does not hold what the engine holds within `waitMsMax` of the last event. */
export async function measureFeed(
  batches: { paced: number; burst: number },
  given: { listener: Listener; burst: Burst; waitMsMax: number },
): Promise<FeedFigures> {
  const eventsPerCpuS = await paced(batches.paced, given);
  const { listener, burst, waitMsMax } = given;
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  const before = listener.batches();
  const startMs = performance.now();
  await burst.publish(batches.burst);
  const publishedMs = performance.now();
  while (listener.blocks() !== burst.blocks || !listener.isComplete()) {
    if (performance.now() - publishedMs > waitMsMax) {
      throw new Error(`the index holds ${listener.blocks()} blocks, the engine ${burst.blocks}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const equalMs = performance.now();
  loop.disable();
  return {
    eventsPerCpuS,
    published: batches.burst,
    taken: listener.batches() - before,
    equalMsAfter: equalMs - publishedMs,
    loopMsMax: loop.max / 1e6,
    loopMsP99: loop.percentile(99) / 1e6,
    wallMs: equalMs - startMs,
    resyncs: listener.resyncs(),
  };
}

async function paced(
  count: number,
  { listener, burst, waitMsMax }: { listener: Listener; burst: Burst; waitMsMax: number },
): Promise<number> {
  // The first ones fill the engine, and warm the code up.
  const warm = Math.max(2 * FEED_BENCH.chainsHeld, PACE_BATCHES);
  let startCpu = process.cpuUsage();
  let startEvents = 0;
  for (let done = 0; done < warm + count; done += PACE_BATCHES) {
    if (done < warm) {
      startCpu = process.cpuUsage();
      startEvents = listener.events();
    }
    const wanted = listener.batches() + PACE_BATCHES;
    const startMs = performance.now();
    await burst.publish(PACE_BATCHES);
    while (listener.batches() < wanted) {
      if (performance.now() - startMs > waitMsMax) throw new Error('events did not come');
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  const { user, system } = process.cpuUsage(startCpu);
  return (listener.events() - startEvents) / ((user + system) / 1e6);
}
