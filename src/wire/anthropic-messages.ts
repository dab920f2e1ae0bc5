/** POST /v1/messages: Anthropic's Messages API, with system messages anywhere as Claude Code sends them. */
import type { Chat, Content, Message, Tool, ToolCall, ToolChoice } from '../model/request.ts';
import { type Format, FREE, GREEDY, NO_HINTS } from '../model/request.ts';
import { AnthropicFramer, anthropicError, anthropicWhole } from './anthropic-frames.ts';
import {
  type Json,
  list,
  object,
  optionalBoolean,
  optionalCount,
  optionalList,
  optionalNumber,
  optionalObject,
  optionalString,
  stopStrings,
  string,
  wrong,
} from './fields.ts';
import { readHints } from './hints.ts';
import { formatOf } from './shape.ts';
import type { Ask, Wire } from './wire.ts';

export const anthropicMessages: Wire = {
  name: 'anthropic-messages',
  parse,
  framer: (_ask, opening) => new AnthropicFramer(opening),
  whole: anthropicWhole,
  error: anthropicError,
};

function parse(input: unknown): Ask {
  const body = object(input, 'the body');
  const model = string(body.model, 'model');
  const messages = list(body.messages, 'messages').flatMap(readMessage);
  if (messages.length === 0) throw wrong('messages', 'must hold at least one message');
  const system = readContent(body.system, 'system');
  if (system.length > 0) messages.unshift({ role: 'system', content: system });
  const outputTokensMax = optionalCount(body.max_tokens, 'max_tokens', 1);
  if (outputTokensMax === undefined) throw wrong('max_tokens', 'is required');
  const chat: Chat = {
    model,
    messages,
    tools: optionalList(body.tools, 'tools').flatMap(readTool),
    toolChoice: readToolChoice(body.tool_choice),
    thinking: readThinking(body),
  };
  return {
    model,
    prompt: { kind: 'chat', chat },
    sampling: {
      ...GREEDY,
      temperature: optionalNumber(body.temperature, 'temperature', { min: 0, max: 1 }) ?? 1,
      topP: optionalNumber(body.top_p, 'top_p', { min: 0, max: 1 }) ?? 1,
      topK: optionalCount(body.top_k, 'top_k', 0) ?? 0,
    },
    outputTokensMax,
    stop: stopStrings(body.stop_sequences, 'stop_sequences'),
    shape: { ...FREE, format: formatOf(chat, readOutputFormat(body), { many: !isSingle(body) }) },
    hints: body.nvext === undefined ? NO_HINTS : readHints(body),
    stream: optionalBoolean(body.stream, 'stream') ?? false,
    includeUsage: true,
    names: readNames(body),
  };
}

/** One message of theirs may be several of ours: tool results come as blocks of a user message. */
function readMessage(input: unknown, i: number): Message[] {
  const where = `messages[${i}]`;
  const message = object(input, where);
  const role = string(message.role, `${where}.role`);
  switch (role) {
    case 'system': {
      // Claude Code sends some without a word, only to carry settings: they are no turn.
      const content = readContent(message.content, `${where}.content`);
      return content.length === 0 ? [] : [{ role: 'system', content }];
    }
    case 'user':
      return readUser(message.content, `${where}.content`);
    case 'assistant':
      return [readAssistant(message.content, `${where}.content`)];
    default:
      throw wrong(
        `${where}.role`,
        `must be user, assistant or system, but is ${JSON.stringify(role.slice(0, 40))}`,
      );
  }
}

function readUser(input: unknown, where: string): Message[] {
  const messages: Message[] = [];
  let content: Content[] = [];
  const flush = () => {
    if (content.length > 0) messages.push({ role: 'user', content });
    content = [];
  };
  for (const [at, block] of blocks(input, where)) {
    if (block.type === 'tool_result') {
      flush();
      messages.push({
        role: 'tool',
        content: readContent(block.content, `${at}.content`),
        toolCallId: string(block.tool_use_id, `${at}.tool_use_id`),
        isError: optionalBoolean(block.is_error, `${at}.is_error`) ?? false,
      });
    } else {
      content.push(...readBlock(block, at));
    }
  }
  flush();
  if (messages.length === 0) messages.push({ role: 'user', content: [] });
  return messages;
}

function readAssistant(input: unknown, where: string): Message {
  const content: Content[] = [];
  const toolCalls: ToolCall[] = [];
  let reasoning: string | undefined;
  for (const [at, block] of blocks(input, where)) {
    switch (block.type) {
      case 'thinking':
        reasoning = (reasoning ?? '') + string(block.thinking, `${at}.thinking`);
        break;
      case 'redacted_thinking':
        break;
      case 'tool_use':
        toolCalls.push({
          id: string(block.id, `${at}.id`),
          name: string(block.name, `${at}.name`),
          argumentsJson: JSON.stringify(object(block.input ?? {}, `${at}.input`)),
        });
        break;
      default:
        content.push(...readBlock(block, at));
    }
  }
  return { role: 'assistant', content, reasoning, toolCalls };
}

function readContent(input: unknown, where: string): Content[] {
  const content: Content[] = [];
  for (const [at, block] of blocks(input, where)) content.push(...readBlock(block, at));
  return content;
}

function readBlock(block: Json, where: string): Content[] {
  switch (block.type) {
    case 'text':
      return [{ kind: 'text', text: string(block.text, `${where}.text`) }];
    case 'image': {
      const source = object(block.source, `${where}.source`);
      const url = optionalString(source.url, `${where}.source.url`);
      if (url !== undefined) return [{ kind: 'image', url }];
      const data = string(source.data, `${where}.source.data`);
      const media = string(source.media_type, `${where}.source.media_type`);
      return [{ kind: 'image', url: `data:${media};base64,${data}` }];
    }
    // References to deferred tools carry no text for the model.
    case 'tool_reference':
      return [];
    default:
      throw wrong(
        `${where}.type`,
        `is ${JSON.stringify(String(block.type).slice(0, 40))}, which no model here understands`,
      );
  }
}

/** A string is one text block: Claude Code sends the same content both ways. */
function blocks(input: unknown, where: string): [string, Json][] {
  if (input === undefined || input === null) return [];
  if (typeof input === 'string') return [[where, { type: 'text', text: input }]];
  if (!Array.isArray(input)) throw wrong(where, 'must be a string or a list of blocks');
  return input.map((block, i) => [`${where}[${i}]`, object(block, `${where}[${i}]`)]);
}

/** Tools without a schema are the vendor's own: a model behind us cannot call them. */
function readTool(input: unknown, i: number): Tool[] {
  const where = `tools[${i}]`;
  const tool = object(input, where);
  if (tool.input_schema === undefined) return [];
  return [
    {
      name: string(tool.name, `${where}.name`),
      description: optionalString(tool.description, `${where}.description`),
      parameters: optionalObject(tool.input_schema, `${where}.input_schema`),
    },
  ];
}

function readToolChoice(input: unknown): ToolChoice {
  const choice = optionalObject(input, 'tool_choice');
  switch (choice?.type) {
    case undefined:
    case 'auto':
      return { kind: 'auto' };
    case 'none':
      return { kind: 'none' };
    case 'any':
      return { kind: 'required' };
    case 'tool':
      return { kind: 'named', name: string(choice.name, 'tool_choice.name') };
    default:
      throw wrong('tool_choice.type', 'must be auto, any, tool or none');
  }
}

function isSingle(body: Json): boolean {
  const choice = optionalObject(body.tool_choice, 'tool_choice');
  const at = 'tool_choice.disable_parallel_tool_use';
  return optionalBoolean(choice?.disable_parallel_tool_use, at) ?? false;
}

/** Structured outputs: `output_config.format`, in the beta `output_format`. */
function readOutputFormat(body: Json): Format | undefined {
  const config = optionalObject(body.output_config, 'output_config');
  const format =
    optionalObject(config?.format, 'output_config.format') ??
    optionalObject(body.output_format, 'output_format');
  if (format === undefined) return undefined;
  if (format.type !== 'json_schema') throw wrong('output_format.type', 'must be json_schema');
  return { kind: 'schema', schema: object(format.schema, 'output_format.schema') };
}

/** Thinking is off unless the client asks for it, as the API defines. */
function readThinking(body: Json): boolean {
  const thinking = optionalObject(body.thinking, 'thinking');
  return thinking?.type === 'enabled' || thinking?.type === 'adaptive';
}

/** Claude Code packs its ids as JSON into a string. */
function readNames(body: Json): { field: string; value: string }[] {
  const metadata = optionalObject(body.metadata, 'metadata');
  const userId = optionalString(metadata?.user_id, 'metadata.user_id');
  if (userId === undefined || !userId.startsWith('{')) return [];
  try {
    const value = (JSON.parse(userId) as Json).session_id;
    return typeof value === 'string' && value !== '' ? [{ field: 'metadata.user_id', value }] : [];
  } catch {
    return []; // An opaque user id that happens to start with a brace names no session.
  }
}
