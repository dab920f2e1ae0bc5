/**
 * What a model writes: how it reasons and how it calls tools. Its chat template tells, or an operator
 * by the names that vLLM gave the formats.
 */
import type { CallFormat } from './call-format.ts';
import { DEEPSEEK } from './deepseek.ts';
import { GLM45 } from './glm45.ts';
import { HARMONY } from './harmony.ts';
import { HERMES } from './hermes.ts';
import { KIMI_K2 } from './kimi-k2.ts';
import { LLAMA3_JSON } from './llama3-json.ts';
import { MISTRAL } from './mistral.ts';
import { PYTHONIC } from './pythonic.ts';
import { QWEN3_CODER } from './qwen3-coder.ts';
import type { ReasoningFormat } from './reasoning.ts';

/** In the order in which a template is tried: those that mention others' markers come first. */
const CALL_FORMATS: readonly CallFormat[] = [
  ...[HARMONY, KIMI_K2, DEEPSEEK, MISTRAL, GLM45, QWEN3_CODER, HERMES, LLAMA3_JSON, PYTHONIC],
];

const THINK = {
  open: '<think>',
  close: '</think>',
  breaks: { afterOpen: 1, beforeClose: 1, afterClose: 2 },
  startsOpen: false,
};

/** The first whose marker a template writes is what its model reasons in. */
const REASONING_FORMATS: readonly ReasoningFormat[] = [
  { ...THINK, names: ['qwen3', 'glm45', 'think'] },
  { ...THINK, names: ['deepseek_r1'], startsOpen: true },
  {
    ...THINK,
    names: ['deepseek_v3', 'deepseek_v31', 'kimi_k2'],
    breaks: { afterOpen: 0, beforeClose: 0, afterClose: 0 },
  },
  {
    names: ['mistral'],
    open: '[THINK]',
    close: '[/THINK]',
    breaks: { afterOpen: 0, beforeClose: 0, afterClose: 0 },
    startsOpen: false,
  },
];

export interface Dialect {
  calls: CallFormat | undefined;
  reasoning: ReasoningFormat | undefined;
}

/** Names of formats that are to be taken, whatever the template says; `none` for no parsing. */
export interface ParserNames {
  toolCalls?: string;
  reasoning?: string;
}

/** Throws a RangeError that lists the names where one is unknown. */
export function dialectOf(template: string, names: ParserNames = {}): Dialect {
  const calls =
    names.toolCalls === undefined
      ? CALL_FORMATS.find((format) => format.recognises(template))
      : named(CALL_FORMATS, names.toolCalls);
  if (calls?.readsReasoning) return { calls, reasoning: undefined };
  if (names.reasoning !== undefined) {
    return { calls, reasoning: named(REASONING_FORMATS, names.reasoning) };
  }
  return { calls, reasoning: reasoningOf(template) };
}

/** Texts that a decoder must let through though control tokens may stand for them. */
export function markersOf({ calls, reasoning }: Dialect): ReadonlySet<string> {
  const markers = new Set(calls?.markers);
  if (reasoning !== undefined) markers.add(reasoning.open).add(reasoning.close);
  return markers;
}

/** Whether the answer to a rendered prompt begins inside reasoning. */
export function opensReasoning({ reasoning }: Dialect, prompt: string): boolean {
  if (reasoning === undefined) return false;
  const end = prompt.slice(-TAIL).trimEnd();
  return end.endsWith(reasoning.open) || (reasoning.startsOpen && !end.endsWith(reasoning.close));
}

const TAIL = 64;
/** Reasoning written back between the bare markers, so that all of its line breaks are its own. */
const BARE = /<think>(?:\{\{|'\s*[+~])\s*[\w.[\]']+\s*(?:\}\}|[+~]\s*')<\/think>/;

function reasoningOf(template: string): ReasoningFormat | undefined {
  const format = REASONING_FORMATS.find(({ open }) => template.includes(open));
  const isBare = BARE.test(template);
  return format?.open === THINK.open && isBare ? named(REASONING_FORMATS, 'kimi_k2') : format;
}

function named<T extends { names: readonly string[] }>(
  formats: readonly T[],
  name: string,
): T | undefined {
  if (name === 'none') return undefined;
  const found = formats.find(({ names }) => names.includes(name));
  if (found !== undefined) return found;
  const known = formats.flatMap(({ names }) => names);
  throw new RangeError(`No parser is called ${name}; there are none, ${known.join(', ')}.`);
}
