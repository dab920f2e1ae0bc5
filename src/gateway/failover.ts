/**
 * The parts of an answer, from whichever worker gives them. A worker that fails before its first part
 * is replaced by another; after it, the answer ends with one `error` part, since what was said cannot
 * be taken back.
 */
import { asGatewayError, GatewayError } from '../model/error.ts';
import type { RequestId, WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Engine, Job } from '../ports.ts';
import type { Account } from './account.ts';
import type { Host, Placement } from './host.ts';

export interface Engines {
  engine(worker: WorkerId): Engine | undefined;
  /** A worker could not be reached: it gets no more requests until it is well again. */
  suspect(worker: WorkerId): void;
}

/** What is done with a part; whoever has more waits until it resolves. */
export type Take = (part: Part) => Promise<void> | undefined;

interface Given {
  host: Host;
  engines: Engines;
  account: Account;
  job: Job;
  signal: AbortSignal;
  /** What the chosen engine is asked. */
  ask: (engine: Engine) => AsyncIterable<Part>;
}

/**
 * Hands over the parts as they come, and resolves when there are no more. Throws a `GatewayError` where
 * nothing was answered at all, and whatever `take` throws.
 */
export async function answerOf(given: Given, take: Take): Promise<void> {
  const { host, engines, account, job, signal } = given;
  let placement: Placement = await host.admit(account.arrival, signal);
  for (;;) {
    account.placed(placement);
    const { worker } = placement;
    const failure = await attempt(given, worker, take);
    if (failure === undefined) return;
    const { thrown, started } = failure;
    const error = signal.aborted ? whyAborted(signal) : asGatewayError(thrown);
    if (error.code === 'engine_lost' && !signal.aborted) engines.suspect(worker);
    if (started || signal.aborted || !error.retryable) {
      host.tell({ kind: 'failed', request: job.id, worker, retry: false });
      if (!started) throw error;
      await take({ kind: 'error', error });
      return;
    }
    placement = await host.elsewhere(job.id as RequestId, worker, signal).catch((refusal) => {
      // An engine that was only busy is tried again by the client, when it says so.
      throw error.code === 'queue_full' ? error : refusal;
    });
  }
}

/** What an engine does when it is told to stop is no fault of its own. */
function whyAborted({ reason }: AbortSignal): GatewayError {
  return reason instanceof GatewayError
    ? reason
    : new GatewayError('client_closed', 'The client left before its answer was whole.');
}

/** One worker's answer, to its end; undefined where it was whole. By hand, for each token pays for each layer. */
async function attempt(
  { engines, ask }: Given,
  worker: WorkerId,
  take: Take,
): Promise<{ thrown: unknown; started: boolean } | undefined> {
  let started = false;
  let finished = false;
  let parts: AsyncIterator<Part> | undefined;
  const ended = (thrown: unknown) => (finished ? undefined : { thrown, started });
  try {
    for (;;) {
      let part: Part;
      try {
        parts ??= partsOf(engines.engine(worker), ask);
        // Read to the end of the stream, past `done`: a connection that is cut cannot serve again.
        const next = await parts.next();
        if (next.done === true) {
          parts = undefined;
          return ended(
            new GatewayError('engine_lost', 'The engine ended its answer without finishing it.'),
          );
        }
        part = next.value;
      } catch (thrown) {
        parts = undefined;
        return ended(thrown);
      }
      if (part.kind === 'error') return ended(part.error);
      started = true;
      finished = part.kind === 'done';
      const room = take(part);
      if (room !== undefined) await room;
    }
  } finally {
    await parts?.return?.();
  }
}

function partsOf(
  engine: Engine | undefined,
  ask: (engine: Engine) => AsyncIterable<Part>,
): AsyncIterator<Part> {
  if (engine !== undefined) return ask(engine)[Symbol.asyncIterator]();
  throw new GatewayError('engine_lost', 'The engine left before the request reached it.');
}
