/** What a finished request teaches about its worker's class. */
import type { Booking, Moment } from '../book.ts';
import { isHeldBack } from '../health/held-back.ts';
import type { Curve } from './curve.ts';

/** Answers with fewer tokens say little about the time between two of them. */
const STEPS_MIN = 4;

export interface Finished {
  booking: Booking;
  end: Moment;
  outputTokens: number;
  /** As the engine reported, or as exact events say; undefined where neither is known. */
  cachedTokens: number | undefined;
  slots: number;
}

export function learn(curve: Curve, finished: Finished): void {
  const { booking, end, outputTokens, cachedTokens, slots } = finished;
  const { first, promptTokens } = booking;
  if (first === undefined || isHeldBack(booking, end, outputTokens)) return;
  // Only of a prompt that neither waited for another nor for a slot is it known when it began.
  if (booking.alone && booking.beside < slots && cachedTokens !== undefined) {
    const cached = Math.min(cachedTokens, promptTokens);
    // Deeper tokens lie in lower tiers: what was not there after all was missed from below.
    const diskTokens = Math.max(0, booking.diskTokens - (booking.matchedTokens - cached));
    const work = {
      uncachedTokens: promptTokens - cached,
      contextTokens: promptTokens,
      hostTokens: Math.min(booking.hostTokens, Math.max(0, cached - diskTokens)),
      diskTokens: Math.min(diskTokens, booking.diskTokens, cached),
      decoding: booking.beside,
    };
    curve.sawPrefill(work, first.atUs - booking.dispatchedUs);
  }
  const steps = outputTokens - 1;
  const tookUs = end.atUs - first.atUs;
  if (steps < STEPS_MIN || tookUs <= 0) return;
  const sequences = (end.decodeSequenceUs - first.decodeSequenceUs) / tookUs;
  const prefillUsPerToken = (end.prefillBusyUs - first.prefillBusyUs) / steps;
  curve.sawDecode({ sequences, prefillUsPerToken }, tookUs / steps);
}
