/**
 * The parts of an answer, from whichever workers give them. One that fails is replaced by another,
 * which goes on from what its client has already (`answered.ts`); where engines cannot, the answer ends
 * with one `error` part, since what was said cannot be taken back.
 *
 *   admit ─► attempt ──whole──► over
 *              │  ▲
 *       failed │  │ elsewhere: the same prompt, or the prompt and what was said
 *     or moved ▼  │
 *            kernel ──no place──► refusal, or an error part
 */
import { asGatewayError, type ErrorCode, GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Fact } from '../model/kernel-io.ts';
import type { Part } from '../model/part.ts';
import type { Clock, Engine, Job } from '../ports.ts';
import type { Account } from './account.ts';
import { Answered } from './answered.ts';
import { Attempt } from './attempt.ts';
import { Handover, type HandoverParts } from './handover.ts';
import type { Host } from './host.ts';

export interface Engines {
  engine(worker: WorkerId): Engine | undefined;
  /** How a request there ended: by the engine's own fault, or as it should; whatever it was asked. */
  ended(worker: WorkerId, fault: GatewayError | undefined): void;
  /** Why a worker that said nothing for so long is given up; undefined: it may take its time. */
  givenUp(worker: WorkerId, silentUs: number): GatewayError | undefined;
}

/** What is done with a part; whoever has more waits until it resolves. */
export type Take = (part: Part) => Promise<void> | undefined;

export interface Given {
  host: Host;
  engines: Engines;
  clock: Clock;
  account: Account;
  job: Job;
  signal: AbortSignal;
  /** For requests in two stages; undefined where the kernel makes none. */
  handovers?: HandoverParts | undefined;
  /** What the chosen engine is asked: the job, or one that goes on from what was said. */
  ask: (engine: Engine, job: Job, signal: AbortSignal) => AsyncIterable<Part>;
}

/**
 * Hands over the parts as they come, and resolves when there are no more. Throws a `GatewayError` where
 * nothing was answered at all, and whatever `take` throws.
 */
export async function answerOf(given: Given, take: Take): Promise<void> {
  const { host, engines, account, job, signal } = given;
  const answered = new Answered(job);
  const handover = given.handovers && new Handover(given.handovers, given);
  let placement = await host.admit(account.arrival, signal);
  for (;;) {
    account.placed(placement);
    const { worker } = placement;
    const prompt = await handover?.begin(placement);
    const attempt = prompt ?? new Attempt(given, { worker, answered, take });
    const failure = await attempt.run();
    if (failure === undefined) {
      engines.ended(worker, undefined);
      if (handover === undefined || prompt === undefined) return;
      placement = await handover.prefilled();
      continue;
    }
    handover?.close();
    const { thrown, isMoved } = failure;
    const error = signal.aborted ? whyAborted(signal) : asGatewayError(thrown);
    if (FAULTS.has(error.code) && !isMoved && !signal.aborted) engines.ended(worker, error);
    const failed = {
      request: job.id,
      worker,
      why: isMoved ? 'moved' : whyFailed(error),
      saidTokens: answered.tokens,
    } as const;
    // Another engine may take what this one turned away.
    const isDenied = error.code === 'engine_denied';
    if (signal.aborted || !(error.retryable || isDenied) || !attempt.canGoOn) {
      host.tell({ kind: 'failed', ...failed, retry: false });
      return await last(error);
    }
    try {
      placement = await host.elsewhere(failed, signal);
    } catch (refusal) {
      // An engine that was only busy is tried again by the client, when it says so; of an answer that
      // began the engine's own fault is told, and why it was turned away where nobody else is left.
      const isOwn = error.code === 'queue_full' || isDenied || !answered.isEmpty;
      return await last(isOwn ? error : refusal);
    }
  }

  async function last(error: unknown): Promise<void> {
    if (answered.isEmpty) throw error;
    await take({ kind: 'error', error: asGatewayError(error) });
  }
}

/** What an engine does when it is told to stop is no fault of its own. */
function whyAborted({ reason }: AbortSignal): GatewayError {
  return reason instanceof GatewayError
    ? reason
    : new GatewayError('client_closed', 'The client left before its answer was whole.');
}

/** What an engine refuses because of the request says nothing about the engine. */
function whyFailed({ code, isUnreached }: GatewayError): Extract<Fact, { kind: 'failed' }>['why'] {
  if (isUnreached) return 'unreached';
  if (code === 'engine_denied') return 'denied';
  return FAULTS.has(code) ? 'engine' : undefined;
}

const FAULTS: ReadonlySet<ErrorCode> = new Set([
  'engine_lost',
  'engine_failed',
  'engine_denied',
  'engine_timeout',
]);
