/**
 * The other side of the OpenAI wires: what we send to an engine, and its streams read back as parts.
 * Lenient: engines may leave out what we do not need.
 */
import { GatewayError } from '../model/error.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import type { Chat, Message } from '../model/request.ts';
import { textOf } from '../model/request.ts';
import { type ChatLogprobs, readChatLogprobs } from './openai-logprobs.ts';
import { toolField } from './shape.ts';

/** `messages`, `tools` and `tool_choice` of a chat completion. */
export function chatFields(chat: Chat): Record<string, unknown> {
  const { toolChoice } = chat;
  return {
    messages: chat.messages.map(messageOf),
    ...(chat.tools.length > 0 && {
      tools: chat.tools.map(toolField),
      tool_choice:
        toolChoice.kind === 'named'
          ? { type: 'function', function: { name: toolChoice.name } }
          : toolChoice.kind,
    }),
    ...(chat.thinking !== undefined && {
      chat_template_kwargs: { enable_thinking: chat.thinking },
    }),
  };
}

function messageOf(message: Message): unknown {
  const content = message.content.some((part) => part.kind === 'image')
    ? message.content.map((part) =>
        part.kind === 'text'
          ? { type: 'text', text: part.text }
          : { type: 'image_url', image_url: { url: part.url } },
      )
    : textOf(message.content);
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

interface Chunk {
  choices?: (Choice | null)[] | null;
  usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number | null } | null;
  } | null;
  nvext?: { engine_data?: { logits_digests?: string[] } } | null;
  error?: { message?: string } | null;
}

interface Choice {
  index?: number | null;
  logprobs?: ChatLogprobs | null;
  text?: string | null;
  delta?: {
    content?: string | null;
    reasoning_content?: string | null;
    /** vLLM's newer name for the same. */
    reasoning?: string | null;
    tool_calls?: (Call | null)[] | null;
  } | null;
  token_ids?: number[] | null;
  finish_reason?: string | null;
  stop_reason?: string | number | null;
}

interface Call {
  id?: string | null;
  function?: { name?: string | null; arguments?: string | null } | null;
}

/** Reads the `data:` lines of one stream; `done` comes with the last of them. */
export class UpstreamReader {
  readonly #choices: number;
  readonly #finishes = new Map<number, Finish>();
  #usage: Usage | undefined;
  #outputTokens = 0;
  /** Tool calls of each choice so far. */
  readonly #calls = new Map<number, number>();
  #broke = false;

  /** `choices`: so many answers were asked for. */
  constructor(choices: number) {
    this.#choices = choices;
  }

  read(data: string): Part[] {
    if (data === '[DONE]') return this.#end();
    const chunk = chunkOf(data);
    if (chunk.error) return [this.#broken(chunk.error.message ?? 'it gave no reason')];
    if (chunk.usage) this.#usage = usageOf(chunk.usage);
    const digests = chunk.nvext?.engine_data?.logits_digests;
    return (chunk.choices ?? []).flatMap((choice) => (choice ? this.#choice(choice, digests) : []));
  }

  #choice(choice: Choice, digests: string[] | undefined): Part[] {
    const index = choice.index ?? 0;
    const parts: Part[] = [];
    const reasoning = choice.delta?.reasoning_content ?? choice.delta?.reasoning;
    if (reasoning) parts.push({ kind: 'reasoning', text: reasoning, tokens: this.#count(1) });
    parts.push(...this.#text(choice, digests));
    for (const call of choice.delta?.tool_calls ?? []) parts.push(...this.#call(index, call));
    if (index > 0) for (const part of parts) if (isOfChoice(part)) part.choice = index;
    const { finish_reason: reason } = choice;
    if (reason === 'abort' || reason === 'error') return [...parts, this.#broken('it broke off')];
    if (!reason) return parts;
    const finish = finishOf(reason, choice.stop_reason);
    this.#finishes.set(index, finish);
    if (this.#choices > 1) parts.push({ kind: 'ended', choice: index, finish });
    return parts;
  }

  #text(choice: Choice, digests: string[] | undefined): Part[] {
    const ids = choice.token_ids ?? undefined;
    const text = choice.text ?? choice.delta?.content ?? '';
    const logprobs = readChatLogprobs(choice.logprobs);
    if (text === '' && (ids === undefined || ids.length === 0) && logprobs === undefined) return [];
    const part: Part = { kind: 'text', text, tokens: this.#count(ids?.length ?? 1) };
    if (ids !== undefined) part.ids = ids;
    if (digests !== undefined) part.engineData = { logitsDigests: digests };
    if (logprobs !== undefined) part.logprobs = logprobs;
    return [part];
  }

  /** A call begins with its name; arguments belong to the one that began last. */
  #call(choice: number, call: Call | null): Part[] {
    const parts: Part[] = [];
    const { name, arguments: text } = call?.function ?? {};
    let count = this.#calls.get(choice) ?? 0;
    if (name) {
      const index = count++;
      this.#calls.set(choice, count);
      parts.push({ kind: 'toolCall', index, id: call?.id ?? `call_${index}`, name });
    }
    if (text && count > 0) {
      parts.push({ kind: 'toolArguments', index: count - 1, text, tokens: this.#count(1) });
    }
    return parts;
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
  return {
    promptTokens: usage.prompt_tokens ?? 0,
    outputTokens: usage.completion_tokens ?? 0,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? undefined,
  };
}

function finishOf(reason: string, stop: string | number | null | undefined): Finish {
  if (reason === 'length') return { kind: 'length' };
  if (reason === 'tool_calls') return { kind: 'toolCalls' };
  return typeof stop === 'string' ? { kind: 'stopSequence', sequence: stop } : { kind: 'stop' };
}
