/** Tools and the choice of them, as OpenAI's chat completions have them. */
import type { Tool, ToolChoice } from '../model/request.ts';
import { object, optionalObject, optionalString, string, wrong } from './fields.ts';

/** Tools that are no functions are the vendor's own: a model behind us cannot call them. */
export function readTool(input: unknown, i: number): Tool[] {
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

export function readToolChoice(input: unknown): ToolChoice {
  if (input === undefined || input === null || input === 'auto') return { kind: 'auto' };
  if (input === 'none' || input === 'required') return { kind: input };
  if (typeof input === 'string')
    throw wrong('tool_choice', 'must be auto, none, required or a function');
  const fn = object(object(input, 'tool_choice').function, 'tool_choice.function');
  return { kind: 'named', name: string(fn.name, 'tool_choice.function.name') };
}
