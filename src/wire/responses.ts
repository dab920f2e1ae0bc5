/**
 * POST /v1/responses: OpenAI's Responses API. The conversation comes with each request; whoever keeps
 * responses puts what came before in front of `input` and says so with `echoing`.
 */
import type { Chat, Format } from '../model/request.ts';
import { FREE } from '../model/request.ts';
import {
  type Json,
  object,
  optionalBoolean,
  optionalCount,
  optionalList,
  optionalObject,
  optionalString,
  string,
  wrong,
} from './fields.ts';
import { readHints, readSampling } from './hints.ts';
import { openaiError } from './openai-error.ts';
import { readEcho } from './responses-echo.ts';
import { ResponsesFramer } from './responses-frames.ts';
import { readMessages } from './responses-input.ts';
import { endedResponse } from './responses-object.ts';
import { readToolChoice, readTools, type ToolFaces } from './responses-tools.ts';
import { formatOf, readTop } from './shape.ts';
import { dispatching } from './tool-dispatch.ts';
import type { Ask, Wire } from './wire.ts';

export const openaiResponses: Wire = {
  name: 'openai-responses',
  parse,
  framer: (ask, opening) => dispatching(ask, new ResponsesFramer(ask, opening)),
  whole: endedResponse,
  error: openaiError,
};

const ENCRYPTED = 'reasoning.encrypted_content';
const LOGPROBS = 'message.output_text.logprobs';

function parse(input: unknown): Ask {
  const body = object(input, 'the body');
  if (optionalBoolean(body.background, 'background')) {
    throw wrong('background', 'is not served here; leave the request open instead');
  }
  const reasoning = optionalObject(body.reasoning, 'reasoning') ?? {};
  const { chat, faces, left } = readChat(
    body,
    optionalString(reasoning.effort, 'reasoning.effort'),
  );
  const many = optionalBoolean(body.parallel_tool_calls, 'parallel_tool_calls') ?? true;
  const included = optionalList(body.include, 'include');
  const top = readTop(body.top_logprobs, 'top_logprobs') ?? 0;
  const sampling = readSampling(body);
  return {
    model: chat.model,
    prompt: { kind: 'chat', chat },
    sampling,
    outputTokensMax: optionalCount(body.max_output_tokens, 'max_output_tokens', 1),
    stop: [],
    shape: {
      ...FREE,
      logprobs: top > 0 || included.includes(LOGPROBS) ? top : undefined,
      format: formatOf(chat, readTextFormat(body), { many }),
      ...(!many && { oneCall: true }),
    },
    hints: readHints(body),
    stream: optionalBoolean(body.stream, 'stream') ?? false,
    includeUsage: true,
    names: readNames(body),
    responses: {
      echo: readEcho(body, sampling),
      faces,
      reasoningAs: isSummary(reasoning) ? 'summary' : 'content',
      packsReasoning: included.includes(ENCRYPTED),
      note: left.length === 0 ? undefined : leftOut(left),
    },
  };
}

function readChat(
  body: Json,
  effort: string | undefined,
): { chat: Chat; faces: ToolFaces; left: readonly string[] } {
  const model = string(body.model, 'model');
  const read = readTools(body.tools);
  const messages = readMessages(body, read);
  const chat: Chat = {
    model,
    messages,
    ...readToolChoice(body.tool_choice, read),
    thinking: effort === 'none' ? false : undefined,
    // What a client sends back it wants to stay: then the next prompt begins as this one.
    keepsReasoning: true,
    ...(effort !== undefined && { effort }),
  };
  return { chat, faces: read.faces, left: read.left };
}

function isSummary(reasoning: Json): boolean {
  const asked =
    optionalString(reasoning.summary, 'reasoning.summary') ??
    optionalString(reasoning.generate_summary, 'reasoning.generate_summary');
  return asked !== undefined && asked !== 'none';
}

function readTextFormat(body: Json): Format | undefined {
  const text = optionalObject(body.text, 'text');
  const format = optionalObject(text?.format, 'text.format');
  switch (format?.type) {
    case undefined:
    case 'text':
      return undefined;
    case 'json_object':
      return { kind: 'json' };
    case 'json_schema':
      return { kind: 'schema', schema: object(format.schema, 'text.format.schema') };
    default:
      throw wrong('text.format.type', 'must be text, json_object or json_schema');
  }
}

function readNames(body: Json): { field: string; value: string }[] {
  const value = optionalString(body.prompt_cache_key, 'prompt_cache_key');
  return value === undefined || value === '' ? [] : [{ field: 'prompt_cache_key', value }];
}

function leftOut(types: readonly string[]): string {
  const names = [...new Set(types)].slice(0, 16).join(', ');
  return `Only their vendor can run tools of these types, so they were left out: ${names}.`;
}
