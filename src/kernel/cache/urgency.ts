/**
 * Whose prompt an engine computes next. Higher priority first; among equals the one whose wait is
 * longest for what it asks: (others' work since it came + its own) ÷ its own. Short prompts pass long
 * ones, and a long one that is passed grows more urgent until it is not (highest response ratio next,
 * Brinch Hansen 1971). Work counts in prompt tokens, so nothing depends on a clock.
 */
export interface PromptWork {
  /** Higher is more important. */
  priority: number;
  /** Tokens to compute. */
  left: number;
  /** Prompt tokens the engine had computed for anybody when this one came, and of it since. */
  servedAtArrival: number;
  served: number;
}

/** Negative where `a` is more urgent; equal ones keep the order they are in. */
export function compareUrgency(a: PromptWork, b: PromptWork, servedTokens: number): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  const difference = responseRatio(b, servedTokens) - responseRatio(a, servedTokens);
  return difference === 0 ? a.left - b.left : difference;
}

function responseRatio(work: PromptWork, servedTokens: number): number {
  const waited = servedTokens - work.servedAtArrival - work.served;
  return 1 + waited / work.left;
}
