/**
 * Arguments of formats that do not say what is a string: the tool's JSON schema decides. Where it is
 * silent, what reads as JSON or as a Python literal is that, and all else a string.
 */
import type { Tool } from '../../model/request.ts';
import { literalJson } from './python-literal.ts';

const TYPES = ['string', 'number', 'integer', 'boolean', 'null', 'object', 'array'] as const;
type Type = (typeof TYPES)[number];

/** Schema of one argument; undefined where the tool does not declare it. */
export function argumentSchema(tools: readonly Tool[], name: string, key: string): unknown {
  const properties = member(tools.find((tool) => tool.name === name)?.parameters, 'properties');
  return typeof properties === 'object' && properties !== null && Object.hasOwn(properties, key)
    ? member(properties, key)
    : undefined;
}

/** Whether a value can only be a string, so that it may leave before it is complete. */
export function isString(schema: unknown): boolean {
  const types = typesOf(schema);
  return types.size === 1 && types.has('string');
}

/** `text` as JSON; a string where nothing else fits, for the tool to complain about. */
export function typedJson(text: string, schema: unknown): string {
  const types = typesOf(schema);
  if (isString(schema)) return JSON.stringify(text);
  const json = valueJson(text.trim());
  const type = json === undefined ? 'string' : typeOf(json);
  const fits = types.size === 0 || types.has(type) || (type === 'integer' && types.has('number'));
  if (json === undefined || type === 'string' || !fits) return JSON.stringify(text);
  return json;
}

/** What is JSON stays as the model wrote it. */
function valueJson(text: string): string | undefined {
  try {
    JSON.parse(text);
    return text;
  } catch {
    // Not JSON: Python's way of writing it is tried.
  }
  const word = text.toLowerCase();
  return word === 'true' || word === 'false' ? word : literalJson(text);
}

function typeOf(json: string): Type {
  const value: unknown = JSON.parse(json);
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value as 'string' | 'boolean' | 'object';
}

/** None: anything. */
function typesOf(schema: unknown): Set<Type> {
  const stated = member(schema, 'type');
  const names = Array.isArray(stated) ? stated : [stated];
  const types = new Set(TYPES.filter((type) => names.includes(type)));
  for (const word of ['anyOf', 'oneOf']) {
    const options = member(schema, word);
    if (!Array.isArray(options)) continue;
    const each = options.map(typesOf);
    if (each.some(({ size }) => size === 0)) return new Set();
    for (const option of each) for (const type of option) types.add(type);
  }
  const values = member(schema, 'enum');
  if (types.size === 0 && Array.isArray(values)) {
    for (const value of values) types.add(typeOf(JSON.stringify(value)));
  }
  return types;
}

function member(object: unknown, key: string): unknown {
  if (typeof object !== 'object' || object === null) return undefined;
  return (object as Record<string, unknown>)[key];
}
