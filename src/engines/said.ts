/** An answer that goes on behind what was said already, in usage: that was a prompt to its engine alone. */
import type { Part } from '../model/part.ts';

export function withoutSaid(parts: Part[], saidTokens: number): Part[] {
  const last = parts.at(-1);
  if (last?.kind !== 'done' || saidTokens === 0) return parts;
  const { usage } = last;
  const promptTokens = Math.max(0, usage.promptTokens - saidTokens);
  const cached = usage.cachedTokens;
  const cachedTokens = cached === undefined ? undefined : Math.min(cached, promptTokens);
  return [...parts.slice(0, -1), { ...last, usage: { ...usage, promptTokens, cachedTokens } }];
}
