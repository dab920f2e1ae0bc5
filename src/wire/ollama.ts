/**
 * Ollama's own routes: what is sent to `/api/chat`, and its stream of JSON lines read back as parts.
 *
 *   {"message": {"role", "content", "thinking"?, "tool_calls"?: [{"id"?, "function": {"name", "arguments": {…}}}]}, "done": false}
 *   {"message": {…}, "done": true, "done_reason": "stop" | "length", "prompt_eval_count", "eval_count"}
 *   {"error": "…"}
 *
 * `/api/generate` says `response` in place of `message`. Calls come whole, their arguments as objects.
 * Source: docs/api.md and api/types.go of Ollama.
 */
import { GatewayError } from '../model/error.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import {
  type Chat,
  type Content,
  type Format,
  type Message,
  resultContent,
  textOf,
} from '../model/request.ts';
import { argumentsObject } from './anthropic-upstream.ts';
import { toolField } from './shape.ts';
import { streamedError } from './upstream-error.ts';
import {
  eventObject,
  type Loose,
  looseCount,
  looseList,
  looseObject,
  looseText,
} from './upstream-json.ts';

/** `thinks`: only models made for it may be asked to. */
export function ollamaChatFields(chat: Chat, { thinks }: { thinks: boolean }): Loose {
  const { tools, toolChoice, thinking, effort } = chat;
  if (toolChoice.kind === 'required' || toolChoice.kind === 'named') {
    throw new GatewayError(
      'invalid_request',
      'Ollama cannot be made to call a tool: tool_choice must be auto or none there.',
      { param: 'tool_choice' },
    );
  }
  const offered = toolChoice.kind === 'none' ? [] : tools.filter(({ deferred }) => !deferred);
  const names = new Map<string, string>();
  for (const message of chat.messages) {
    if (message.role !== 'assistant') continue;
    for (const { id, name } of message.toolCalls) names.set(id, name);
  }
  return {
    messages: chat.messages.map((message) => messageOf(message, names)),
    ...(offered.length > 0 && { tools: offered.map(toolField) }),
    ...(thinks && thinking !== undefined && { think: thinking && (levelOf(effort) ?? true) }),
  };
}

/** `format` of both routes; throws where it cannot be enforced. Calls are a matter of `tool_choice`. */
export function ollamaFormat(format: Format | undefined): unknown {
  switch (format?.kind) {
    case undefined:
    case 'calls':
    case 'noCalls':
      return undefined;
    case 'json':
      return 'json';
    case 'schema':
      return format.schema;
    default:
      throw new GatewayError(
        'invalid_request',
        'Ollama enforces JSON and JSON Schema only; ask for response_format json_schema.',
        { param: 'response_format' },
      );
  }
}

/** Models that think in levels take these words. */
function levelOf(effort: string | undefined): string | undefined {
  return effort !== undefined && ['low', 'medium', 'high'].includes(effort) ? effort : undefined;
}

function messageOf(message: Message, names: ReadonlyMap<string, string>): Loose {
  const content = message.role === 'tool' ? resultContent(message) : message.content;
  const images = content.flatMap(imageOf);
  const said = {
    role: message.role,
    content: textOf(content),
    ...(images.length > 0 && { images }),
  };
  if (message.role === 'tool') {
    const { toolCallId } = message;
    return { ...said, tool_call_id: toolCallId, tool_name: names.get(toolCallId) };
  }
  if (message.role !== 'assistant') return said;
  const { reasoning, toolCalls } = message;
  return {
    ...said,
    ...(reasoning !== undefined && { thinking: reasoning }),
    ...(toolCalls.length > 0 && {
      tool_calls: toolCalls.map(({ id, name, argumentsJson }) => ({
        id,
        function: { name, arguments: argumentsObject(argumentsJson) },
      })),
    }),
  };
}

/** Its bytes in base64; an address would have to be fetched, which nobody does here. */
function imageOf(part: Content): string[] {
  if (part.kind === 'text') return [];
  const data = /^data:image\/[\w.+-]+;base64,(.+)$/s.exec(part.url)?.[1];
  if (part.kind === 'image' && data !== undefined) return [data];
  throw new GatewayError(
    'invalid_request',
    'Ollama takes images as data URLs, and no other files.',
    { param: 'messages' },
  );
}

/** Reads the lines of one stream of either route. */
export class OllamaReader {
  #calls = 0;
  #tokens = 0;

  read(line: string): Part[] {
    const chunk = eventObject(line);
    if (chunk.error !== undefined && chunk.error !== null) {
      return [{ kind: 'error', error: streamedError(chunk) }];
    }
    const message = looseObject(chunk.message);
    const parts: Part[] = [];
    const thinking = looseText(message.thinking) || looseText(chunk.thinking);
    if (thinking !== '') parts.push({ kind: 'reasoning', text: thinking, tokens: this.#count() });
    const text = looseText(message.content) || looseText(chunk.response);
    if (text !== '') parts.push({ kind: 'text', text, tokens: this.#count() });
    for (const call of looseList(message.tool_calls)) parts.push(...this.#call(looseObject(call)));
    if (chunk.done !== true) return parts;
    return [...parts, { kind: 'done', finish: this.#finishOf(chunk), usage: this.#usageOf(chunk) }];
  }

  #call({ id, function: fn }: Loose): Part[] {
    const { name, arguments: given } = looseObject(fn);
    const index = this.#calls++;
    const text = typeof given === 'string' ? given : JSON.stringify(given ?? {});
    return [
      {
        kind: 'toolCall',
        index,
        id: looseText(id) || `call_${index}`,
        name: looseText(name),
      },
      { kind: 'toolArguments', index, text, tokens: this.#count() },
    ];
  }

  #finishOf({ done_reason: reason }: Loose): Finish {
    if (reason === 'length') return { kind: 'length' };
    return { kind: this.#calls > 0 ? 'toolCalls' : 'stop' };
  }

  /** It does not say what of the prompt it had in cache. */
  #usageOf(chunk: Loose): Usage {
    return {
      promptTokens: looseCount(chunk.prompt_eval_count) ?? 0,
      outputTokens: looseCount(chunk.eval_count) ?? this.#tokens,
      cachedTokens: undefined,
    };
  }

  /** A line for each token, as far as can be told. */
  #count(): number {
    this.#tokens++;
    return 1;
  }
}
