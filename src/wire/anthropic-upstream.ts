/**
 * The other side of Messages: a conversation as `POST /v1/messages` takes it. Where the next prompt is
 * likely to go on from, this one is marked to be cached (four marks are allowed): behind the tools,
 * behind the instructions, at the end of the user's turn before, which is cached already, and at the end.
 */
import {
  type Chat,
  type Content,
  type Message,
  resultContent,
  type Tool,
  type ToolCall,
  type ToolChoice,
  textOf,
} from '../model/request.ts';

/** Thinking as it was signed, by the call that followed it: only so is it taken back. */
export type ThoughtsBefore = (callId: string) => readonly Block[] | undefined;

/** How a model is asked to think: with a budget, as it sees fit (Claude 4.6 and later), or not. */
export type ThinkingStyle = 'budget' | 'adaptive' | 'none';

export type Block = Record<string, unknown>;

interface Turn {
  role: 'user' | 'assistant';
  content: Block[];
}

/** The API takes no smaller budget. */
const THINKING_TOKENS_MIN = 1024;
/** Of what may be written at most. */
const BUDGET_SHARES: Readonly<Record<string, number>> = {
  minimal: 0.1,
  low: 0.2,
  medium: 0.4,
  high: 0.7,
};
const BUDGET_SHARE = 0.5;

/** `system`, `messages`, `tools`, `tool_choice`, `thinking` and `output_config` of a request. */
export function messagesFields(
  chat: Chat,
  given: {
    outputTokensMax: number;
    thinking: ThinkingStyle;
    thoughts: ThoughtsBefore;
    oneCall: boolean;
  },
): Block {
  const begin = chat.messages.findIndex(({ role }) => role !== 'system');
  const leading = begin < 0 ? chat.messages : chat.messages.slice(0, begin);
  const system = leading.flatMap(({ content }) => content.flatMap(contentOf));
  const turns = turnsOf(begin < 0 ? [] : chat.messages.slice(begin), given.thoughts);
  const tools = chat.tools.filter(({ deferred }) => !deferred).map(toolOf);
  mark(tools.at(-1));
  mark(system.at(-1));
  for (const turn of turns.filter(({ role }) => role === 'user').slice(-2)) {
    mark(turn.content.at(-1));
  }
  return {
    ...(system.length > 0 && { system }),
    messages: turns,
    ...(tools.length > 0 && { tools, tool_choice: choiceOf(chat.toolChoice, given) }),
    ...(mayThink(chat, turns) && thinkingOf(chat, given)),
  };
}

/** Turns alternate, the first is the user's, and results stand first in theirs. */
function turnsOf(messages: readonly Message[], thoughts: ThoughtsBefore): Turn[] {
  const turns: Turn[] = [];
  for (const message of messages) {
    const role = message.role === 'assistant' ? 'assistant' : 'user';
    const content = blocksOf(message, thoughts);
    if (content.length === 0) continue;
    const last = turns.at(-1);
    if (last?.role === role) last.content.push(...content);
    else turns.push({ role, content });
  }
  if (turns[0]?.role !== 'user') turns.unshift({ role: 'user', content: [SOMETHING] });
  for (const turn of turns) {
    const results = turn.content.filter(isResult);
    if (results.length > 0) {
      turn.content = [...results, ...turn.content.filter((block) => !isResult(block))];
    }
  }
  return turns;
}

/** A turn of nothing is refused. */
const SOMETHING: Block = { type: 'text', text: '…' };

function blocksOf(message: Message, thoughts: ThoughtsBefore): Block[] {
  switch (message.role) {
    case 'system':
      return contentOf({
        kind: 'text',
        text: `<system-reminder>\n${textOf(message.content)}\n</system-reminder>`,
      });
    case 'user':
      return message.content.flatMap(contentOf);
    case 'assistant': {
      const [first] = message.toolCalls;
      const before = first === undefined ? undefined : thoughts(first.id);
      const said = message.content.flatMap(contentOf);
      return [...(before ?? []), ...said, ...message.toolCalls.map(callOf)];
    }
    case 'tool': {
      const content = resultContent(message).flatMap(contentOf);
      return [
        {
          type: 'tool_result',
          tool_use_id: idOf(message.toolCallId),
          ...(content.length > 0 && { content }),
          ...(message.isError && { is_error: true }),
        },
      ];
    }
  }
}

/** Text of nothing but spaces is refused. */
function contentOf(part: Content): Block[] {
  if (part.kind === 'text') {
    return part.text.trim() === '' ? [] : [{ type: 'text', text: part.text }];
  }
  const source = sourceOf(part.url);
  if (part.kind === 'image') return [{ type: 'image', source }];
  return [{ type: 'document', source, ...(part.name !== undefined && { title: part.name }) }];
}

function sourceOf(url: string): Block {
  const data = /^data:([\w/.+-]+);base64,(.+)$/s.exec(url);
  if (data === null) return { type: 'url', url };
  return { type: 'base64', media_type: data[1], data: data[2] };
}

function callOf({ id, name, argumentsJson }: ToolCall): Block {
  return { type: 'tool_use', id: idOf(id), name, input: argumentsObject(argumentsJson) };
}

/** Calls of other engines have ids that the API does not take. */
function idOf(id: string): string {
  return id.replace(/[^\w-]/g, '_');
}

/** A call's arguments, for those who take objects only: what a model wrote that is none goes under a name of its own. */
export function argumentsObject(argumentsJson: string): unknown {
  try {
    const value: unknown = JSON.parse(argumentsJson === '' ? '{}' : argumentsJson);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Falls through: no JSON, or none that is an object.
  }
  return { arguments: argumentsJson };
}

function toolOf({ name, description, parameters }: Tool): Block {
  return {
    name,
    ...(description !== undefined && { description }),
    input_schema: parameters ?? { type: 'object' },
  };
}

/** Of several names the API can be held to one or to all. */
function choiceOf(choice: ToolChoice, { oneCall }: { oneCall: boolean }): Block {
  const one = oneCall && { disable_parallel_tool_use: true };
  if (choice.kind === 'none') return { type: 'none' };
  if (choice.kind === 'auto') return { type: 'auto', ...one };
  if (choice.kind === 'named') return { type: 'tool', name: choice.name, ...one };
  const [name, ...others] = choice.names ?? [];
  if (name !== undefined && others.length === 0) return { type: 'tool', name, ...one };
  return { type: 'any', ...one };
}

/** Neither beside a forced call, nor behind a call whose thinking is not there any more. */
function mayThink({ thinking, toolChoice }: Chat, turns: readonly Turn[]): boolean {
  if (thinking !== true || !['auto', 'none'].includes(toolChoice.kind)) return false;
  const called = turns.findLast(({ role }) => role === 'assistant');
  const isCalling = called?.content.some(({ type }) => type === 'tool_use') ?? false;
  return !isCalling || /thinking$/.test(String(called?.content[0].type));
}

function thinkingOf(
  { effort }: Chat,
  { thinking, outputTokensMax }: { thinking: ThinkingStyle; outputTokensMax: number },
): Block {
  if (thinking === 'adaptive') {
    const isKnown = effort !== undefined && effort in BUDGET_SHARES;
    const level = effort === 'minimal' ? 'low' : effort;
    return {
      thinking: { type: 'adaptive' },
      ...(isKnown && { output_config: { effort: level } }),
    };
  }
  const share = BUDGET_SHARES[effort ?? ''] ?? BUDGET_SHARE;
  const budget = Math.max(THINKING_TOKENS_MIN, Math.floor(outputTokensMax * share));
  if (thinking === 'none' || budget >= outputTokensMax) return {};
  return { thinking: { type: 'enabled', budget_tokens: budget } };
}

/** In place: a block that was marked once is marked. Thinking takes no mark. */
function mark(block: Block | undefined): void {
  if (block !== undefined && block !== SOMETHING && !/thinking$/.test(String(block.type))) {
    block.cache_control = { type: 'ephemeral' };
  }
}

function isResult({ type }: Block): boolean {
  return type === 'tool_result';
}
