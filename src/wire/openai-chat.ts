/** POST /v1/chat/completions: OpenAI's fields, vLLM's beside them, and Stator's in `nvext`. */
import { type Chat, type Content, type Message, NO_FRAME } from '../model/request.ts';
import { readExtras } from './extras.ts';
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
import { fileContent } from './file-content.ts';
import { readHints, readSampling } from './hints.ts';
import { ChatFramer, chatWhole } from './openai-chat-frames.ts';
import { openaiError } from './openai-error.ts';
import { customToolNames, readTool, readToolCall, readToolChoice } from './openai-tools.ts';
import { formatOf, readChoices, readFormat, readTop } from './shape.ts';
import { dispatching } from './tool-dispatch.ts';
import type { Ask, Wire } from './wire.ts';

export const openaiChat: Wire = {
  name: 'openai-chat',
  parse,
  framer: (ask, opening) => dispatching(ask, new ChatFramer(ask, opening)),
  whole: chatWhole,
  error: openaiError,
};

function parse(input: unknown): Ask {
  const body = object(input, 'the body');
  const model = string(body.model, 'model');
  const messages = list(body.messages, 'messages').map(readMessage);
  if (messages.length === 0) throw wrong('messages', 'must hold at least one message');
  const offered = optionalList(body.tools, 'tools').flatMap(readTool);
  const chat: Chat = {
    model,
    messages,
    ...readToolChoice(body.tool_choice, offered),
    ...readTemplateArguments(body),
  };
  const many = optionalBoolean(body.parallel_tool_calls, 'parallel_tool_calls') ?? true;
  const customTools = customToolNames(body.tools);
  const streamOptions = optionalObject(body.stream_options, 'stream_options');
  const extras = readExtras(body);
  return {
    model,
    prompt: { kind: 'chat', chat },
    sampling: readSampling(body),
    outputTokensMax:
      optionalCount(body.max_completion_tokens, 'max_completion_tokens', 1) ??
      optionalCount(body.max_tokens, 'max_tokens', 1),
    stop: stopStrings(body.stop, 'stop'),
    shape: {
      choices: readChoices(body),
      logprobs: readLogprobs(body),
      format: formatOf(chat, readFormat(body), { many }),
      frame: NO_FRAME,
      ...(!many && { oneCall: true }),
    },
    ...(extras !== undefined && { extras }),
    hints: readHints(body),
    stream: optionalBoolean(body.stream, 'stream') ?? false,
    includeUsage:
      optionalBoolean(streamOptions?.include_usage, 'stream_options.include_usage') ?? false,
    names: readNames(body),
    ...(customTools !== undefined && { customTools }),
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
      case 'file':
        return readFile(part.file, `${at}.file`);
      default:
        throw wrong(`${at}.type`, 'must be text, refusal, image_url or file');
    }
  });
}

/** A file of text is shown as such, under its name; any other goes on as it came. */
function readFile(input: unknown, where: string): Content {
  const file = object(input, where);
  const name = optionalString(file.filename, `${where}.filename`);
  if (file.file_id !== undefined && file.file_id !== null) {
    throw wrong(`${where}.file_id`, 'names a file that is not kept here; send its data');
  }
  return fileContent(string(file.file_data, `${where}.file_data`), name);
}

/** What the template is told beside the conversation: `enable_thinking`, effort, and vLLM's free words. */
function readTemplateArguments(
  body: Json,
): Pick<Chat, 'thinking' | 'effort' | 'templateArguments'> {
  const at = 'chat_template_kwargs';
  const { enable_thinking, ...others } = optionalObject(body.chat_template_kwargs, at) ?? {};
  const enabled = optionalBoolean(enable_thinking, `${at}.enable_thinking`);
  const effort = optionalString(body.reasoning_effort, 'reasoning_effort');
  return {
    thinking: enabled ?? (effort === 'none' ? false : undefined),
    ...(effort !== undefined && effort !== 'none' && { effort }),
    ...(Object.keys(others).length > 0 && { templateArguments: others }),
  };
}

/** `top_logprobs` counts only beside `logprobs`, as the API defines. */
function readLogprobs(body: Json): number | undefined {
  const top = readTop(body.top_logprobs, 'top_logprobs');
  if (optionalBoolean(body.logprobs, 'logprobs')) return top ?? 0;
  if (top !== undefined && top > 0) throw wrong('top_logprobs', 'needs logprobs to be true');
  return undefined;
}

function readNames(body: Json): { field: string; value: string }[] {
  const names: { field: string; value: string }[] = [];
  for (const field of ['session_id', 'prompt_cache_key']) {
    const value = optionalString(body[field], field);
    if (value !== undefined && value !== '') names.push({ field, value });
  }
  return names;
}
