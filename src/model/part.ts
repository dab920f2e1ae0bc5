/**
 * What an engine says while it answers: our one language between engines and wires.
 *
 *   (text | reasoning | toolCall · toolArguments*)*  then exactly one  done | error
 *
 * A tool call is open from its `toolCall` to the next part that is not its `toolArguments`. Where
 * several answers were asked for, `choice` says which one a part belongs to (absent: the first), and
 * each ends with an `ended` of its own before the one `done`.
 * Failures after the first part travel as `error`; a generator of parts does not throw. `tokens`
 * counts what a part stands for, `ids` names them where the engine says.
 */
import type { GatewayError } from './error.ts';

export type Part =
  | (OfChoice & {
      kind: 'text';
      text: string;
      tokens: number;
      ids?: readonly number[];
      engineData?: EngineData;
    })
  | (OfChoice & { kind: 'reasoning'; text: string; tokens: number })
  | (OfChoice & { kind: 'toolCall'; index: number; id: string; name: string })
  | (OfChoice & { kind: 'toolArguments'; index: number; text: string; tokens: number })
  /** One of several answers is complete. */
  | { kind: 'ended'; choice: number; finish: Finish }
  /** All are; `finish` is the last one's. */
  | { kind: 'done'; finish: Finish; usage: Usage }
  | { kind: 'error'; error: GatewayError };

interface OfChoice {
  choice?: number;
  /** Of the tokens up to here that no part before told; where they were asked for. */
  logprobs?: readonly TokenLogprob[];
}

/** How likely a token was, by the model's own logits, before any sampling parameter. */
export interface TokenLogprob extends Likely {
  /** The most likely at its place, in order. */
  top: readonly Likely[];
}

export interface Likely {
  /** U+FFFD where its bytes are no whole characters. */
  text: string;
  bytes: readonly number[];
  /** Natural logarithm. */
  logprob: number;
}

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
  /** Of the output tokens, those of reasoning; absent where nobody told them apart. */
  reasoningTokens?: number;
}
