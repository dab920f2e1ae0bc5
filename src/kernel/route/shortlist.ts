/** Which candidates a receipt keeps: ten thousand of them explain no more than these. */
import type { WorkerId } from '../../model/ids.ts';
import type { Candidate } from '../../model/kernel-io.ts';

const CHEAPEST = 8;
const DEEPEST = 8;

/** Copies of the cheapest, of those with the deepest match, and of the chosen, in the given order. */
export function shortlist(
  surveyed: readonly { candidate: Candidate }[],
  chosen: WorkerId,
): Candidate[] {
  const candidates: Candidate[] = [];
  for (const { candidate } of surveyed) candidates.push(candidate);
  if (candidates.length <= CHEAPEST + DEEPEST) return candidates.map(copyOf);
  const kept = new Set(top(candidates, CHEAPEST, (one) => -one.totalUs));
  for (const one of top(candidates, DEEPEST, (each) => each.matchedTokens)) {
    if (one.matchedTokens > 0) kept.add(one);
  }
  return candidates.filter((one) => kept.has(one) || one.worker === chosen).map(copyOf);
}

/** The `count` with the most `of`; among equals those that come first. */
function top(
  candidates: readonly Candidate[],
  count: number,
  of: (candidate: Candidate) => number,
): Candidate[] {
  const best: Candidate[] = [];
  for (const one of candidates) {
    const value = of(one);
    if (best.length === count && value <= of(best[count - 1])) continue;
    let at = best.length;
    while (at > 0 && of(best[at - 1]) < value) at--;
    best.splice(at, 0, one);
    if (best.length > count) best.pop();
  }
  return best;
}

function copyOf(candidate: Candidate): Candidate {
  return { ...candidate, terms: { ...candidate.terms } };
}
