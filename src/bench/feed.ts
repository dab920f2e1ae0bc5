/**
 * What it costs to hear an engine, and what it costs those who ask for something meanwhile. A child
 * process publishes events over ZeroMQ as fast as it can, this process hears them as a gateway does and
 * answers HTTP requests beside. CPU time is of this process alone, its threads included: receiving,
 * reading, hashing, naming, indexing.
 *
 * How long requests take depends on the machine as well, so the same requests go to two other processes
 * in the same seconds: one that does nothing else, and one that only spins, in slices of a millisecond.
 * And what this thread itself took of each turn is measured in CPU time.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { KvEvent } from '../model/block.ts';
import { TurnCpu } from './turn-cpu.ts';

export const FEED_BENCH = { blocksPerChain: 32, blockTokens: 16, chainsHeld: 2000 } as const;

/** Whether the blocks of a chain are told of in one event, or each in its own. */
export type EventShape = 'chains' | 'blocks';

/** Milliseconds. */
export interface Latencies {
  count: number;
  p50: number;
  p99: number;
  max: number;
}

/** Of HTTP requests that came while the burst lasted. */
export interface Bystanders {
  gateway: Latencies;
  idle: Latencies;
  spinning: Latencies;
}

export interface BurstFigures {
  events: number;
  blockEvents: number;
  /** From the last event published until the index held just what the engine holds. */
  equalMsAfter: number;
  /** Longest that the event loop was held up, and its 99th percentile. */
  loopMsMax: number;
  loopMsP99: number;
  /** Most CPU time this thread took in one turn; null where the system does not tell. */
  turnCpuMsMax: number | null;
  requestMs: Bystanders;
  wallMs: number;
  /** Batches that came early, so that others had to be asked for again. */
  gaps: number;
}

export interface FeedFigures {
  /** Events of 32 blocks, stored or removed, per second of this process's CPU, taken at leisure. */
  eventsPerCpuS: number;
  bursts: Record<EventShape, BurstFigures>;
}

/** What the bench needs of a gateway that listens. */
export interface Listener {
  /** Blocks that the index holds; whether all of a chain are among them. */
  blocks(): number;
  holds(chain: number): boolean;
  /** Batches and events taken. */
  batches(): number;
  events(): number;
  gaps(): number;
  isComplete(): boolean;
}

/** What it needs of the other processes. */
export interface Others {
  /** A batch for each chain; resolves when the last one went out. */
  publish(chains: number, shape: EventShape): Promise<void>;
  /** From now on requests are sent, until the function returned is called. */
  ask(): Promise<() => Promise<Bystanders>>;
}

/** Batch `number` of the engine: it stores a chain, and of those held the oldest one leaves. */
export function benchEvents(number: number, shape: EventShape): KvEvent[] {
  const { blocksPerChain, blockTokens, chainsHeld } = FEED_BENCH;
  const tokens = benchTokens(number);
  const stored: KvEvent = {
    kind: 'stored',
    hashes: namesOf(number),
    parent: undefined,
    tokens,
    blockTokens,
    tier: 'device',
    extraKeys: [],
  };
  const events: KvEvent[] = [stored];
  if (number >= chainsHeld) {
    const hashes = namesOf(number - chainsHeld).reverse();
    events.push({ kind: 'removed', hashes, tier: 'device' });
  }
  if (shape === 'chains') return events;
  return events.flatMap((event) => {
    if (event.kind === 'cleared') return [event];
    return event.hashes.map((hash, i): KvEvent => {
      if (event.kind === 'removed') return { ...event, hashes: [hash] };
      const ids = tokens.subarray(i * blockTokens, (i + 1) * blockTokens);
      return { ...event, hashes: [hash], parent: event.hashes[i - 1], tokens: ids };
    });
  });

  function namesOf(chain: number): bigint[] {
    return Array.from({ length: blocksPerChain }, (_, i) => (BigInt(chain) << 8n) + BigInt(i));
  }
}

/** Of a chain: no two of those held at a time share a block. */
export function benchTokens(chain: number): Uint32Array {
  const tokens = new Uint32Array(FEED_BENCH.blocksPerChain * FEED_BENCH.blockTokens);
  for (let i = 0; i < tokens.length; i++) tokens[i] = (chain * 31 + i * 7919) % 150_000;
  return tokens;
}

/** Batches that are published before it is waited for them. */
const PACE_BATCHES = 256;

interface Given {
  listener: Listener;
  others: Others;
  waitMsMax: number;
}

/** Throws where the index does not hold what the engine holds within `waitMsMax` of the last event. */
export async function measureFeed(
  batches: { paced: number; burst: number },
  given: Given,
): Promise<FeedFigures> {
  const eventsPerCpuS = await paced(batches.paced, given);
  let published = given.listener.batches();
  const burst = async (shape: EventShape) => {
    published += batches.burst;
    return await measureBurst(batches.burst, { ...given, shape, published });
  };
  return {
    eventsPerCpuS,
    bursts: { chains: await burst('chains'), blocks: await burst('blocks') },
  };
}

/** `published`: chains after it, since the start. */
async function measureBurst(
  batches: number,
  given: Given & { shape: EventShape; published: number },
): Promise<BurstFigures> {
  const { listener, others, shape, published, waitMsMax } = given;
  const gaps = listener.gaps();
  const report = await others.ask();
  const loop = monitorEventLoopDelay({ resolution: 1 });
  const turns = TurnCpu.start();
  loop.enable();
  const startMs = performance.now();
  await others.publish(batches, shape);
  const publishedMs = performance.now();
  const isEqual = () =>
    listener.blocks() === FEED_BENCH.chainsHeld * FEED_BENCH.blocksPerChain &&
    listener.isComplete() &&
    listener.holds(published - 1);
  await until(isEqual, waitMsMax);
  const equalMs = performance.now();
  loop.disable();
  const turnCpuMsMax = turns?.end() ?? null;
  const requestMs = await report();
  // As many blocks as the engine holds, and each of those it holds: the same set.
  for (let chain = published - FEED_BENCH.chainsHeld; chain < published; chain++) {
    if (!listener.holds(chain)) throw new Error(`the index lacks blocks of chain ${chain}`);
  }
  const blockEvents = 2 * FEED_BENCH.blocksPerChain * batches;
  return {
    events: shape === 'chains' ? 2 * batches : blockEvents,
    blockEvents,
    equalMsAfter: equalMs - publishedMs,
    loopMsMax: loop.max / 1e6,
    loopMsP99: loop.percentile(99) / 1e6,
    turnCpuMsMax,
    requestMs,
    wallMs: equalMs - startMs,
    gaps: listener.gaps() - gaps,
  };
}

async function paced(count: number, { listener, others, waitMsMax }: Given): Promise<number> {
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
    await others.publish(PACE_BATCHES, 'chains');
    await until(() => listener.batches() >= wanted, waitMsMax);
  }
  const { user, system } = process.cpuUsage(startCpu);
  return (listener.events() - startEvents) / ((user + system) / 1e6);
}

async function until(isSo: () => boolean, waitMsMax: number): Promise<void> {
  const startMs = performance.now();
  while (!isSo()) {
    if (performance.now() - startMs > waitMsMax) {
      throw new Error('the index does not hold what the engine holds');
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
