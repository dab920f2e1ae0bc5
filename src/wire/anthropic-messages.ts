/** POST /v1/messages: Anthropic's Messages API, with system messages anywhere as Claude Code sends them. */
import type { Chat, Message } from '../model/request.ts';
import { type Format, FREE } from '../model/request.ts';
import { readAssistant, readContent, readUser } from './anthropic-content.ts';
import { AnthropicFramer, anthropicError, anthropicWhole, THREAD } from './anthropic-frames.ts';
import { AnthropicTools } from './anthropic-tools.ts';
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
import { dispatching } from './tool-dispatch.ts';
import type { Ask, Wire } from './wire.ts';

export const anthropicMessages: Wire = {
  name: 'anthropic-messages',
  parse,
  framer: (ask, opening) => dispatching(ask, new AnthropicFramer(ask, opening)),
  whole: anthropicWhole,
  error: anthropicError,
};

function parse(input: unknown): Ask {
  const body = object(input, 'the body');
  // A turn without the conversation before it would be answered, and make no sense.
  if (body.thread != null) throw wrong(THREAD, 'is not held here: send the whole conversation');
  const model = string(body.model, 'model');
  const tools = new AnthropicTools(body.tools);
  const messages = list(body.messages, 'messages').flatMap((message, i) =>
    readMessage(message, `messages[${i}]`, tools),
  );
  if (messages.length === 0) throw wrong('messages', 'must hold at least one message');
  const system = readContent(body.system, 'system', tools);
  if (system.length > 0) messages.unshift({ role: 'system', content: system });
  const outputTokensMax = optionalCount(body.max_tokens, 'max_tokens', 1);
  if (outputTokensMax === undefined) throw wrong('max_tokens', 'is required');
  const config = optionalObject(body.output_config, 'output_config');
  const effort = optionalString(config?.effort, 'output_config.effort');
  const thinking = readThinking(body);
  const edits = readEdits(body);
  const chat: Chat = {
    model,
    messages,
    tools: tools.tools(),
    toolChoice: tools.choice(body.tool_choice),
    thinking: thinking.isOn,
    ...(effort !== undefined && { effort }),
    ...(edits?.keepsThinking && { keepsReasoning: true }),
  };
  const isSingle = takesOneCall(body);
  return {
    model,
    prompt: { kind: 'chat', chat },
    sampling: {
      temperature: optionalNumber(body.temperature, 'temperature', { min: 0, max: 1 }),
      topP: optionalNumber(body.top_p, 'top_p', { min: 0, max: 1 }),
      topK: optionalCount(body.top_k, 'top_k', 0),
      ...{ minP: undefined, repetitionPenalty: undefined, frequencyPenalty: undefined },
      ...{ presencePenalty: undefined, seed: undefined },
    },
    outputTokensMax,
    stop: stopStrings(body.stop_sequences, 'stop_sequences'),
    shape: {
      ...FREE,
      format: formatOf(chat, readOutputFormat(body), { many: !isSingle }),
      ...(isSingle && { oneCall: true }),
    },
    hints: readHints(body),
    stream: optionalBoolean(body.stream, 'stream') ?? false,
    includeUsage: true,
    names: readNames(body),
    messages: { sealsThinking: thinking.isSealed, edits: edits !== undefined },
  };
}

function readMessage(input: unknown, where: string, tools: AnthropicTools): Message[] {
  const message = object(input, where);
  const role = string(message.role, `${where}.role`);
  const at = `${where}.content`;
  switch (role) {
    case 'system': {
      // Claude Code sends some without a word, only to carry settings: they are no turn.
      const content = readContent(message.content, at, tools);
      return content.length === 0 ? [] : [{ role: 'system', content }];
    }
    case 'user':
      return readUser(message.content, at, tools);
    case 'assistant':
      return [readAssistant(message.content, at, tools)];
    default:
      throw wrong(
        `${where}.role`,
        `must be user, assistant or system, but is ${JSON.stringify(role.slice(0, 40))}`,
      );
  }
}

function takesOneCall(body: Json): boolean {
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

/** Thinking is off unless the client asks for it, as the API defines; `omitted`: not to be shown. */
function readThinking(body: Json): { isOn: boolean; isSealed: boolean } {
  const thinking = optionalObject(body.thinking, 'thinking');
  return {
    isOn: thinking?.type === 'enabled' || thinking?.type === 'adaptive',
    isSealed: thinking?.display === 'omitted',
  };
}

/**
 * `context_management`: undefined where the request has none. Nothing is cleared here, as the API allows
 * where a trigger is not reached; but thinking that is to be kept is kept.
 */
function readEdits(body: Json): { keepsThinking: boolean } | undefined {
  const management = optionalObject(body.context_management, 'context_management');
  if (management === undefined) return undefined;
  const edits = optionalList(management.edits, 'context_management.edits');
  const keepsThinking = edits.some((edit, i) => {
    const { type, keep } = object(edit, `context_management.edits[${i}]`);
    return keep === 'all' && /^clear_thinking_/.test(String(type));
  });
  return { keepsThinking };
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
