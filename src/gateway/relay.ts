/**
 * Hands an answer to its client, framed in the client's own wire, and tells the kernel how far it is.
 * Exactly one of finished, failed or cancelled is told for each request that was placed.
 */

import { type Reply, replyJson } from '../http/call.ts';
import { asGatewayError, GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import type { Clock } from '../ports.ts';
import { AnswerFold } from '../wire/answer.ts';
import type { Ask, Framer, Opening, Wire } from '../wire/wire.ts';
import type { Account } from './account.ts';
import type { Host } from './host.ts';

/** The kernel hears of every so many tokens. */
const PROGRESS_TOKENS = 16;

export interface Delivery {
  host: Host;
  clock: Clock;
  account: Account;
  wire: Wire;
  ask: Ask;
  opening: Opening;
  reply: Reply;
  signal: AbortSignal;
  /** Response headers, known once the request was placed. */
  headers: () => Record<string, string>;
  /** What the answer's `nvext` holds. */
  extras: () => Record<string, unknown> | undefined;
}

/** Consumes the answer; throws only before anything was sent. */
export async function relay(parts: AsyncIterable<Part>, to: Delivery): Promise<void> {
  const told = watched(parts, to);
  if (to.ask.stream) await stream(told, to);
  else await whole(told, to);
}

async function stream(parts: AsyncIterable<Part>, to: Delivery): Promise<void> {
  const { reply } = to;
  let framer: Framer | undefined;
  try {
    for await (const part of parts) {
      let text = '';
      if (framer === undefined) {
        framer = to.wire.framer(to.ask, to.opening);
        reply.head(200, { ...STREAM_HEADERS, ...to.headers() });
        text = framer.open();
      }
      text += framer.part(part, part.kind === 'done' ? to.extras() : undefined);
      if (text !== '') await reply.write(text);
    }
  } catch (thrown) {
    if (framer === undefined) throw thrown;
    await reply.write(framer.part({ kind: 'error', error: asGatewayError(thrown) }));
  }
  reply.end();
}

const STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
};

async function whole(parts: AsyncIterable<Part>, to: Delivery): Promise<void> {
  const fold = new AnswerFold();
  for await (const part of parts) fold.add(part);
  if (fold.error !== undefined) throw fold.error;
  const answer = fold.answer(to.extras());
  if (answer === undefined)
    throw new GatewayError('engine_lost', 'The engine gave no whole answer.');
  replyJson(to.reply, 200, to.wire.whole(to.ask, to.opening, answer), to.headers());
}

/** Passes parts on, and tells kernel and account what they mean. */
export async function* watched(
  parts: AsyncIterable<Part>,
  to: Pick<Delivery, 'host' | 'clock' | 'account' | 'signal'>,
): AsyncGenerator<Part> {
  const { host, clock, account } = to;
  const request = account.arrival.id;
  let outputTokens = 0;
  let toldTokens = 0;
  let ended = false;
  try {
    for await (const part of parts) {
      if (part.kind === 'done') {
        ended = true;
        account.ended(clock.nowUs(), { status: 'done', usage: part.usage });
        const { cachedTokens } = part.usage;
        host.tell({
          kind: 'finished',
          request,
          outputTokens: part.usage.outputTokens,
          cachedTokens,
        });
      } else if (part.kind === 'error') {
        ended = true;
        const status = to.signal.aborted ? 'cancelled' : 'failed';
        account.ended(clock.nowUs(), { status, error: part.error });
      } else if (part.kind !== 'ended') {
        const tokens = part.kind === 'toolCall' ? 0 : part.tokens;
        outputTokens += tokens;
        if (account.token(clock.nowUs(), tokens)) host.tell({ kind: 'firstTokenSent', request });
        if (outputTokens - toldTokens >= PROGRESS_TOKENS) {
          toldTokens = outputTokens;
          host.tell({ kind: 'progressed', request, outputTokens });
        }
      }
      yield part;
    }
  } catch (thrown) {
    if (!ended) {
      ended = true;
      // Where it was told of the end already, this says nothing new.
      host.tell({ kind: 'cancelled', request });
      const error = asGatewayError(thrown);
      account.ended(clock.nowUs(), { status: statusOf(error, account, to.signal), error });
    }
    throw thrown;
  } finally {
    // The client left, or what it was sent could not be written.
    if (!ended) {
      host.tell({ kind: 'cancelled', request });
      account.ended(clock.nowUs(), { status: 'cancelled' });
    }
  }
}

function statusOf(
  error: GatewayError,
  account: Account,
  signal: AbortSignal,
): 'rejected' | 'failed' | 'cancelled' {
  if (signal.aborted || error.code === 'client_closed') return 'cancelled';
  return account.receipt.worker === null ? 'rejected' : 'failed';
}
