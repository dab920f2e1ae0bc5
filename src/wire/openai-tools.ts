/**
 * Tools and the choice of them, as OpenAI's chat completions have them. Models behind us call functions:
 * a custom tool, which takes plain text, is one of a single string parameter.
 */
import type { Tool, ToolCall, ToolChoice } from '../model/request.ts';
import {
  type Json,
  list,
  object,
  optionalList,
  optionalObject,
  optionalString,
  string,
  wrong,
} from './fields.ts';
import { customArguments } from './responses-custom-input.ts';

/** Tools of other types are the vendor's own: a model behind us cannot call them. */
export function readTool(input: unknown, i: number): Tool[] {
  const where = `tools[${i}]`;
  const tool = object(input, where);
  if (tool.type === 'custom') return [readCustom(object(tool.custom, `${where}.custom`), where)];
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

/** Names of those that take plain text; undefined where there are none. */
export function customToolNames(input: unknown): ReadonlySet<string> | undefined {
  const names = optionalList(input, 'tools').flatMap((tool) => {
    const { type, custom } = tool as { type?: unknown; custom?: { name: string } };
    return type === 'custom' && custom !== undefined ? [custom.name] : [];
  });
  return names.length === 0 ? undefined : new Set(names);
}

/** Its grammar is told, not enforced. */
function readCustom(custom: Json, where: string): Tool {
  const at = `${where}.custom`;
  const format = optionalObject(custom.format, `${at}.format`);
  const described = optionalString(custom.description, `${at}.description`);
  let grammar: string | undefined;
  if (format?.type === 'grammar') {
    const { syntax, definition } = object(format.grammar, `${at}.format.grammar`);
    const kind = string(syntax, `${at}.format.grammar.syntax`);
    const rules = string(definition, `${at}.format.grammar.definition`);
    grammar = `The input follows this ${kind} grammar:\n${rules}`;
  }
  return {
    name: string(custom.name, `${at}.name`),
    description: [described, grammar].filter((it) => it).join('\n\n') || undefined,
    parameters: {
      type: 'object',
      properties: { input: { type: 'string', description: 'The whole input, as plain text.' } },
      required: ['input'],
      additionalProperties: false,
    },
  };
}

export function readToolCall(input: unknown, where: string): ToolCall {
  const call = object(input, where);
  const id = optionalString(call.id, `${where}.id`) ?? '';
  if (call.type === 'custom') {
    const at = `${where}.custom`;
    const custom = object(call.custom, at);
    const argumentsJson = customArguments(string(custom.input, `${at}.input`));
    return { id, name: string(custom.name, `${at}.name`), argumentsJson };
  }
  const fn = object(call.function, `${where}.function`);
  return {
    id,
    name: string(fn.name, `${where}.function.name`),
    argumentsJson: optionalString(fn.arguments, `${where}.function.arguments`) ?? '',
  };
}

/**
 * `tool_choice`, and the tools it leaves. Which tools may be called is enforced where one must be; where
 * none has to be, the others are not shown, for a model that writes freely calls what it sees.
 */
export function readToolChoice(
  input: unknown,
  tools: readonly Tool[] = [],
): { toolChoice: ToolChoice; tools: Tool[] } {
  const all = [...tools];
  if (input === undefined || input === null || input === 'auto') {
    return { toolChoice: { kind: 'auto' }, tools: all };
  }
  if (input === 'none' || input === 'required') return { toolChoice: { kind: input }, tools: all };
  if (typeof input === 'string')
    throw wrong('tool_choice', 'must be auto, none, required or a function');
  const choice = object(input, 'tool_choice');
  if (choice.type !== 'allowed_tools') {
    return { toolChoice: { kind: 'named', name: namedTool(choice, 'tool_choice') }, tools: all };
  }
  const at = 'tool_choice.allowed_tools';
  const allowed = object(choice.allowed_tools, at);
  const names = list(allowed.tools, `${at}.tools`).map((tool, i) =>
    namedTool(object(tool, `${at}.tools[${i}]`), `${at}.tools[${i}]`),
  );
  if (allowed.mode === 'required') return { toolChoice: { kind: 'required', names }, tools: all };
  if (allowed.mode !== 'auto') throw wrong(`${at}.mode`, 'must be auto or required');
  return { toolChoice: { kind: 'auto' }, tools: all.filter(({ name }) => names.includes(name)) };
}

function namedTool(tool: Json, where: string): string {
  const field = tool.type === 'custom' ? 'custom' : 'function';
  return string(object(tool[field], `${where}.${field}`).name, `${where}.${field}.name`);
}
