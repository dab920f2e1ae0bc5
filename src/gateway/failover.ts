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

/** Throws a `GatewayError` where nothing was answered at all. */
export async function* answerOf(given: {
  host: Host;
  engines: Engines;
  account: Account;
  job: Job;
  signal: AbortSignal;
  /** What the chosen engine is asked. */
  ask: (engine: Engine) => AsyncIterable<Part>;
}): AsyncGenerator<Part> {
  const { host, engines, account, job, signal, ask } = given;
  let placement: Placement = await host.admit(account.arrival, signal);
  for (;;) {
    account.placed(placement);
    const { worker } = placement;
    let started = false;
    let finished = false;
    try {
      // Read to the end of the stream, past `done`: a connection that is cut cannot serve again.
      for await (const part of partsOf(engines.engine(worker), ask)) {
        if (part.kind === 'error') throw part.error;
        started = true;
        finished = part.kind === 'done';
        yield part;
      }
      if (finished) return;
      throw new GatewayError('engine_lost', 'The engine ended its answer without finishing it.');
    } catch (thrown) {
      if (finished) return;
      const error = asGatewayError(signal.reason instanceof GatewayError ? signal.reason : thrown);
      if (error.code === 'engine_lost' && !signal.aborted) engines.suspect(worker);
      if (started || signal.aborted || !error.retryable) {
        host.tell({ kind: 'failed', request: job.id, worker, retry: false });
        if (!started) throw error;
        yield { kind: 'error', error };
        return;
      }
      placement = await host.elsewhere(job.id as RequestId, worker, signal).catch((refusal) => {
        // An engine that was only busy is tried again by the client, when it says so.
        throw error.code === 'queue_full' ? error : refusal;
      });
    }
  }
}

/** Engines may throw at once or later: here it is later. */
async function* partsOf(
  engine: Engine | undefined,
  ask: (engine: Engine) => AsyncIterable<Part>,
): AsyncGenerator<Part> {
  if (engine === undefined) {
    throw new GatewayError('engine_lost', 'The engine left before the request reached it.');
  }
  yield* ask(engine);
}
