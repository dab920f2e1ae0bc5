import type { Dialect } from './hermes.ts';

const JSON_CALL = /<tool_call>(?:\\n|\s|['"}{ -])*\{\\?["']name\\?["']/;
/** A prompt whose last words open the reasoning. */
const OPENS_REASONING = /<think>\s*$/;
const TAIL = 32;

/** What a model writes, told by the chat template it was trained with. */
export function dialectOf(template: string): Dialect {
  return {
    thinking: template.includes('<think>') ? 'optional' : 'none',
    calls: JSON_CALL.test(template) ? 'json' : 'none',
  };
}

/** Whether the answer to a rendered prompt begins inside reasoning. */
export function opensReasoning(prompt: string): boolean {
  return OPENS_REASONING.test(prompt.slice(-TAIL));
}
