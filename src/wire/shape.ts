/**
 * What a request says of the shape of its answers: how many, how likely, in which format. OpenAI's
 * fields, and vLLM's `structured_outputs` with its older names.
 */
import { unreachable } from '../base/assert.ts';
import { type AnswerFrame, type Chat, type Format, NO_FRAME, type Tool } from '../model/request.ts';
import {
  type Json,
  list,
  object,
  optionalBoolean,
  optionalCount,
  optionalObject,
  optionalString,
  string,
  wrong,
} from './fields.ts';

export const LOGPROBS_MAX = 20;
const CHOICES_MAX = 128;

export function readChoices(body: Json): number {
  const choices = optionalCount(body.n, 'n', 1) ?? 1;
  if (choices > CHOICES_MAX) throw wrong('n', `must be at most ${CHOICES_MAX}, but is ${choices}`);
  return choices;
}

export function readTop(value: unknown, where: string): number | undefined {
  const count = optionalCount(value, where, 0);
  if (count !== undefined && count > LOGPROBS_MAX) {
    throw wrong(where, `must be at most ${LOGPROBS_MAX}, but is ${count}`);
  }
  return count;
}

export function readFormat(body: Json): Format | undefined {
  const format = optionalObject(body.response_format, 'response_format');
  if (format !== undefined && format.type !== 'text') return readResponseFormat(format);
  const given = optionalObject(body.structured_outputs, 'structured_outputs');
  if (given !== undefined) return readStructured(given, 'structured_outputs.');
  const { guided_json: json, guided_regex: regex, guided_choice: choice } = body;
  return readStructured({ json, regex, choice, grammar: body.guided_grammar }, 'guided_');
}

function readResponseFormat(format: Json): Format {
  if (format.type === 'json_object') return { kind: 'json' };
  if (format.type !== 'json_schema') {
    throw wrong('response_format.type', 'must be text, json_object or json_schema');
  }
  const at = 'response_format.json_schema';
  const { schema } = object(format.json_schema, at);
  return { kind: 'schema', schema: object(schema, `${at}.schema`) };
}

function readStructured(given: Json, at: string): Format | undefined {
  const formats: Format[] = [];
  const { json, choice } = given;
  if (json !== undefined && json !== null) {
    const schema = typeof json === 'string' ? parsedSchema(json, `${at}json`) : json;
    formats.push({ kind: 'schema', schema: object(schema, `${at}json`) });
  }
  const pattern = optionalString(given.regex, `${at}regex`);
  if (pattern !== undefined) formats.push({ kind: 'regex', pattern });
  if (choice !== undefined && choice !== null) {
    const choices = list(choice, `${at}choice`).map((one, i) => string(one, `${at}choice[${i}]`));
    formats.push({ kind: 'choice', choices });
  }
  const gbnf = optionalString(given.grammar, `${at}grammar`);
  if (gbnf !== undefined) formats.push({ kind: 'grammar', gbnf });
  if (optionalBoolean(given.json_object, `${at}json_object`)) formats.push({ kind: 'json' });
  if (formats.length > 1) throw wrong(`${at}json`, 'must stand alone: an answer has one format');
  return formats[0];
}

function parsedSchema(json: string, where: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw wrong(where, 'must be a JSON Schema, or one as a string');
  }
}

/** What the choice of tools asks of the answer goes before what its format does. */
export function formatOf(
  { tools, toolChoice }: Pick<Chat, 'tools' | 'toolChoice'>,
  format: Format | undefined,
  { many }: { many: boolean },
): Format | undefined {
  switch (toolChoice.kind) {
    case 'auto':
      return format;
    case 'none':
      return format ?? (tools.length > 0 ? { kind: 'noCalls' } : undefined);
    case 'required': {
      const { names } = toolChoice;
      const callable =
        names === undefined ? tools : tools.filter(({ name }) => names.includes(name));
      if (callable.length === 0) {
        const none = names === undefined ? 'there are no tools' : 'none of those it names is there';
        throw wrong('tool_choice', `is required, but ${none}`);
      }
      return { kind: 'calls', tools: callable, many };
    }
    case 'named': {
      const named = tools.filter(({ name }) => name === toolChoice.name);
      if (named.length === 0) {
        const name = JSON.stringify(toolChoice.name.slice(0, 64));
        throw wrong('tool_choice', `names the tool ${name}, which is not among tools`);
      }
      return { kind: 'calls', tools: named, many: false };
    }
    default:
      return unreachable(toolChoice);
  }
}

/** The same, as a worker of ours reads it. */
export function formatFields(format: Format | undefined): Json {
  switch (format?.kind) {
    case undefined:
      return {};
    case 'json':
      return { structured_outputs: { json_object: true } };
    case 'schema':
      return { structured_outputs: { json: format.schema } };
    case 'regex':
      return { structured_outputs: { regex: format.pattern } };
    case 'choice':
      return { structured_outputs: { choice: format.choices } };
    case 'grammar':
      return { structured_outputs: { grammar: format.gbnf } };
    case 'calls':
      return {
        tools: format.tools.map(toolField),
        tool_choice: 'required',
        parallel_tool_calls: format.many,
      };
    case 'noCalls':
      return { tool_choice: 'none' };
    default:
      return unreachable(format);
  }
}

export function toolField({ name, description, parameters }: Tool): Json {
  return { type: 'function', function: { name, description, parameters } };
}

/** `nvext.answer_frame`: a gateway knows it from the chat, a worker sees token ids only. */
export function readFrame(input: unknown): AnswerFrame {
  const at = 'nvext.answer_frame';
  const frame = optionalObject(input, at);
  const reasoning = optionalObject(frame?.reasoning, `${at}.reasoning`);
  const calls = optionalObject(frame?.calls, `${at}.calls`);
  if (frame === undefined) return NO_FRAME;
  const text = (of: Json, part: string, key: string) => string(of[key], `${at}.${part}.${key}`);
  return {
    reasoning: reasoning && {
      open: text(reasoning, 'reasoning', 'open'),
      close: text(reasoning, 'reasoning', 'close'),
      isOpen: optionalBoolean(reasoning.isOpen, `${at}.reasoning.isOpen`) ?? false,
    },
    calls: calls && {
      open: text(calls, 'calls', 'open'),
      close: text(calls, 'calls', 'close'),
      marker: text(calls, 'calls', 'marker'),
    },
  };
}
