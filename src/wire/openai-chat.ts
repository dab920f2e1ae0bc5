/**
 * POST /v1/chat/completions. Streams are complete: role, deltas with ids and indexes, finish reason,
 * usage where asked, [DONE]. Measured: leaving out any of these breaks some client.
 */
import { unreachable } from '../base/assert.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import type { Chat, Content, Message, Tool, ToolCall, ToolChoice } from '../model/request.ts';
import type { Answer } from './answer.ts';
import {
  type Json,
  list,
  object,
  optionalBoolean,
  optionalCount,
  optionalList,
  optionalObject,
  optionalString,
  stopStrings,
  string,
  wrong,
} from './fields.ts';
import { readHints, readSampling } from './hints.ts';
import { openaiError } from './openai-error.ts';
import { sse } from './sse.ts';
import type { Ask, Framer, Opening, Wire } from './wire.ts';

export const openaiChat: Wire = {
  name: 'openai-chat',
  parse,
  framer: (ask, opening) => new ChatFramer(opening, ask.includeUsage),
  whole,
  error: openaiError,
};

function parse(input: unknown): Ask {
  const body = object(input, 'the body');
  const model = string(body.model, 'model');
  const messages = list(body.messages, 'messages').map(readMessage);
  if (messages.length === 0) throw wrong('messages', 'must hold at least one message');
  if ((optionalCount(body.n, 'n', 1) ?? 1) > 1) throw wrong('n', 'must be 1');
  if (optionalBoolean(body.logprobs, 'logprobs')) throw wrong('logprobs', 'are not served');
  refuseGuidedOutput(body);
  const chat: Chat = {
    model,
    messages,
    tools: optionalList(body.tools, 'tools').flatMap(readTool),
    toolChoice: readToolChoice(body.tool_choice),
    thinking: readThinking(body),
  };
  const streamOptions = optionalObject(body.stream_options, 'stream_options');
  return {
    model,
    prompt: { kind: 'chat', chat },
    sampling: readSampling(body),
    outputTokensMax:
      optionalCount(body.max_completion_tokens, 'max_completion_tokens', 1) ??
      optionalCount(body.max_tokens, 'max_tokens', 1),
    stop: stopStrings(body.stop, 'stop'),
    hints: readHints(body),
    stream: optionalBoolean(body.stream, 'stream') ?? false,
    includeUsage:
      optionalBoolean(streamOptions?.include_usage, 'stream_options.include_usage') ?? false,
    names: readNames(body),
  };
}

function readMessage(input: unknown, i: number): Message {
  const where = `messages[${i}]`;
  const message = object(input, where);
  const role = string(message.role, `${where}.role`);
  const content = readContent(message.content, `${where}.content`);
  switch (role) {
    case 'system':
    case 'developer':
      return { role: 'system', content };
    case 'user':
      return { role: 'user', content };
    case 'assistant':
      return {
        role: 'assistant',
        content,
        reasoning:
          optionalString(message.reasoning_content, `${where}.reasoning_content`) ??
          optionalString(message.reasoning, `${where}.reasoning`),
        toolCalls: optionalList(message.tool_calls, `${where}.tool_calls`).map((call, j) =>
          readToolCall(call, `${where}.tool_calls[${j}]`),
        ),
      };
    case 'tool':
      return {
        role: 'tool',
        content,
        toolCallId: string(message.tool_call_id, `${where}.tool_call_id`),
        isError: false,
      };
    case 'function':
      return {
        role: 'tool',
        content,
        toolCallId: string(message.name, `${where}.name`),
        isError: false,
      };
    default:
      throw wrong(
        `${where}.role`,
        `must be system, developer, user, assistant or tool, but is ${JSON.stringify(role.slice(0, 40))}`,
      );
  }
}

function readContent(input: unknown, where: string): Content[] {
  if (input === undefined || input === null) return [];
  if (typeof input === 'string') return [{ kind: 'text', text: input }];
  if (!Array.isArray(input)) throw wrong(where, 'must be a string or a list of parts');
  return input.map((value, i) => {
    const at = `${where}[${i}]`;
    const part = object(value, at);
    switch (part.type) {
      case 'text':
        return { kind: 'text', text: string(part.text, `${at}.text`) };
      case 'refusal':
        return { kind: 'text', text: string(part.refusal, `${at}.refusal`) };
      case 'image_url': {
        const image = object(part.image_url, `${at}.image_url`);
        return { kind: 'image', url: string(image.url, `${at}.image_url.url`) };
      }
      default:
        throw wrong(`${at}.type`, 'must be text, refusal or image_url');
    }
  });
}

function readToolCall(input: unknown, where: string): ToolCall {
  const call = object(input, where);
  const fn = object(call.function, `${where}.function`);
  return {
    id: optionalString(call.id, `${where}.id`) ?? '',
    name: string(fn.name, `${where}.function.name`),
    argumentsJson: optionalString(fn.arguments, `${where}.function.arguments`) ?? '',
  };
}

/** Tools that are no functions are the vendor's own: a model behind us cannot call them. */
function readTool(input: unknown, i: number): Tool[] {
  const where = `tools[${i}]`;
  const tool = object(input, where);
  if (tool.type !== undefined && tool.type !== 'function') return [];
  const fn = object(tool.function, `${where}.function`);
  return [
    {
      name: string(fn.name, `${where}.function.name`),
      description: optionalString(fn.description, `${where}.function.description`),
      parameters: optionalObject(fn.parameters, `${where}.function.parameters`),
    },
  ];
}

function readToolChoice(input: unknown): ToolChoice {
  if (input === undefined || input === null || input === 'auto') return { kind: 'auto' };
  if (input === 'none' || input === 'required') return { kind: input };
  if (typeof input === 'string')
    throw wrong('tool_choice', 'must be auto, none, required or a function');
  const fn = object(object(input, 'tool_choice').function, 'tool_choice.function');
  return { kind: 'named', name: string(fn.name, 'tool_choice.function.name') };
}

function readThinking(body: Json): boolean | undefined {
  const kwargs = optionalObject(body.chat_template_kwargs, 'chat_template_kwargs');
  const enabled = optionalBoolean(kwargs?.enable_thinking, 'chat_template_kwargs.enable_thinking');
  if (enabled !== undefined) return enabled;
  return body.reasoning_effort === 'none' ? false : undefined;
}

function refuseGuidedOutput(body: Json): void {
  const format = optionalObject(body.response_format, 'response_format');
  if (format !== undefined && format.type !== 'text') {
    throw wrong('response_format', 'must be text: no engine here can guarantee a format');
  }
}

function readNames(body: Json): { field: string; value: string }[] {
  const names: { field: string; value: string }[] = [];
  for (const field of ['session_id', 'prompt_cache_key']) {
    const value = optionalString(body[field], field);
    if (value !== undefined && value !== '') names.push({ field, value });
  }
  return names;
}

class ChatFramer implements Framer {
  readonly #head: string;
  readonly #includeUsage: boolean;
  #calledTools = false;

  constructor(opening: Opening, includeUsage: boolean) {
    const { id, createdS, model } = opening;
    const head = { id, object: 'chat.completion.chunk', created: createdS, model };
    this.#head = `${JSON.stringify(head).slice(0, -1)},`;
    this.#includeUsage = includeUsage;
  }

  open(): string {
    return this.#delta('{"role":"assistant","content":""}');
  }

  part(part: Part, extras?: Record<string, unknown>): string {
    switch (part.kind) {
      case 'text':
        return part.text === '' ? '' : this.#delta(`{"content":${JSON.stringify(part.text)}}`);
      case 'reasoning':
        return part.text === ''
          ? ''
          : this.#delta(`{"reasoning_content":${JSON.stringify(part.text)}}`);
      case 'toolCall': {
        this.#calledTools = true;
        const { index, id, name } = part;
        const call = { index, id, type: 'function', function: { name, arguments: '' } };
        return this.#delta(JSON.stringify({ tool_calls: [call] }));
      }
      case 'toolArguments': {
        const call = { index: part.index, function: { arguments: part.text } };
        return this.#delta(JSON.stringify({ tool_calls: [call] }));
      }
      case 'done':
        return this.#done(part, extras);
      case 'error':
        return sse(JSON.stringify(openaiError(part.error))) + sse('[DONE]');
      default:
        return unreachable(part);
    }
  }

  keepAlive(): string {
    return sse(`${this.#head}"choices":[]}`);
  }

  #done(part: { finish: Finish; usage: Usage }, extras?: Record<string, unknown>): string {
    const reason = JSON.stringify(finishReason(part.finish, this.#calledTools));
    const nvext = extras === undefined ? '' : `,"nvext":${JSON.stringify(extras)}`;
    const last = `${this.#head}"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":${reason}}]${nvext}}`;
    const usage = this.#includeUsage
      ? sse(`${this.#head}"choices":[],"usage":${JSON.stringify(chatUsage(part.usage))}}`)
      : '';
    return sse(last) + usage + sse('[DONE]');
  }

  #delta(delta: string): string {
    return sse(
      `${this.#head}"choices":[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":null}]}`,
    );
  }
}

function whole(_ask: Ask, opening: Opening, answer: Answer): unknown {
  let text: string | null = null;
  let reasoning: string | undefined;
  const toolCalls: unknown[] = [];
  for (const block of answer.blocks) {
    if (block.kind === 'text') text = (text ?? '') + block.text;
    else if (block.kind === 'reasoning') reasoning = (reasoning ?? '') + block.text;
    else {
      const { id, name, argumentsJson } = block;
      toolCalls.push({ id, type: 'function', function: { name, arguments: argumentsJson } });
    }
  }
  if (text === null && toolCalls.length === 0) text = '';
  return {
    id: opening.id,
    object: 'chat.completion',
    created: opening.createdS,
    model: opening.model,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: text,
          refusal: null,
          ...(reasoning !== undefined && { reasoning_content: reasoning }),
          ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
        },
        logprobs: null,
        finish_reason: finishReason(answer.finish, toolCalls.length > 0),
      },
    ],
    usage: chatUsage(answer.usage),
    ...(answer.extras !== undefined && { nvext: answer.extras }),
  };
}

function finishReason(finish: Finish, calledTools: boolean): string {
  switch (finish.kind) {
    case 'length':
      return 'length';
    case 'toolCalls':
      return 'tool_calls';
    case 'stop':
    case 'stopSequence':
      return calledTools ? 'tool_calls' : 'stop';
    default:
      return unreachable(finish);
  }
}

/** Where the engine does not say what was cached, the field is absent. */
export function chatUsage(usage: Usage): unknown {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.promptTokens + usage.outputTokens,
    ...(usage.cachedTokens !== undefined && {
      prompt_tokens_details: { cached_tokens: usage.cachedTokens },
    }),
  };
}
