/**
 * The process that publishes in the feed's bench: prints its addresses as one JSON line, then publishes
 * as many batches, of the shape, as each line of its input says, and prints `done` when they went out.
 */
import { createInterface } from 'node:readline';
import { benchEvents, type EventShape, FEED_BENCH } from '../bench/feed.ts';
import { KvEventLog } from '../wire/kv-event-log.ts';
import { EventPublisher } from '../worker/events.ts';

const BATCHES_KEPT = 10_000;
/** Published before the event loop turns, so that they go out meanwhile. */
const BATCHES_AT_ONCE = 32;

const log = new KvEventLog({ batchesMax: BATCHES_KEPT, nowS: () => Date.now() / 1000 });
const { endpoint, replay } = await EventPublisher.start(log);
log.tellsState(function* () {
  for (let i = 0; i < log.next; i++) {
    // What leaves meanwhile is not told of.
    i = Math.max(i, log.next - FEED_BENCH.chainsHeld);
    yield benchEvents(i, 'chains').slice(0, 1);
  }
});
process.stdout.write(`${JSON.stringify({ endpoint, replay })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const [batches, shape] = line.split(' ');
  for (let left = Number(batches); left > 0; left--) {
    log.publish(benchEvents(log.next, shape as EventShape));
    if (left % BATCHES_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  process.stdout.write('done\n');
}
process.exit(0);
