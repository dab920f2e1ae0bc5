/** `stator bench route`: on prompts of 100,000 tokens, and on the recorded samples where they are. */
import type { BenchReport } from '../bench/figure.ts';
import { benchRoute } from '../bench/route.ts';
import { Config } from '../model/config.ts';
import { benchFeed } from './bench-feed.ts';
import { samples } from './samples.ts';

/** What it is measured beside: the cheapest there is, and those that look into an index as we do. */
const POLICIES = ['stator', 'random', 'sticky', 'dynamo', 'lmetric'];

/** Batches of 64 block events: at leisure, and a million of them as fast as they can be published. */
const FEED_BATCHES = { paced: 20_000, burst: 15_625 };

export async function routeBench(onProgress: (text: string) => void): Promise<BenchReport> {
  const { limits } = Config.parse({});
  const traces = await samples(onProgress);
  const report = await benchRoute({ limits, policies: POLICIES, traces, onProgress });
  onProgress('KV events over ZeroMQ');
  const { eventsPerCpuS, bursts: feedBursts } = await benchFeed(FEED_BATCHES);
  return {
    ...report,
    figures: { ...report.figures, feedEventsPerS: Math.round(eventsPerCpuS) },
    beside: { ...report.beside, feedBursts },
  };
}
