/**
 * What an engine says while it answers: our one language between engines and wires.
 *
 *   (text | reasoning | toolCall · toolArguments*)*  then exactly one  done | error
 *
 * A tool call is open from its `toolCall` to the next part that is not its `toolArguments`.
 * Failures after the first part travel as `error`; a generator of parts does not throw. `tokens`
 * counts what a part stands for, `ids` names them where the engine says.
 */
import type { GatewayError } from './error.ts';

export type Part =
  | { kind: 'text'; text: string; tokens: number; ids?: readonly number[]; engineData?: EngineData }
  | { kind: 'reasoning'; text: string; tokens: number }
  | { kind: 'toolCall'; index: number; id: string; name: string }
  | { kind: 'toolArguments'; index: number; text: string; tokens: number }
  | { kind: 'done'; finish: Finish; usage: Usage }
  | { kind: 'error'; error: GatewayError };

/** What an engine shows of its inside where it was asked to (`nvext.extra_fields: ["engine_data"]`). */
export interface EngineData {
  /** Of the logits each of the part's tokens was sampled from: equal digests mean bit-equal logits. */
  logitsDigests: readonly string[];
}

export type Finish =
  | { kind: 'stop' }
  | { kind: 'length' }
  | { kind: 'toolCalls' }
  | { kind: 'stopSequence'; sequence: string };

export interface Usage {
  promptTokens: number;
  outputTokens: number;
  /** Prompt tokens the engine did not compute; undefined where it does not say. */
  cachedTokens: number | undefined;
}
