/**
 * The other side of the OpenAI wires: what we send to an engine, and its streams read back as parts.
 * Lenient: engines may leave out what we do not need.
 */
import { unreachable } from '../base/assert.ts';
import { GatewayError } from '../model/error.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import {
  type Chat,
  type Content,
  KEEPS_REASONING,
  type Message,
  resultContent,
  type ToolChoice,
  textOf,
} from '../model/request.ts';
import { type ChatLogprobs, type CompletionLogprobs, readLogprobs } from './openai-logprobs.ts';
import { toolField } from './shape.ts';
import { type UpstreamCall, UpstreamCalls } from './upstream-calls.ts';
import { streamedError } from './upstream-error.ts';

/** `messages`, `tools` and `tool_choice` of a chat completion. */
export function chatFields(chat: Chat): Record<string, unknown> {
  const { toolChoice, thinking, effort, keepsReasoning } = chat;
  const variables = {
    ...chat.templateArguments,
    ...(thinking !== undefined && { enable_thinking: thinking, thinking }),
    ...(keepsReasoning && KEEPS_REASONING),
  };
  const tools = chat.tools.filter(({ deferred }) => !deferred);
  return {
    messages: chat.messages.map(messageOf),
    ...(tools.length > 0 && {
      tools: tools.map(toolField),
      tool_choice: toolChoiceField(toolChoice),
    }),
    ...(effort !== undefined && { reasoning_effort: effort }),
    ...(Object.keys(variables).length > 0 && { chat_template_kwargs: variables }),
  };
}

function toolChoiceField(choice: ToolChoice): unknown {
  const named = (name: string) => ({ type: 'function', function: { name } });
  if (choice.kind === 'named') return named(choice.name);
  if (choice.kind !== 'required' || choice.names === undefined) return choice.kind;
  const allowed_tools = { mode: 'required', tools: choice.names.map(named) };
  return { type: 'allowed_tools', allowed_tools };
}

function messageOf(message: Message): unknown {
  const parts = message.role === 'tool' ? resultContent(message) : message.content;
  const content = parts.every(({ kind }) => kind === 'text') ? textOf(parts) : parts.map(partOf);
  switch (message.role) {
    case 'system':
    case 'user':
      return { role: message.role, content };
    case 'tool':
      return { role: 'tool', tool_call_id: message.toolCallId, content };
    case 'assistant':
      return {
        role: 'assistant',
        content,
        ...(message.reasoning !== undefined && { reasoning_content: message.reasoning }),
        ...(message.toolCalls.length > 0 && {
          tool_calls: message.toolCalls.map(({ id, name, argumentsJson }) => ({
            id,
            type: 'function',
            function: { name, arguments: argumentsJson },
          })),
        }),
      };
  }
}

function partOf(part: Content): unknown {
  switch (part.kind) {
    case 'text':
      return { type: 'text', text: part.text };
    case 'image':
      return { type: 'image_url', image_url: { url: part.url } };
    case 'file':
      return { type: 'file', file: { file_data: part.url, filename: part.name } };
    default:
      return unreachable(part);
  }
}

interface Chunk {
  choices?: (Choice | null)[] | null;
  usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number | null } | null;
    completion_tokens_details?: { reasoning_tokens?: number | null } | null;
  } | null;
  nvext?: { engine_data?: { logits_digests?: string[] } } | null;
  /** An engine's own shapes of it are many. */
  error?: unknown;
  object?: unknown;
}

interface Choice {
  index?: number | null;
  logprobs?: ChatLogprobs | CompletionLogprobs | null;
  text?: string | null;
  delta?: {
    content?: string | null;
    reasoning_content?: string | null;
    /** vLLM's newer name for the same. */
    reasoning?: string | null;
    tool_calls?: (UpstreamCall | null)[] | null;
  } | null;
  token_ids?: number[] | null;
  finish_reason?: string | null;
  stop_reason?: string | number | null;
}

/** Reads the `data:` lines of one stream; `done` comes with the last of them. */
export class UpstreamReader {
  readonly #choices: number;
  readonly #finishes = new Map<number, Finish>();
  #usage: Usage | undefined;
  #outputTokens = 0;
  /** Tool calls of each choice. */
  readonly #calls = new Map<number, UpstreamCalls>();
  #broke = false;

  /** `choices`: so many answers were asked for. */
  constructor(choices: number) {
    this.#choices = choices;
  }

  read(data: string): Part[] {
    if (data === '[DONE]') return this.#end();
    const chunk = chunkOf(data);
    if (chunk.error || chunk.object === 'error') return [this.#failed(chunk)];
    if (chunk.usage) this.#usage = usageOf(chunk.usage);
    const digests = chunk.nvext?.engine_data?.logits_digests;
    const choices = chunk.choices ?? [];
    if (choices.length === 1 && choices[0] !== null) return this.#choice(choices[0], digests);
    return choices.flatMap((choice) => (choice ? this.#choice(choice, digests) : []));
  }

  #choice(choice: Choice, digests: string[] | undefined): Part[] {
    const index = choice.index ?? 0;
    const parts: Part[] = [];
    const reasoning = choice.delta?.reasoning_content ?? choice.delta?.reasoning;
    if (reasoning) parts.push({ kind: 'reasoning', text: reasoning, tokens: this.#count(1) });
    parts.push(...this.#text(choice, digests));
    const calls = choice.delta?.tool_calls ?? [];
    if (calls.length > 0) parts.push(...this.#callsOf(index).read(calls));
    if (choice.finish_reason) parts.push(...(this.#calls.get(index)?.end() ?? []));
    for (const part of parts) if (part.kind === 'toolArguments') part.tokens = this.#count(1);
    if (index > 0) for (const part of parts) if (isOfChoice(part)) part.choice = index;
    const { finish_reason: reason } = choice;
    if (reason === 'abort' || reason === 'error') return [...parts, this.#broken('it broke off')];
    if (!reason) return parts;
    // Some say that they stopped where they called: whoever asked has to run the call.
    const called = reason === 'stop' && this.#calls.get(index)?.hasBegun === true;
    const finish = called ? CALLED : finishOf(reason, choice.stop_reason);
    this.#finishes.set(index, finish);
    if (this.#choices > 1) parts.push({ kind: 'ended', choice: index, finish });
    return parts;
  }

  #text(choice: Choice, digests: string[] | undefined): Part[] {
    const ids = choice.token_ids ?? undefined;
    const text = choice.text ?? choice.delta?.content ?? '';
    const logprobs = readLogprobs(choice.logprobs);
    if (text === '' && (ids === undefined || ids.length === 0) && logprobs === undefined) return [];
    const part: Part = { kind: 'text', text, tokens: this.#count(ids?.length ?? 1) };
    if (ids !== undefined) part.ids = ids;
    if (digests !== undefined) part.engineData = { logitsDigests: digests };
    if (logprobs !== undefined) part.logprobs = logprobs;
    return [part];
  }

  #callsOf(choice: number): UpstreamCalls {
    let calls = this.#calls.get(choice);
    if (calls === undefined) {
      calls = new UpstreamCalls();
      this.#calls.set(choice, calls);
    }
    return calls;
  }

  #failed(chunk: Chunk): Part {
    this.#broke = true;
    return { kind: 'error', error: streamedError(chunk) };
  }

  #broken(reason: string): Part {
    this.#broke = true;
    const error = new GatewayError('engine_failed', `The engine failed: ${reason}`);
    return { kind: 'error', error };
  }

  #count(tokens: number): number {
    this.#outputTokens += tokens;
    return tokens;
  }

  /** A stream in which some answer has no finish reason was cut: then there is no `done`. */
  #end(): Part[] {
    const finish = [...this.#finishes.values()].pop();
    if (this.#broke || finish === undefined || this.#finishes.size < this.#choices) return [];
    const usage = this.#usage ?? {
      promptTokens: 0,
      outputTokens: this.#outputTokens,
      cachedTokens: undefined,
    };
    return [{ kind: 'done', finish, usage }];
  }
}

function isOfChoice(part: Part): part is Exclude<Part, { kind: 'ended' | 'done' | 'error' }> {
  return part.kind !== 'ended' && part.kind !== 'done' && part.kind !== 'error';
}

function chunkOf(data: string): Chunk {
  try {
    const chunk: unknown = JSON.parse(data);
    if (typeof chunk === 'object' && chunk !== null && !Array.isArray(chunk)) return chunk;
  } catch {
    // Falls through: no JSON, or none that is an object.
  }
  throw new GatewayError('engine_failed', 'The engine sent an event that is no JSON object.');
}

function usageOf(usage: NonNullable<Chunk['usage']>): Usage {
  const reasoningTokens = usage.completion_tokens_details?.reasoning_tokens;
  return {
    promptTokens: usage.prompt_tokens ?? 0,
    outputTokens: usage.completion_tokens ?? 0,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? undefined,
    ...(typeof reasoningTokens === 'number' && { reasoningTokens }),
  };
}

const CALLED: Finish = { kind: 'toolCalls' };

function finishOf(reason: string, stop: string | number | null | undefined): Finish {
  if (reason === 'length') return { kind: 'length' };
  if (reason === 'tool_calls') return { kind: 'toolCalls' };
  return typeof stop === 'string' ? { kind: 'stopSequence', sequence: stop } : { kind: 'stop' };
}
