/** How crowded the engines that may serve a request are, and how fast they should get through it. */
import type { Arrival } from '../../model/kernel-io.ts';
import { obstacle } from '../route/filter.ts';
import type { Typical } from '../route/survey.ts';
import type { WorkerState } from '../workers.ts';

export interface Outlook {
  /** Requests there beyond those that have a slot; below 0: so many slots are free. */
  beyondSlots: number;
  /** Predicted microseconds between two ends, were all slots taken. */
  gapUs: number;
}

/**
 * Undefined where nobody may serve it now. A worker computes one prompt at a time, and its slots share
 * each step of their answers: in steady state one request ends every prefill + answer ÷ slots.
 */
export function outlookFor(
  request: Arrival,
  states: readonly WorkerState[],
  typical: Typical,
): Outlook | undefined {
  // Whoever is before it is taken to be like it, and like those that ended lately.
  const outputTokens = Math.min(typical.outputTokens, request.outputTokensMax);
  let beyondSlots = 0;
  let endsPerUs = 0;
  for (const state of states) {
    if (obstacle(request, state) !== undefined) continue;
    const { worker, load, curve } = state;
    const stepUs = curve.stepUs(worker.slots, 0);
    const answerUs = outputTokens * stepUs;
    beyondSlots += load.requests - worker.slots;
    endsPerUs += 1 / Math.max(1, typical.prefillUs + answerUs / worker.slots);
  }
  return endsPerUs === 0 ? undefined : { beyondSlots, gapUs: 1 / endsPerUs };
}
