/** What is expected of a request: how long engines take for it. */
import type { Arrival } from '../../model/kernel-io.ts';
import type { Typical } from '../route/survey.ts';
import type { Whereabouts } from '../session/whereabouts.ts';
import type { Workers } from '../workers.ts';

/**
 * Microseconds of an engine: what no worker holds of the prompt, and its share of the steps that make its
 * answer. 0 where nobody serves its model.
 */
export function workUs(
  nowUs: number,
  request: Arrival,
  known: { workers: Workers; whereabouts: Whereabouts; typical: Typical },
): number {
  const { promptTokens } = request;
  const state = known.workers.serving(request.model).at(0);
  if (state === undefined) return 0;
  const held = new Map<string, number>();
  for (const { worker, tokens } of known.whereabouts.of(nowUs, request)) {
    held.set(worker, (held.get(worker) ?? 0) + tokens);
  }
  const cachedTokens = Math.min(promptTokens - 1, Math.max(0, ...held.values()));
  const none = { hostTokens: 0, diskTokens: 0, decoding: 0 };
  const uncachedTokens = promptTokens - cachedTokens;
  const prefillUs = state.curve.prefillUs({ uncachedTokens, contextTokens: promptTokens, ...none });
  const { slots } = state.worker;
  const outputTokens = Math.min(known.typical.outputTokens, request.outputTokensMax);
  return Math.round(prefillUs + (outputTokens * state.curve.stepUs(slots, 0)) / slots);
}
