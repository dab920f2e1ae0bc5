/**
 * The price of running a request on a worker: predicted microseconds of work, as named terms that add
 * up. No weights: each term is time that somebody really waits, now or at a later turn.
 *
 *   waiting    until its prefill can begin: prefill queued there, and a slot to become free
 *   prefill    of what is not cached: perToken·u + perTokenContext·u·(c − u/2)
 *   delay      its prefill stops those who decode there, and one more makes each of their steps longer
 *   crowding   live context it pushes out of that cache: somebody computes it again at a later turn
 */
import type { Arrival } from '../../model/kernel-io.ts';
import type { PrefillCurve, Worker } from '../../model/worker.ts';
import type { Load } from '../book.ts';

export interface Situation {
  worker: Worker;
  load: Load;
  /** Output tokens so far of the requests there, most first. */
  outputs: readonly number[];
  matchedTokens: number;
  /** Threads that sit there and will come back, this one excepted. */
  live: { tokens: number; threads: number };
  /** Output tokens an answer is expected to have. */
  outputTokensExpected: number;
}

export interface Price {
  terms: Record<string, number>;
  totalUs: number;
}

export function priceOf(request: Arrival, at: Situation): Price {
  const { worker, load, live } = at;
  const uncached = request.promptTokens - at.matchedTokens;
  const prefillUs = prefill(worker.prefill, uncached, request.promptTokens);
  const terms = {
    waiting: Math.round(load.prefillUsLeft + untilSlot(at)),
    prefill: Math.round(prefillUs),
    delay: Math.round(
      load.decoding * (prefillUs + worker.decode.perSequenceUs * at.outputTokensExpected),
    ),
    crowding: Math.round(pushedOut(request, at) * (1 + live.threads)),
  };
  const totalUs = terms.waiting + terms.prefill + terms.delay + terms.crowding;
  return { terms, totalUs };
}

/** Microseconds to compute `uncached` tokens that end at `context`. */
export function prefill(curve: PrefillCurve, uncached: number, context: number): number {
  return (
    curve.perTokenUs * uncached + curve.perTokenContextUs * uncached * (context - uncached / 2)
  );
}

/** Until enough of those there have ended that a slot is free. */
function untilSlot(at: Situation): number {
  const { worker, load, outputs } = at;
  const toEnd = load.requests - worker.slots;
  if (toEnd < 0) return 0;
  const stepUs = worker.decode.stepUs + worker.decode.perSequenceUs * worker.slots;
  const produced = outputs[Math.min(toEnd, outputs.length - 1)] ?? 0;
  return Math.max(1, at.outputTokensExpected - produced) * stepUs;
}

/** Time to compute again what would no longer fit. */
function pushedOut(request: Arrival, at: Situation): number {
  const own = request.promptTokens - at.matchedTokens + at.outputTokensExpected;
  const over = Math.min(own, at.live.tokens + request.promptTokens - at.worker.cacheTokens);
  return over <= 0 ? 0 : prefill(at.worker.prefill, over, request.promptTokens);
}
