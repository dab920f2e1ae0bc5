/**
 * One shape for a conversation, whichever wire it came over, and for how to continue it. Wires parse
 * into it, chat templates and engines read from it.
 */
import type { WorkerWants } from './kernel-io.ts';

export interface Chat {
  model: string;
  messages: Message[];
  tools: Tool[];
  toolChoice: ToolChoice;
  /** Whether the model should think; undefined leaves it to the template's default. */
  thinking: boolean | undefined;
  /** How hard to think, in the client's word (`low`, `medium`, `high`, …); absent: as the template likes. */
  effort?: string;
  /** Reasoning of earlier turns stays in the prompt where the template leaves that open. */
  keepsReasoning?: boolean;
  /** Further variables of the chat template, as the client names them. */
  templateArguments?: Readonly<Record<string, unknown>>;
  /** Whether the prompt ends where the answer begins; absent: it does. Only counting asks otherwise. */
  generationPrompt?: boolean;
}

export type Message =
  | { role: 'system'; content: Content[] }
  | { role: 'user'; content: Content[] }
  | { role: 'assistant'; content: Content[]; reasoning: string | undefined; toolCalls: ToolCall[] }
  | { role: 'tool'; content: Content[]; toolCallId: string; isError: boolean };

export type Content =
  | { kind: 'text'; text: string }
  | { kind: 'image'; url: string }
  /** A document that is no text, as a data URL. */
  | { kind: 'file'; url: string; name?: string };

export interface ToolCall {
  id: string;
  name: string;
  /** As the model wrote them: usually, but not surely, a JSON object. */
  argumentsJson: string;
}

export interface Tool {
  name: string;
  description: string | undefined;
  /** JSON Schema of the arguments, as the client sent it, key order kept. */
  parameters: unknown;
  /** It may be called, but stands in no list of tools: a tool's result told of it. */
  deferred?: true;
}

export type ToolChoice =
  | { kind: 'auto' }
  | { kind: 'none' }
  /** `names`: one of these only. */
  | { kind: 'required'; names?: readonly string[] }
  | { kind: 'named'; name: string };

export interface Sampling {
  temperature: number;
  topP: number;
  /** 0 = off. */
  topK: number;
  minP: number;
  repetitionPenalty: number;
  frequencyPenalty: number;
  presencePenalty: number;
  seed: number | undefined;
}

/** As it was asked for; what is undefined was left to whoever answers: a model may have its own. */
export type AskedSampling = { readonly [Field in keyof Sampling]: Sampling[Field] | undefined };

/** What vLLM's API has beside OpenAI's fields; what is absent is as the engine likes. */
export interface EngineExtras {
  /** Tokens that end answers end none. */
  ignoreEos?: boolean;
  /** No answer ends before so many tokens. */
  outputTokensMin?: number;
  /** These end it too. */
  stopTokenIds?: readonly number[];
  /** Whether special tokens are left out of a text; in a conversation they are told apart here. */
  skipSpecialTokens?: boolean;
  /** Of the prompt only so many last tokens count; -1: as many as fit. */
  promptTokensMax?: number;
}

/** What the answers to a prompt are to look like, besides their length. */
export interface Shape {
  /** So many answers, which share the prompt's KV. */
  choices: number;
  /** So many of the most likely tokens beside each; undefined: no log probabilities at all. */
  logprobs: number | undefined;
  /** Enforced while tokens are sampled; undefined: the model is free. */
  format: Format | undefined;
  /** How the model writes what stands around the format. */
  frame: AnswerFrame;
  /** Whoever asked takes one tool call at a time: those behind the first are dropped. */
  oneCall?: true;
}

export type Format =
  /** One JSON object. */
  | { kind: 'json' }
  | { kind: 'schema'; schema: unknown }
  /** The whole answer matches. */
  | { kind: 'regex'; pattern: string }
  | { kind: 'choice'; choices: readonly string[] }
  /** GBNF with a rule `root`. */
  | { kind: 'grammar'; gbnf: string }
  /** Calls of these tools and nothing else; one, or as many as the model likes. */
  | { kind: 'calls'; tools: readonly Tool[]; many: boolean }
  | { kind: 'noCalls' };

/** What a grammar must know of how a model writes an answer. */
export interface AnswerFrame {
  /** The answer may begin with reasoning between these; `isOpen`: the prompt opened it already. */
  reasoning: { open: string; close: string; isOpen: boolean } | undefined;
  /**
   * Around `{"name": …, "arguments": {…}}`, and the text that only a call begins with. Undefined
   * where the model writes calls in another way.
   */
  calls: { open: string; close: string; marker: string } | undefined;
}

export const NO_FRAME: AnswerFrame = { reasoning: undefined, calls: undefined };

/** One answer, as the model likes. */
export const FREE: Shape = {
  choices: 1,
  logprobs: undefined,
  format: undefined,
  frame: NO_FRAME,
};

/** What a client says about a request besides its content. All optional, none can break a request. */
export interface Hints {
  /** Higher is more important. */
  priority: number;
  /** Expected output tokens. */
  outputTokensExpected: number | undefined;
  /** Isolates the KV cache below the tenant. */
  cacheSalt: string | undefined;
  /** Emit this, text or token ids, instead of what the model samples; only where the operator allowed it. */
  forcedOutput: string | Uint32Array | undefined;
  /** What the client wants to see besides the answer. */
  extraFields: readonly string[];
  /** What it asks of its worker. */
  wants?: WorkerWants | undefined;
  /** Between gateway and worker: the thread the request belongs to. */
  thread?: string | undefined;
  /** Between gateway and worker: so many of the prompt's last ids are the answer's first. */
  saidTokens?: number;
  /** And so many UTF-16 units of their text were told. */
  saidCharacters?: number;
  /** It goes ahead of all that have less, whatever else is said; absent: 0. */
  strictPriority?: number;
  /** Nobody waits for it: it runs only where nothing else does. */
  whenIdle?: true;
  /** Which signal told the priority; absent: none did. */
  priorityBy?: string;
  /** So long, in microseconds, the client wants the KV of its prompt kept; absent: as everybody's. */
  retentionUs?: number;
  /** Whether its next prompt is to be computed ahead, once it is known; absent: as everybody's. */
  speculativePrefill?: boolean;
  /** What the body calls its session, said outright. */
  session?: string;
  /** The session ends with this request. */
  endsSession?: true;
  /** Contradictions in what it asked for, and what counts; a sentence each. */
  notes?: readonly string[];
}

/** Of an engine's jobs, those that pause while any other is there. */
export const IDLE_PRIORITY = -(2 ** 30);

export const NO_HINTS: Hints = {
  priority: 0,
  outputTokensExpected: undefined,
  cacheSalt: undefined,
  forcedOutput: undefined,
  extraFields: [],
};

/** What OpenAI's API means where nothing is said. */
export const PLAIN: Sampling = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  seed: undefined,
};

export const GREEDY: Sampling = { ...PLAIN, temperature: 0 };

/** The text of a message; several blocks are lines, as vLLM joins them for string templates. */
export function textOf(content: readonly Content[]): string {
  const texts: string[] = [];
  for (const part of content) if (part.kind === 'text') texts.push(part.text);
  return texts.join('\n');
}

/**
 * A tool's result as models read it: no template has a field for failure, so that its words say so,
 * unless they begin with it anyway.
 */
export function resultContent({
  content,
  isError,
}: Extract<Message, { role: 'tool' }>): readonly Content[] {
  if (!isError || SAYS_ERROR.test(textOf(content))) return content;
  return [{ kind: 'text', text: 'Error:' }, ...content];
}

const SAYS_ERROR = /^\W*(?:[\w]+_)?error/i;

/** How chat templates call it, those of GLM, Nemotron, Qwen, Laguna and LFM. */
export const KEEPS_REASONING = {
  clear_thinking: false,
  truncate_history_thinking: false,
  preserve_thinking: true,
  keep_past_thinking: true,
};
