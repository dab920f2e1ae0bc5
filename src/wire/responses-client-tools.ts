/**
 * Tools of the Responses API that have a type of their own and are run by the client: to a model they
 * are functions, to the client calls of their own shape.
 *
 *   tool            call               the call's own field     result
 *   local_shell     local_shell_call   action {command: []}     output, a string
 *   shell           shell_call         action {commands: []}    output [{stdout, stderr, outcome}]
 *   apply_patch     apply_patch_call   operation {type, path}   output, a string, and a status
 *   tool_search     tool_search_call   arguments {}             tools []
 */
import {
  type Json,
  list,
  object,
  optionalObject,
  optionalString,
  string,
  wrong,
} from './fields.ts';

export type ClientToolKind = keyof typeof CLIENT_TOOLS;

interface ClientTool {
  description: string;
  /** JSON Schema of what the model is to say. */
  parameters: Json;
  /** The field of the call that holds it. */
  field: string;
  /** What the call holds there besides. */
  fixed: Json;
}

export const CLIENT_TOOLS = {
  local_shell: {
    description: 'Runs a command on the user’s machine and returns its output.',
    parameters: parameters({
      command: { type: 'array', items: { type: 'string' }, description: 'The program, its words.' },
      timeout_ms: { type: 'integer' },
      working_directory: { type: 'string' },
    }),
    field: 'action',
    fixed: { type: 'exec', env: {} },
  },
  shell: {
    description: 'Runs shell commands on the user’s machine and returns their output.',
    parameters: parameters({
      commands: { type: 'array', items: { type: 'string' } },
      timeout_ms: { type: 'integer' },
      max_output_length: { type: 'integer' },
    }),
    field: 'action',
    fixed: {},
  },
  apply_patch: {
    description: 'Creates, updates or deletes one file by a diff in the V4A format.',
    parameters: {
      type: 'object',
      properties: {
        type: { enum: ['create_file', 'update_file', 'delete_file'] },
        path: { type: 'string' },
        diff: { type: 'string', description: 'Not for delete_file.' },
      },
      required: ['type', 'path'],
      additionalProperties: false,
    },
    field: 'operation',
    fixed: {},
  },
  tool_search: {
    description: 'Searches for further tools; those found can be called from then on.',
    parameters: parameters({ query: { type: 'string' } }),
    field: 'arguments',
    fixed: {},
  },
} satisfies Record<string, ClientTool>;

/** The first property is the one that must be there. */
function parameters(properties: Record<string, Json>): Json {
  const required = Object.keys(properties).slice(0, 1);
  return { type: 'object', properties, required, additionalProperties: false };
}

/** Searches and shells of the vendor's have the same types; these say so. */
export function isClientTool(tool: Json): boolean {
  const type = String(tool.type);
  if (!Object.hasOwn(CLIENT_TOOLS, type)) return false;
  if (type === 'tool_search') return tool.execution === 'client';
  const environment = tool.environment as { type?: unknown } | null | undefined;
  return type !== 'shell' || environment == null || environment.type === 'local';
}

export function clientCallType(kind: ClientToolKind): string {
  return `${kind}_call`;
}

/** What a call says besides its ids, made of the arguments as the model wrote them. */
export function clientCallFields(kind: ClientToolKind, argumentsJson: string): Json {
  const { field, fixed } = CLIENT_TOOLS[kind];
  const execution = kind === 'tool_search' ? { execution: 'client' } : {};
  return { ...execution, [field]: { ...fixed, ...parsedObject(argumentsJson) } };
}

/** An item that is such a call, as the model knows it; undefined where it is none. */
export function readClientCall(
  item: Json,
  where: string,
): { name: ClientToolKind; argumentsJson: string } | undefined {
  const type = String(item.type);
  const name = type.replace(/_call$/, '') as ClientToolKind;
  if (name === type || !Object.hasOwn(CLIENT_TOOLS, name)) return undefined;
  const { field, fixed }: ClientTool = CLIENT_TOOLS[name];
  const said = object(item[field], `${where}.${field}`);
  const own = Object.entries(said).filter(
    ([key, value]) => value !== null && JSON.stringify(value) !== JSON.stringify(fixed[key]),
  );
  return { name, argumentsJson: JSON.stringify(Object.fromEntries(own)) };
}

/** An item that is the result of such a call, as text; undefined where it is none. */
export function readClientResult(item: Json, where: string): string | undefined {
  switch (item.type) {
    case 'local_shell_call_output':
    case 'apply_patch_call_output':
      return (
        optionalString(item.output, `${where}.output`) ||
        optionalString(item.status, `${where}.status`) ||
        ''
      );
    case 'shell_call_output':
      return list(item.output, `${where}.output`)
        .map((it, i) => shellText(it, i, where))
        .join('\n');
    case 'tool_search_output':
      return JSON.stringify(list(item.tools, `${where}.tools`));
    default:
      return undefined;
  }
}

/** The id of the call that a result belongs to: `local_shell_call_output` has it as its own. */
export function resultCallId(item: Json, where: string): string {
  const id = optionalString(item.call_id, `${where}.call_id`);
  if (id !== undefined) return id;
  if (item.type !== 'local_shell_call_output') throw wrong(`${where}.call_id`, 'must be a string');
  return string(item.id, `${where}.id`);
}

function shellText(value: unknown, i: number, where: string): string {
  const at = `${where}.output[${i}]`;
  const { stdout, stderr, outcome } = object(value, at);
  const ended = optionalObject(outcome, `${at}.outcome`);
  const code = ended?.type === 'exit' ? ended.exit_code : undefined;
  return [
    optionalString(stdout, `${at}.stdout`),
    optionalString(stderr, `${at}.stderr`),
    ended?.type === 'timeout' ? '[timed out]' : undefined,
    typeof code === 'number' && code !== 0 ? `[exit code ${code}]` : undefined,
  ]
    .filter((it) => it)
    .join('\n');
}

/** Models may write what is no object; then the client sees a call without words and says so. */
function parsedObject(json: string): Json {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Json)
      : {};
  } catch {
    return {};
  }
}
