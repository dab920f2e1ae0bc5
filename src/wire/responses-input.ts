/**
 * What OpenAI's Responses API sends as `input`, `instructions` and `tools`, as a conversation. Ids of
 * items are not read: they are made up anew from session to session (measured on Codex: without them two
 * sessions in one folder share all but the prompt). What a conversation of ours cannot express is
 * refused with the field's name, for a count without it would be wrong.
 */
import type { Chat, Content, Message, Tool, ToolCall, ToolChoice } from '../model/request.ts';
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

type Assistant = Extract<Message, { role: 'assistant' }>;

/** Throws a `GatewayError` that names the field. */
export function readResponsesInput(body: Json): Chat {
  for (const field of ['previous_response_id', 'conversation', 'prompt']) {
    if (body[field] === undefined || body[field] === null) continue;
    throw wrong(field, 'refers to what is kept elsewhere; send the whole conversation as input');
  }
  const messages = readInput(body.input);
  const instructions = optionalString(body.instructions, 'instructions');
  if (instructions !== undefined)
    messages.unshift({ role: 'system', content: [text(instructions)] });
  return {
    model: string(body.model, 'model'),
    messages,
    tools: optionalList(body.tools, 'tools').map(readTool),
    toolChoice: readToolChoice(body.tool_choice),
    thinking: optionalObject(body.reasoning, 'reasoning')?.effort === 'none' ? false : undefined,
  };
}

function readInput(input: unknown): Message[] {
  if (typeof input === 'string') return [{ role: 'user', content: [text(input)] }];
  const items = Array.isArray(input) ? input : [];
  if (items.length === 0) throw wrong('input', 'must be a string or a list of at least one item');
  const messages: Message[] = [];
  items.forEach((item, i) => {
    addItem(messages, object(item, `input[${i}]`), `input[${i}]`);
  });
  return messages;
}

/** Reasoning, text and calls of one answer come as items of their own; to us they are one message. */
function addItem(messages: Message[], item: Json, where: string): void {
  switch (item.type ?? 'message') {
    case 'message':
      return addMessage(messages, item, where);
    case 'reasoning':
      return addReasoning(messages, item, where);
    case 'function_call':
      answer(messages, () => true).toolCalls.push(readCall(item, where));
      return;
    case 'function_call_output':
      messages.push({
        role: 'tool',
        content: readContent(item.output, `${where}.output`),
        toolCallId: string(item.call_id, `${where}.call_id`),
        isError: false,
      });
      return;
    default:
      throw wrong(`${where}.type`, `is ${quoted(item.type)}, which no conversation here can hold`);
  }
}

function addMessage(messages: Message[], item: Json, where: string): void {
  const content = readContent(item.content, `${where}.content`);
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
  const parts = optionalList(item.content, `${where}.content`);
  const texts = parts.map((part, i) => {
    const at = `${where}.content[${i}]`;
    return string(object(part, at).text, `${at}.text`);
  });
  if (texts.length === 0) {
    const isSealed = optionalString(item.encrypted_content, `${where}.encrypted_content`);
    if (isSealed) throw wrong(where, 'holds reasoning that only its vendor can read');
    return;
  }
  const message = answer(messages, (last) => last.content.length + last.toolCalls.length === 0);
  message.reasoning = [message.reasoning, ...texts].filter((it) => it !== undefined).join('\n');
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

function readCall(item: Json, where: string): ToolCall {
  if (item.namespace !== undefined && item.namespace !== null) {
    throw wrong(`${where}.namespace`, 'is not served: tools here have no namespaces');
  }
  return {
    id: string(item.call_id, `${where}.call_id`),
    name: string(item.name, `${where}.name`),
    argumentsJson: string(item.arguments, `${where}.arguments`),
  };
}

function readContent(input: unknown, where: string): Content[] {
  if (typeof input === 'string') return [text(input)];
  return list(input, where).map((value, i): Content => {
    const at = `${where}[${i}]`;
    const part = object(value, at);
    switch (part.type) {
      case 'input_text':
      case 'output_text':
        return text(string(part.text, `${at}.text`));
      case 'refusal':
        return text(string(part.refusal, `${at}.refusal`));
      case 'input_image':
        return { kind: 'image', url: string(part.image_url, `${at}.image_url`) };
      default:
        throw wrong(`${at}.type`, 'must be input_text, output_text, refusal or input_image');
    }
  });
}

function readTool(input: unknown, i: number): Tool {
  const where = `tools[${i}]`;
  const tool = object(input, where);
  if (tool.type !== 'function') {
    throw wrong(
      `${where}.type`,
      `is ${quoted(tool.type)}, but models here can call functions only`,
    );
  }
  return {
    name: string(tool.name, `${where}.name`),
    description: optionalString(tool.description, `${where}.description`),
    parameters: optionalObject(tool.parameters, `${where}.parameters`),
  };
}

function readToolChoice(input: unknown): ToolChoice {
  if (input === undefined || input === null || input === 'auto') return { kind: 'auto' };
  if (input === 'none' || input === 'required') return { kind: input };
  const choice = typeof input === 'string' ? {} : object(input, 'tool_choice');
  if (choice.type !== 'function') {
    throw wrong('tool_choice', 'must be auto, none, required or a function');
  }
  return { kind: 'named', name: string(choice.name, 'tool_choice.name') };
}

function text(it: string): Content {
  return { kind: 'text', text: it };
}

/** Of a client's word, as much as a sentence may hold. */
function quoted(word: unknown): string {
  return JSON.stringify(String(word).slice(0, 40));
}
