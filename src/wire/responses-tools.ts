/**
 * Tools of the Responses API as functions, which is all that models behind us can call:
 *
 *   function                     itself
 *   custom                       one string parameter, `input`; its grammar is told, not enforced
 *   namespace {tools}            each of them, by the name `namespace__tool`
 *   local_shell, shell,          functions of the same parameters: the client runs what is called
 *   apply_patch, tool_search
 *   web_search, file_search, …   left out: only their vendor can run them
 *
 * Calls go back under the name and in the shape that the client knows, its face.
 */
import type { Tool, ToolChoice } from '../model/request.ts';
import {
  type Json,
  list,
  object,
  optionalBoolean,
  optionalList,
  optionalObject,
  optionalString,
  string,
  wrong,
} from './fields.ts';
import { CLIENT_TOOLS, type ClientToolKind, isClientTool } from './responses-client-tools.ts';

/** A tool as the client knows it. */
export interface ToolFace {
  kind: 'function' | 'custom' | ClientToolKind;
  name: string;
  namespace: string | undefined;
}

/** Tools read from a request. */
export interface ReadTools {
  tools: Tool[];
  faces: ToolFaces;
  /** Types of those that only their vendor can run. */
  left: string[];
}

/** Faces by the names that the model knows. */
export class ToolFaces {
  readonly #faces = new Map<string, ToolFace>();

  add(face: ToolFace, where: string): string {
    const flat = flatName(face);
    const known = this.#faces.get(flat);
    if (known !== undefined && (known.kind !== face.kind || known.namespace !== face.namespace)) {
      throw wrong(where, `has the name of another tool, ${JSON.stringify(flat.slice(0, 128))}`);
    }
    this.#faces.set(flat, face);
    return flat;
  }

  /** What a model calls without being told of it goes out as a function; it may forget a namespace. */
  find(flat: string): ToolFace {
    const face = this.#faces.get(flat);
    if (face !== undefined) return face;
    const bare = [...this.#faces.values()].filter(({ name }) => name === flat);
    return bare.length === 1 ? bare[0] : { kind: 'function', name: flat, namespace: undefined };
  }

  has(flat: string): boolean {
    return this.#faces.has(flat);
  }
}

/** The name under which a model knows a tool. */
export function flatName({ namespace, name }: Pick<ToolFace, 'namespace' | 'name'>): string {
  return namespace === undefined ? name : `${namespace}__${name}`;
}

/** `tools` of a request. Throws a `GatewayError` that names the field. */
export function readTools(input: unknown): ReadTools {
  const given = optionalList(input, 'tools').map((value, i) => object(value, `tools[${i}]`));
  const read: ReadTools = { tools: [], faces: new ToolFaces(), left: [] };
  // The client searches among deferred tools itself, and then shows what it found.
  const isSearched = given.some((tool) => tool.type === 'tool_search' && isClientTool(tool));
  given.forEach((tool, i) => {
    addTool(read, tool, { where: `tools[${i}]`, namespace: undefined, isSearched });
  });
  return read;
}

/** Tools that came by a search: callable from then on, while the list at the start stays as it was. */
export function addFoundTools(read: ReadTools, input: unknown, where: string): void {
  const found: ReadTools = { tools: [], faces: read.faces, left: [] };
  list(input, where).forEach((value, i) => {
    const at = `${where}[${i}]`;
    addTool(found, object(value, at), { where: at, namespace: undefined, isSearched: false });
  });
  const known = new Set(read.tools.map(({ name }) => name));
  for (const tool of found.tools) {
    if (!known.has(tool.name)) read.tools.push({ ...tool, deferred: true });
  }
}

interface Place {
  where: string;
  namespace: { name: string; description: string | undefined; isFirst: boolean } | undefined;
  isSearched: boolean;
}

function addTool(read: ReadTools, tool: Json, place: Place): void {
  const { where, isSearched } = place;
  const type = string(tool.type, `${where}.type`);
  const isDeferred = optionalBoolean(tool.defer_loading, `${where}.defer_loading`) ?? false;
  if (type === 'namespace' && place.namespace === undefined) return addNamespace(read, tool, place);
  if (type !== 'function' && type !== 'custom') {
    if (isClientTool(tool)) addClientTool(read, tool, where);
    else read.left.push(type.slice(0, 40));
    return;
  }
  const face: ToolFace = {
    kind: type,
    name: string(tool.name, `${where}.name`),
    namespace: place.namespace?.name,
  };
  const name = read.faces.add(face, `${where}.name`);
  const described = type === 'function' ? readFunction(tool, where) : readCustom(tool, where);
  const about = place.namespace?.isFirst ? place.namespace.description : undefined;
  const description = [about, described.description].filter((it) => it).join('\n\n');
  read.tools.push({
    ...described,
    name,
    description: description || undefined,
    ...(isDeferred && isSearched && { deferred: true }),
  });
}

/** What a namespace says of all its tools stands with the first. */
function addNamespace(read: ReadTools, tool: Json, place: Place): void {
  const { where } = place;
  const name = string(tool.name, `${where}.name`);
  const description = optionalString(tool.description, `${where}.description`);
  list(tool.tools, `${where}.tools`).forEach((value, i) => {
    const at = `${where}.tools[${i}]`;
    const namespace = { name, description, isFirst: i === 0 };
    addTool(read, object(value, at), { ...place, where: at, namespace });
  });
}

function addClientTool(read: ReadTools, tool: Json, where: string): void {
  const kind = tool.type as ClientToolKind;
  const name = read.faces.add({ kind, name: kind, namespace: undefined }, where);
  const known = CLIENT_TOOLS[kind];
  read.tools.push({
    name,
    description: optionalString(tool.description, `${where}.description`) ?? known.description,
    parameters: optionalObject(tool.parameters, `${where}.parameters`) ?? known.parameters,
  });
}

function readFunction(tool: Json, where: string): Omit<Tool, 'name'> {
  return {
    description: optionalString(tool.description, `${where}.description`),
    parameters: optionalObject(tool.parameters, `${where}.parameters`),
  };
}

function readCustom(tool: Json, where: string): Omit<Tool, 'name'> {
  const format = optionalObject(tool.format, `${where}.format`);
  const described = optionalString(tool.description, `${where}.description`);
  const grammar =
    format?.type === 'grammar'
      ? `The input follows this ${string(format.syntax, `${where}.format.syntax`)} grammar:\n` +
        string(format.definition, `${where}.format.definition`)
      : undefined;
  return {
    description: [described, grammar].filter((it) => it).join('\n\n') || undefined,
    parameters: {
      type: 'object',
      properties: { input: { type: 'string', description: 'The whole input, as plain text.' } },
      required: ['input'],
      additionalProperties: false,
    },
  };
}

/**
 * `tool_choice`, and the tools it leaves. Which tools may be called is enforced where one must be; where
 * none has to be, the others are not shown, for a model that writes freely calls what it sees.
 */
export function readToolChoice(
  input: unknown,
  { tools, ...known }: ReadTools,
): { toolChoice: ToolChoice; tools: Tool[] } {
  const at = 'tool_choice';
  if (input === undefined || input === null) return { toolChoice: { kind: 'auto' }, tools };
  if (input === 'auto' || input === 'none' || input === 'required') {
    return { toolChoice: { kind: input }, tools };
  }
  if (typeof input === 'string') throw wrong(at, 'must be auto, none, required or a tool');
  const choice = object(input, at);
  if (choice.type !== 'allowed_tools') {
    return { toolChoice: { kind: 'named', name: namedTool(choice, at, known) }, tools };
  }
  const allowed = list(choice.tools, `${at}.tools`).flatMap((value, i) => {
    const where = `${at}.tools[${i}]`;
    const tool = object(value, where);
    if (typeof tool.type === 'string' && known.left.includes(tool.type)) return [];
    return [namedTool(tool, where, known)];
  });
  if (choice.mode === 'required')
    return { toolChoice: { kind: 'required', names: allowed }, tools };
  if (choice.mode === 'none') return { toolChoice: { kind: 'none' }, tools };
  if (choice.mode !== 'auto') throw wrong(`${at}.mode`, 'must be auto, none or required');
  return {
    toolChoice: { kind: 'auto' },
    tools: tools.filter(({ name }) => allowed.includes(name)),
  };
}

function namedTool(tool: Json, where: string, { faces, left }: Omit<ReadTools, 'tools'>): string {
  const type = string(tool.type, `${where}.type`);
  if (left.includes(type)) {
    throw wrong(`${where}.type`, `is ${JSON.stringify(type)}, which only its vendor can run`);
  }
  if (type !== 'function' && type !== 'custom') {
    if (faces.has(type)) return type;
    throw wrong(`${where}.type`, `is ${JSON.stringify(type.slice(0, 40))}, which is not in tools`);
  }
  const name = string(tool.name, `${where}.name`);
  const namespace = optionalString(tool.namespace, `${where}.namespace`);
  return flatName({ namespace, name });
}
