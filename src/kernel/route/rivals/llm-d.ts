/**
 * llm-d's default profile: three scores from 0 to 1, weighted 3 (prefix cache), 2 (queue), 2 (KV
 * utilisation); the highest sum wins, ties at random (llm-d router documentation, max-score picker).
 *
 *   prefix   matched ÷ prompt tokens, of prompts it sent there itself (31,250 blocks a server, less
 *            where the server is known to hold less; 2,048 blocks a prompt)
 *   queue    requests that wait, min-max normalised over the servers: 1 for the fewest
 *   KV       1 − share of the server's KV in use by its requests
 *
 * It scrapes waiting requests and KV use from engines every 50 ms; here they are its own requests that
 * have no first token, and the prompts of all it has there.
 */
import type { WorkerId } from '../../../model/ids.ts';
import type { Policy, Seen } from '../../policy.ts';
import { leastOf } from './least.ts';
import { Ledger } from './ledger.ts';
import { Placements } from './placements.ts';

const WEIGHTS = { prefix: 3, queue: 2, kv: 2 };
const SERVER_BLOCKS_MAX = 31_250;
const PROMPT_BLOCKS_MAX = 2048;

export function llmD(): Policy {
  const ledger = new Ledger();
  const placements = new Placements();
  const capacity = new Map<WorkerId, number>();
  return {
    name: 'llm-d',
    view: 'placements',
    choose(request, seen, rng) {
      const waiting = seen.map(({ worker }) => ledger.of(worker).prefilling);
      const fewest = Math.min(...waiting);
      const span = Math.max(...waiting) - fewest;
      const blockMax = PROMPT_BLOCKS_MAX * request.blockTokens;
      const score = (one: Seen) => {
        const { prefilling, promptTokens } = ledger.of(one.worker);
        const matched = Math.min(blockMax, placements.matchedTokens(request, one.worker));
        const prefix = matched / request.promptTokens;
        const queue = span === 0 ? 1 : 1 - (prefilling - fewest) / span;
        const kv = 1 - Math.min(1, promptTokens / one.about.cacheTokens);
        return WEIGHTS.prefix * prefix + WEIGHTS.queue * queue + WEIGHTS.kv * kv;
      };
      const chosen = leastOf(seen, (one) => -score(one), rng);
      capacity.set(chosen.worker, chosen.about.cacheTokens);
      return chosen.worker;
    },
    placed(request, worker) {
      ledger.placed(request, worker, 0);
      const most = SERVER_BLOCKS_MAX * request.blockTokens;
      placements.placed(request, worker, Math.min(most, capacity.get(worker) ?? most));
    },
    hears(_nowUs, fact) {
      ledger.hears(fact);
      if (fact.kind === 'workerLeft') placements.forget(fact.worker);
    },
  };
}
