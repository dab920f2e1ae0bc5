/** Blocks of messages, of system prompts and of tool results, as the Messages API has them. */
import type { Content, Message, ToolCall } from '../model/request.ts';
import type { AnthropicTools } from './anthropic-tools.ts';
import {
  type Json,
  list,
  object,
  optionalBoolean,
  optionalString,
  string,
  wrong,
} from './fields.ts';
import { unpackReasoning } from './responses-reasoning.ts';

/** `tools`: what references are to be read by; it learns which were referred to. */
export function readContent(input: unknown, where: string, tools: AnthropicTools): Content[] {
  return blocks(input, where).flatMap(([at, block]) => readBlock(block, at, tools));
}

/** One message of theirs may be several of ours: tool results come as blocks of a user message. */
export function readUser(input: unknown, where: string, tools: AnthropicTools): Message[] {
  const messages: Message[] = [];
  let content: Content[] = [];
  const flush = () => {
    if (content.length > 0) messages.push({ role: 'user', content });
    content = [];
  };
  for (const [at, block] of blocks(input, where)) {
    if (block.type === 'tool_result') {
      flush();
      messages.push({
        role: 'tool',
        content: readContent(block.content, `${at}.content`, tools),
        toolCallId: string(block.tool_use_id, `${at}.tool_use_id`),
        isError: optionalBoolean(block.is_error, `${at}.is_error`) ?? false,
      });
    } else {
      content.push(...readBlock(block, at, tools));
    }
  }
  flush();
  if (messages.length === 0) messages.push({ role: 'user', content: [] });
  return messages;
}

export function readAssistant(input: unknown, where: string, tools: AnthropicTools): Message {
  const content: Content[] = [];
  const toolCalls: ToolCall[] = [];
  const reasoning: string[] = [];
  for (const [at, block] of blocks(input, where)) {
    switch (block.type) {
      case 'thinking':
      case 'redacted_thinking':
        reasoning.push(...readThinking(block, at));
        break;
      case 'tool_use':
        toolCalls.push({
          id: string(block.id, `${at}.id`),
          name: string(block.name, `${at}.name`),
          argumentsJson: JSON.stringify(object(block.input ?? {}, `${at}.input`)),
        });
        break;
      default:
        if (!isOfVendors(block)) content.push(...readBlock(block, at, tools));
    }
  }
  return {
    role: 'assistant',
    content,
    reasoning: reasoning.length === 0 ? undefined : reasoning.join('\n'),
    toolCalls,
  };
}

/** Thinking that was left out comes back in its signature; what another vendor sealed is not read. */
function readThinking(block: Json, at: string): string[] {
  const isRedacted = block.type === 'redacted_thinking';
  const shown = isRedacted ? '' : string(block.thinking, `${at}.thinking`);
  const sealed = isRedacted
    ? string(block.data, `${at}.data`)
    : (optionalString(block.signature, `${at}.signature`) ?? '');
  const text = shown === '' ? unpackReasoning(sealed) : shown;
  return text === undefined || text === '' ? [] : [text];
}

/** What a vendor's own tools did: whatever came of it for the conversation stands in its texts. */
function isOfVendors({ type }: Json): boolean {
  return /^(server_tool_use|mcp_tool_use|container_upload|\w+_tool_result)$/.test(String(type));
}

function readBlock(block: Json, where: string, tools: AnthropicTools): Content[] {
  switch (block.type) {
    case 'text':
      return [{ kind: 'text', text: string(block.text, `${where}.text`) }];
    case 'image':
      return [readImage(object(block.source, `${where}.source`), `${where}.source`)];
    case 'document':
      return readDocument(block, where, tools);
    case 'search_result':
      return inTags('search_result', about(block, where), readList(block, where, tools));
    case 'tool_reference':
      return tools.reference(string(block.tool_name, `${where}.tool_name`));
    case 'container_upload':
      return [];
    default:
      throw wrong(
        `${where}.type`,
        `is ${JSON.stringify(String(block.type).slice(0, 40))}, which no model here understands`,
      );
  }
}

function readImage(source: Json, where: string): Content {
  const url = optionalString(source.url, `${where}.url`);
  if (url !== undefined) return { kind: 'image', url };
  refuseKept(source, where);
  return { kind: 'image', url: dataUrl(source, where) };
}

/** What is text is shown as such, marked as a document; any other goes on as it came. */
function readDocument(block: Json, where: string, tools: AnthropicTools): Content[] {
  const at = `${where}.source`;
  const source = object(block.source, at);
  switch (source.type) {
    case 'text': {
      const text = string(source.data, `${at}.data`);
      return inTags('document', about(block, where), [{ kind: 'text', text }]);
    }
    case 'content':
      return inTags('document', about(block, where), readList(source, at, tools));
    case 'base64': {
      const name = optionalString(block.title, `${where}.title`);
      return [{ kind: 'file', url: dataUrl(source, at), ...(name !== undefined && { name }) }];
    }
    case 'url':
      throw wrong(`${at}.url`, 'is never fetched; send the document itself');
    default:
      refuseKept(source, at);
      throw wrong(`${at}.type`, 'must be text, content or base64');
  }
}

/** What a document or search result says of itself, in the order it is shown. */
function about(block: Json, where: string): [name: string, value: string][] {
  return ['source', 'title', 'context'].flatMap((name): [string, string][] => {
    if (name === 'source' && block.type === 'document') return [];
    const value = optionalString(block[name], `${where}.${name}`);
    return value === undefined ? [] : [[name, value]];
  });
}

function inTags(tag: string, fields: readonly [string, string][], content: Content[]): Content[] {
  const head = fields.map(([name, value]) => `<${name}>${value}</${name}>\n`).join('');
  const [first, ...others] = content;
  if (first?.kind === 'text' && others.length === 0) {
    return [{ kind: 'text', text: `<${tag}>\n${head}${first.text}\n</${tag}>` }];
  }
  const opening: Content = { kind: 'text', text: `<${tag}>\n${head}`.trimEnd() };
  return [opening, ...content, { kind: 'text', text: `</${tag}>` }];
}

function readList(of: Json, where: string, tools: AnthropicTools): Content[] {
  return readContent(of.content, `${where}.content`, tools);
}

function dataUrl(source: Json, where: string): string {
  const data = string(source.data, `${where}.data`);
  return `data:${string(source.media_type, `${where}.media_type`)};base64,${data}`;
}

function refuseKept(source: Json, where: string): void {
  if (source.type !== 'file') return;
  throw wrong(`${where}.file_id`, 'names a file that is not kept here; send its data');
}

/** A string is one text block: Claude Code sends the same content both ways. */
function blocks(input: unknown, where: string): [string, Json][] {
  if (input === undefined || input === null) return [];
  if (typeof input === 'string') return [[where, { type: 'text', text: input }]];
  if (!Array.isArray(input)) throw wrong(where, 'must be a string or a list of blocks');
  return list(input, where).map((block, i) => [`${where}[${i}]`, object(block, `${where}[${i}]`)]);
}
