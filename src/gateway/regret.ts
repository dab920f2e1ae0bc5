/**
 * What a decision cost, looked at afterwards: its price with the tokens that really were cached, less
 * what the best other place would have cost by prediction. Nobody knows what would really have happened
 * there, so a regret of one request says little; summed over many it says whether the router errs.
 */
import type { Receipt } from '../model/receipt.ts';

/** Null where the decision cannot be judged: nothing reported, or nowhere else to go. */
export function regretOf(receipt: Receipt): Receipt['regret'] {
  const attempt = receipt.attempts[receipt.attempts.length - 1];
  const cachedTokens = receipt.actual.cachedTokens;
  const { promptTokens } = receipt;
  if (attempt === undefined || cachedTokens === null || promptTokens === null) return null;
  const chosen = attempt.candidates.find(({ worker }) => worker === attempt.worker);
  const others = attempt.candidates.filter(({ worker }) => worker !== attempt.worker);
  if (chosen === undefined || others.length === 0) return null;
  const { prefill = 0 } = chosen.terms;
  const predicted = Math.max(1, promptTokens - chosen.matchedTokens);
  const computed = Math.max(0, promptTokens - cachedTokens);
  // At the price per token that was predicted for it.
  const actualUs = chosen.totalUs + prefill * (computed / predicted - 1);
  const best = others.reduce((a, b) => (b.totalUs < a.totalUs ? b : a));
  const us = Math.round(actualUs - best.totalUs);
  return us > 0 ? { us, worker: best.worker } : { us: 0, worker: null };
}
