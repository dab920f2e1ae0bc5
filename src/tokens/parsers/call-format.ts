import type { Tool } from '../../model/request.ts';
import type { Reader, Step } from './reader.ts';

/** How the models of a family write tool calls. */
export interface CallFormat {
  /** What vLLM's `--tool-call-parser` calls it, and other names of the same. */
  names: readonly string[];
  /** Texts that control tokens may stand for; a decoder lets them through. */
  markers: readonly string[];
  /** Whether the chat template that a model was trained with writes calls like this. */
  recognises(template: string): boolean;
  /** Reads an answer from where reasoning ended, to the end. */
  read(reader: Reader, tools: readonly Tool[]): Step<void>;
  /** Those of `markers` that end reasoning which was not closed. */
  endsReasoning: readonly string[];
  /** Whether `read` takes reasoning apart as well, so that nothing else may. */
  readsReasoning: boolean;
  /** Name of the n-th call of a conversation, where the model wrote none. */
  callId(n: number): string;
}

export function numberedId(n: number): string {
  return `call_${n}`;
}

export function offers(tools: readonly Tool[], name: string): boolean {
  return tools.some((tool) => tool.name === name);
}
