/**
 * Some chat templates print the ids of tool calls (Mistral's, Kimi's). A client that makes them up anew
 * for each request would change the prompt from the first call on. A call that stands where it stood,
 * with the name and the arguments it had, keeps the id it had, and so do the results that name it.
 */
import { GatewayError } from '../../model/error.ts';
import type { Chat, Message, ToolCall } from '../../model/request.ts';
import type { Tokens } from '../../ports.ts';

export interface KnownCall {
  id: string;
  /** Of name and arguments. */
  digest: number;
}

export interface Renamed {
  messages: Message[];
  /** Of the calls, in order, as rendered. */
  calls: KnownCall[];
  /** Index of the first message that got another id; undefined where none did. */
  first: number | undefined;
}

/** Calls behind these are neither remembered nor renamed. */
const CALLS_MAX = 1024;
const ID_CHARACTERS_MAX = 64;

/** The messages themselves where no call was renamed; the given ones stay as they are. */
export function withKnownIds(messages: Message[], known: readonly KnownCall[]): Renamed {
  const calls: KnownCall[] = [];
  /** The client's name for a call → ours, as far as the conversation has come: names may repeat. */
  const names = new Map<string, string>();
  let isSame = true;
  let first: number | undefined;
  const rename = (call: ToolCall): ToolCall => {
    const digest = digestOf(call);
    const before = known[calls.length];
    isSame &&= before !== undefined && before.digest === digest;
    const id = isSame && before !== undefined ? before.id : call.id;
    names.set(call.id, id);
    if (calls.length < CALLS_MAX && id.length <= ID_CHARACTERS_MAX) calls.push({ id, digest });
    else isSame = false;
    return id === call.id ? call : { ...call, id };
  };
  const renamed = messages.map((message, i) => {
    const result = withIds(message, rename, names);
    if (result !== message) first ??= i;
    return result;
  });
  if (first === undefined || isAmbiguous(names)) {
    return {
      messages,
      calls: first === undefined ? calls : callsOf(messages),
      first: undefined,
    };
  }
  return { messages: renamed, calls, first };
}

/** Whether what this template writes depends on the ids of calls: tried once on a small conversation. */
export function printsCallIds(tokens: Tokens): boolean {
  let prints = PRINTS.get(tokens);
  if (prints === undefined) {
    prints = tried(tokens, 'aaaaaaaa1') !== tried(tokens, 'bbbbbbbb2');
    PRINTS.set(tokens, prints);
  }
  return prints;
}

const PRINTS = new WeakMap<Tokens, boolean>();

function withIds(
  message: Message,
  rename: (call: ToolCall) => ToolCall,
  names: ReadonlyMap<string, string>,
): Message {
  if (message.role === 'tool') {
    const toolCallId = names.get(message.toolCallId) ?? message.toolCallId;
    return toolCallId === message.toolCallId ? message : { ...message, toolCallId };
  }
  if (message.role !== 'assistant' || message.toolCalls.length === 0) return message;
  const toolCalls = message.toolCalls.map(rename);
  const isSame = toolCalls.every((call, i) => call === message.toolCalls[i]);
  return isSame ? message : { ...message, toolCalls };
}

/** Two calls that the client tells apart must not become one. */
function isAmbiguous(names: ReadonlyMap<string, string>): boolean {
  return new Set(names.values()).size < names.size;
}

function callsOf(messages: readonly Message[]): KnownCall[] {
  const calls: KnownCall[] = [];
  for (const message of messages) {
    if (message.role !== 'assistant') continue;
    for (const call of message.toolCalls) {
      if (calls.length === CALLS_MAX || call.id.length > ID_CHARACTERS_MAX) return calls;
      calls.push({ id: call.id, digest: digestOf(call) });
    }
  }
  return calls;
}

/** FNV-1a over UTF-16 units: a collision costs a renamed call, which is harmless. */
function digestOf({ name, argumentsJson }: ToolCall): number {
  let digest = 0x811c9dc5;
  for (const text of [name, argumentsJson]) {
    for (let i = 0; i < text.length; i++) {
      digest = Math.imul(digest ^ text.charCodeAt(i), 0x01000193);
    }
    digest = Math.imul(digest ^ 0x10000, 0x01000193);
  }
  return digest >>> 0;
}

/** Undefined where the template takes no tool calls at all. */
function tried(tokens: Tokens, id: string): string | undefined {
  const text = (it: string) => [{ kind: 'text' as const, text: it }];
  const chat: Chat = {
    model: '',
    messages: [
      { role: 'user', content: text('a') },
      {
        role: 'assistant',
        content: [],
        reasoning: undefined,
        toolCalls: [{ id, name: 'look', argumentsJson: '{}' }],
      },
      { role: 'tool', content: text('b'), toolCallId: id, isError: false },
    ],
    tools: [
      {
        name: 'look',
        description: '',
        parameters: { type: 'object', properties: {} },
      },
    ],
    toolChoice: { kind: 'auto' },
    thinking: undefined,
  };
  try {
    return tokens.render(chat);
  } catch (thrown) {
    if (thrown instanceof GatewayError) return undefined;
    throw thrown;
  }
}
