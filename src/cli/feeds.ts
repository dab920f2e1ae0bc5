/** Ways that KV events come in by, their settings, and what is shown of them. */
import type { Feed, FeedSettings } from '../gateway/feed/feed.ts';
import type { Config } from '../model/config.ts';
import type { Metrics } from '../observe/metrics.ts';
import { Feeds } from '../planes/feeds.ts';
import { loadNats } from '../planes/nats-connection.ts';
import { NatsFeed } from '../planes/nats-feed.ts';
import { SseFeed } from '../planes/sse-feed.ts';
import { TrtllmFeed } from '../planes/trtllm-feed.ts';
import { ZeromqFeed } from '../planes/zeromq.ts';
import type { Clock } from '../ports.ts';

export function feedsOf(limits: Config['limits'], clock: Clock): Feeds {
  const { feedReplayUs: replayUs, feedAskUs: askUs, feedSilenceUsMax: silenceUs } = limits;
  const kvSecret = process.env.STATOR_KV_SECRET;
  return new Feeds({
    zeromq: new ZeromqFeed({ clock, settings: { replayUs, silenceUs } }),
    nats: new NatsFeed({ clock, replayUs, connect: loadNats }),
    sse: new SseFeed({
      clock,
      settings: { againUs: limits.recheckUs, silenceUsMax: replayUs, kvSecret },
    }),
    trtllm: new TrtllmFeed({ clock, settings: { askUs, answerMsMax: replayUs / 1000 } }),
  });
}

export function feedSettings(limits: Config['limits']): FeedSettings {
  return {
    sliceUs: limits.feedSliceUs,
    queueBytesMax: limits.feedQueueBytesMax,
    bytesMax: limits.feedNamesBytesMax,
    orphansMax: limits.feedOrphansMax,
    quietUs: limits.feedQuietUs,
    resyncUsMin: limits.feedResyncUsMin,
    resyncUsMax: limits.feedResyncUsMax,
  };
}

/** Counted by the feed itself; a worker that left is not shown any more. */
export function feedMetrics(metrics: Metrics, feed: Feed): void {
  for (const name of [EVENTS, GAPS, LAG]) metrics.clear(name);
  for (const [worker, { counts, lagMs }] of feed.reports()) {
    for (const [kind, count] of Object.entries(counts)) {
      if (kind !== 'gaps') metrics.set(EVENTS, { worker, kind }, count);
    }
    metrics.set(GAPS, { worker }, counts.gaps);
    if (lagMs !== undefined) metrics.set(LAG, { worker }, lagMs / 1000);
  }
}

const EVENTS = 'stator_kv_events_total';
const GAPS = 'stator_kv_event_gaps_total';
const LAG = 'stator_kv_event_lag_seconds';
