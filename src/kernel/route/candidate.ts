/** A candidate to write a price into. */
import type { WorkerId } from '../../model/ids.ts';
import type { Candidate } from '../../model/kernel-io.ts';

export function blankCandidate(worker: WorkerId): Candidate {
  return {
    worker,
    mode: 'loadOnly',
    matchedTokens: 0,
    hostTokens: 0,
    diskTokens: 0,
    liveTokens: 0,
    terms: { waiting: 0, prefill: 0, fetch: 0, decode: 0, delay: 0, crowding: 0, explore: 0 },
    totalUs: 0,
  };
}
