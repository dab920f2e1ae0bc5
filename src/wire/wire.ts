/** What a wire is: bytes of one API ↔ our own words, pure. */
import type { GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import type { AskedSampling, Chat, EngineExtras, Hints, Shape } from '../model/request.ts';
import type { Answer } from './answer.ts';
import type { MessagesAsk } from './anthropic-frames.ts';
import type { ResponsesAsk } from './responses-ask.ts';

export type WireName =
  | 'openai-chat'
  | 'openai-completions'
  | 'openai-responses'
  | 'anthropic-messages';

export interface Wire {
  readonly name: WireName;
  /** Reads a parsed JSON body; throws a `GatewayError` that names the field. */
  parse(body: unknown): Ask;
  framer(ask: Ask, opening: Opening): Framer;
  /** The answer to a request that did not stream. */
  whole(ask: Ask, opening: Opening, answer: Answer): unknown;
  error(error: GatewayError): unknown;
}

/** A request as its wire understood it. */
export interface Ask {
  model: string;
  prompt: Prompt;
  sampling: AskedSampling;
  outputTokensMax: number | undefined;
  stop: string[];
  shape: Shape;
  /** Only where the request has any. */
  extras?: EngineExtras;
  hints: Hints;
  stream: boolean;
  /** Whether a stream ends with usage (the OpenAI wires ask for it, Anthropic always sends it). */
  includeUsage: boolean;
  /** Names of a session found in the body, by field, in the order they count. */
  names: { field: string; value: string }[];
  /** Only where the Responses wire read it. */
  responses?: ResponsesAsk;
  /** Only where the Messages wire read it. */
  messages?: MessagesAsk;
  /** Chat completions: names of tools that take plain text, not JSON. */
  customTools?: ReadonlySet<string>;
}

export type Prompt =
  | { kind: 'chat'; chat: Chat }
  | { kind: 'text'; text: string }
  | { kind: 'tokens'; ids: Uint32Array };

/** What is known when an answer begins. */
export interface Opening {
  id: string;
  createdS: number;
  /** The name the client used. */
  model: string;
  promptTokens: number | undefined;
  /** Unix time in seconds, for wires that tell when an answer was complete; absent: as it began. */
  nowS?: () => number;
}

/** Frames one streamed answer. */
export interface Framer {
  open(): string;
  /** `extras` goes into the wire's `nvext` field with the last part. */
  part(part: Part, extras?: Record<string, unknown>): string;
  /** A protocol event that every client takes as a sign of life. */
  keepAlive(): string;
}
