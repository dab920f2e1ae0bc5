/**
 * Sub-agents that run beside each other begin alike. Each by itself had better go to a worker that does
 * nothing else and compute its beginning there; eight that do so compute it eight times, and each copy
 * pushes out what others hold. So once two workers hold it, those that come go to one of them, as long
 * as one has a free slot and room beside who sits there.
 */
import type { WorkerState } from '../workers.ts';

/** Copies of a beginning that prices alone decide on. */
const COPIES_MAX = 2;

/** Of those that were priced, where one may go that has siblings. */
export function besideKin(
  able: readonly WorkerState[],
  promptTokens: number,
): readonly WorkerState[] {
  const most = able.reduce((max, { candidate }) => Math.max(max, candidate.matchedTokens), 0);
  // Whoever holds half as much holds what they share, or most of it.
  const holders = able.filter(({ candidate }) => candidate.matchedTokens > most / 2);
  if (most === 0 || holders.length < COPIES_MAX) return able;
  const roomy = holders.filter(({ worker, load, candidate }) => {
    const addedTokens = promptTokens - candidate.matchedTokens;
    const fits = candidate.liveTokens + addedTokens <= worker.cacheTokens;
    return load.requests < worker.slots && fits;
  });
  return roomy.length === 0 ? able : roomy;
}
