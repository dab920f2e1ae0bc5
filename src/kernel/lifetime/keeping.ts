/**
 * What keeping a thread's KV is worth, and what becomes of it: the one place where that is decided.
 *
 * To keep it brings the time that its return saves, as often as it returns; it costs its memory for as
 * long as it is held. How long that is at best follows from when its thread will return, so there is no
 * time to live to set. The price of memory is what the least worthy of those that stay brings for it:
 * whoever brings less goes, the least first, and nobody goes before room is needed.
 *
 *   perTokenS = odds · savedUs / (tokens · heldUs)     saved µs for each token held for a second
 *
 * Hits for memory and time, without the return being known: LHD (Beckmann et al., NSDI 2018). Holding
 * for as long as pays best is the index of Gittins (J. R. Stat. Soc. B 1979) of the one choice to make.
 */
import { bestHolding } from '../program/return-odds.ts';

/** Named terms of one rest, as they are now. */
export interface KeepTerms {
  /** That its thread returns while it is held. */
  odds: number;
  /** How long it is held on average, and at most, from now on. */
  heldUs: number;
  untilUs: number;
  /** What its return would save. */
  savedUs: number;
  /** What it takes that nobody else has. */
  tokens: number;
  perTokenS: number;
}

export interface KeepCase {
  /** By bucket of its age; undefined: nobody comes back for it. */
  returnOdds: Float64Array | undefined;
  ageUs: number;
  savedUs: number;
  tokens: number;
  /** From now on, its client wants it kept for so long at most. */
  boundUs: number;
}

export function termsOf({ returnOdds, ageUs, savedUs, tokens, boundUs }: KeepCase): KeepTerms {
  const nothing = { odds: 0, heldUs: 1, untilUs: 0 };
  const hold = returnOdds === undefined ? nothing : bestHolding(returnOdds, ageUs);
  const held = Math.max(1, hold.heldUs);
  const perTokenS = (hold.odds * savedUs * 1e6) / (Math.max(1, tokens) * held);
  const untilUs = Math.min(hold.untilUs, Math.max(0, boundUs));
  return { odds: hold.odds, heldUs: held, untilUs, savedUs, tokens, perTokenS };
}
