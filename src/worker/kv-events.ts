/** `GET /stator/v1/kv-events`: a worker's KV events as server-sent events, for gateways beyond a firewall. */
import type { Call } from '../http/call.ts';
import { GatewayError } from '../model/error.ts';
import type { KvEventLog } from '../wire/kv-event-log.ts';
import { sseBatch } from '../wire/kv-event-sse.ts';

/**
 * With `follow=0` all from batch `from` on, or the state where that is not kept, and then the end.
 * Otherwise each batch as it is published, after those that `Last-Event-ID` or `from` names: a gap there
 * is the reader's to see, and to ask for.
 */
export async function kvEvents(call: Call, log: KvEventLog): Promise<void> {
  const { reply, query, signal } = call;
  const start = startOf(call, log);
  reply.head(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  // Headers go out with the first bytes: whoever waits for news must know that we are there.
  await reply.write(': kv events\n\n');
  if (query.get('follow') !== '0') return await follow(call, log, start);
  for (const batch of log.since(start)) {
    await reply.write(sseBatch(batch));
    if (signal.aborted) return;
  }
  reply.end();
}

async function follow({ reply, signal }: Call, log: KvEventLog, start: number): Promise<void> {
  for (let next = start; !signal.aborted; ) {
    next = Math.max(next, log.first);
    const batch = log.batch(next);
    if (batch === undefined) {
      await news(log, next, signal);
    } else {
      await reply.write(sseBatch(batch));
      next++;
    }
  }
}

function startOf({ query, headers }: Call, log: KvEventLog): number {
  const last = headers['last-event-id'];
  const named = last === undefined ? query.get('from') : String(Number(last) + 1);
  if (named === null) return log.next;
  if (/^\d{1,15}$/.test(named)) return Number(named);
  throw new GatewayError('invalid_request', 'from and Last-Event-ID are numbers of batches.');
}

/** Until there is a batch `next`, or the reader left. */
function news(log: KvEventLog, next: number, signal: AbortSignal): Promise<void> {
  if (log.next > next) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = log.listen(done);
    signal.addEventListener('abort', done, { once: true });
  });
}
