/**
 * What OpenAI's Responses API sends as `input` and `instructions`, as a conversation. Ids of items are
 * not read: they are made up anew from session to session (measured on Codex: without them two sessions
 * in one folder share all but the prompt). What a conversation of ours cannot express is refused with
 * the field's name; what only its vendor could run or read leaves no trace.
 */
import type { Content, Message, ToolCall } from '../model/request.ts';
import { type Json, object, optionalList, optionalString, string, wrong } from './fields.ts';
import { readClientCall, readClientResult, resultCallId } from './responses-client-tools.ts';
import { readResponsesContent } from './responses-content.ts';
import { customArguments } from './responses-custom-input.ts';
import { itemType } from './responses-items.ts';
import { unpackReasoning } from './responses-reasoning.ts';
import { readSummary } from './responses-summary.ts';
import { addFoundTools, flatName, type ReadTools } from './responses-tools.ts';

type Assistant = Extract<Message, { role: 'assistant' }>;

/** What a vendor's own tools did: whatever came of it for the conversation stands in its messages. */
const OF_VENDORS = new Set([
  'web_search_call',
  'file_search_call',
  'image_generation_call',
  'code_interpreter_call',
  'mcp_list_tools',
  'mcp_call',
  'mcp_approval_request',
  'mcp_approval_response',
]);

/**
 * The messages of a request whose history stands in its `input` (references to what is kept elsewhere
 * were resolved before). `tools` learns of those that a search found on the way. Throws a
 * `GatewayError` that names the field.
 */
export function readMessages(body: Json, tools: ReadTools): Message[] {
  for (const field of ['previous_response_id', 'conversation', 'prompt']) {
    if (body[field] === undefined || body[field] === null) continue;
    throw wrong(field, 'refers to what is kept elsewhere; send the whole conversation as input');
  }
  const instructions = optionalString(body.instructions, 'instructions');
  const messages = readInput(body.input, tools);
  if (instructions !== undefined) {
    messages.unshift({ role: 'system', content: [text(instructions)] });
  }
  return messages;
}

function readInput(input: unknown, tools: ReadTools): Message[] {
  if (typeof input === 'string') return [{ role: 'user', content: [text(input)] }];
  const items = Array.isArray(input) ? input : [];
  if (items.length === 0) throw wrong('input', 'must be a string or a list of at least one item');
  const messages: Message[] = [];
  const calls = new Set<string>();
  items.forEach((item, i) => {
    addItem(messages, object(item, `input[${i}]`), { where: `input[${i}]`, tools, calls });
  });
  return messages;
}

interface Place {
  where: string;
  tools: ReadTools;
  /** Ids of all calls before it. */
  calls: Set<string>;
}

/** Reasoning, text and calls of one answer come as items of their own; to us they are one message. */
function addItem(messages: Message[], item: Json, place: Place): void {
  const { where } = place;
  const type = itemType(item, where);
  switch (type) {
    case 'message':
      return addMessage(messages, item, where);
    case 'reasoning':
      return addReasoning(messages, item, where);
    case 'compaction':
      messages.push({ role: 'user', content: [text(readSummary(item, where))] });
      return;
    case 'item_reference':
      throw wrong(`${where}`, 'refers to an item that is not kept here; send the item itself');
    case 'function_call_output':
    case 'custom_tool_call_output':
      messages.push(toolMessage(item, readResponsesContent(item.output, `${where}.output`), place));
      return;
    default:
      addOther(messages, item, place);
  }
}

/** Calls of any kind, and results in a shape of their own. */
function addOther(messages: Message[], item: Json, place: Place): void {
  const { where, tools, calls } = place;
  const type = String(item.type);
  if (type === 'tool_search_output') addFoundTools(tools, item.tools, `${where}.tools`);
  if (OF_VENDORS.has(type) || item.execution === 'server') return;
  const call = readCall(item, where);
  if (call !== undefined) {
    calls.add(call.id);
    answer(messages, () => true).toolCalls.push(call);
    return;
  }
  const result = readClientResult(item, where);
  if (result !== undefined) {
    messages.push(toolMessage(item, [text(result)], place));
    return;
  }
  const quoted = JSON.stringify(type.slice(0, 40));
  throw wrong(`${where}.type`, `is ${quoted}, which no conversation here can hold`);
}

function addMessage(messages: Message[], item: Json, where: string): void {
  const content = readResponsesContent(item.content, `${where}.content`);
  switch (item.role) {
    case 'system':
    case 'developer':
      messages.push({ role: 'system', content });
      return;
    case 'user':
      messages.push({ role: 'user', content });
      return;
    case 'assistant':
      answer(messages, (last) => last.toolCalls.length === 0).content.push(...content);
      return;
    default:
      throw wrong(`${where}.role`, 'must be system, developer, user or assistant');
  }
}

function addReasoning(messages: Message[], item: Json, where: string): void {
  const text = reasoningText(item, where);
  if (text === undefined) return;
  const message = answer(messages, (last) => last.content.length + last.toolCalls.length === 0);
  message.reasoning = message.reasoning === undefined ? text : `${message.reasoning}\n${text}`;
}

/** The model's own words as far as they can be had; of what another vendor wrote, its summary. */
function reasoningText(item: Json, where: string): string | undefined {
  const own = texts(item.content, `${where}.content`);
  if (own.length > 0) return own.join('\n');
  const packed = optionalString(item.encrypted_content, `${where}.encrypted_content`);
  const unpacked = packed && unpackReasoning(packed);
  if (unpacked) return unpacked;
  const summary = texts(item.summary, `${where}.summary`);
  return summary.length > 0 ? summary.join('\n\n') : undefined;
}

function texts(parts: unknown, where: string): string[] {
  return optionalList(parts, where).map((part, i) => {
    const at = `${where}[${i}]`;
    return string(object(part, at).text, `${at}.text`);
  });
}

/** The last message, if it is an answer that may go on so; else a new one. */
function answer(messages: Message[], mayGoOn: (last: Assistant) => boolean): Assistant {
  const last = messages.at(-1);
  if (last?.role === 'assistant' && mayGoOn(last)) return last;
  const message: Assistant = {
    role: 'assistant',
    content: [],
    reasoning: undefined,
    toolCalls: [],
  };
  messages.push(message);
  return message;
}

/** A call of any kind, under the name that the model knows; undefined where the item is none. */
function readCall(item: Json, where: string): ToolCall | undefined {
  if (item.type === 'function_call' || item.type === 'custom_tool_call') {
    const isCustom = item.type === 'custom_tool_call';
    const namespace = optionalString(item.namespace, `${where}.namespace`);
    return {
      id: string(item.call_id, `${where}.call_id`),
      name: flatName({ namespace, name: string(item.name, `${where}.name`) }),
      argumentsJson: isCustom
        ? customArguments(string(item.input, `${where}.input`))
        : string(item.arguments, `${where}.arguments`),
    };
  }
  const call = readClientCall(item, where);
  if (call === undefined) return undefined;
  const id = optionalString(item.call_id, `${where}.call_id`);
  return { ...call, id: id ?? string(item.id, `${where}.id`) };
}

/** A result without its call would be an answer to nobody, as OpenAI’s API says too. */
function toolMessage(item: Json, content: Content[], { where, calls }: Place): Message {
  const toolCallId = resultCallId(item, where);
  if (!calls.has(toolCallId)) {
    throw wrong(`${where}.call_id`, 'names no call that stands before it in the conversation');
  }
  return { role: 'tool', content, toolCallId, isError: failed(item) };
}

/** Only some results say so; the others tell it in their words. */
function failed(item: Json): boolean {
  return item.type === 'apply_patch_call_output' && item.status === 'failed';
}

function text(it: string): Content {
  return { kind: 'text', text: it };
}
