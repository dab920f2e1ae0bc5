/**
 * The next prompt of a thread, as far as it is known when its turn ends: the conversation with the answer
 * in it, as its client will send it back, up to where the tools' results or the user's words begin.
 *
 *   this prompt   system tools user ──────────► generation prompt
 *   it computed   system tools user assistant <think>…</think> calls
 *   known next    system tools user assistant calls ── tool [ unknown from here on
 *
 * It is rendered by the very template that will render it, with a stand-in for what is unknown: whatever the
 * template drops or moves because of what follows (reasoning before a user's turn, say), it does here too.
 */
import { GatewayError } from '../../model/error.ts';
import type { Finish } from '../../model/part.ts';
import type { Chat, Content, Message, ToolCall } from '../../model/request.ts';
import type { EncodedPrompt, Tokens } from '../../ports.ts';
import type { AnswerBlock } from '../../wire/answer.ts';

export interface Answered {
  blocks: readonly AnswerBlock[];
  finish: Finish;
}

/** Whether a client sends reasoning back with the answer it belongs to; undefined: nobody knows. */
export type SendsReasoning = boolean | undefined;

/** Survives templates that trim content or write it as JSON. */
const UNKNOWN = '[[what comes here is not known yet]]';
const LATER = 'later';

/** Undefined where nobody can say how the conversation goes on, or its template does not take it. */
export function knownNext(
  tokens: Tokens,
  chat: Chat,
  { answer, sendsReasoning }: { answer: Answered; sendsReasoning: SendsReasoning },
): string | undefined {
  const { kind } = answer.finish;
  if (kind !== 'stop' && kind !== 'toolCalls') return undefined;
  const full = messageOf(answer.blocks);
  const plain = { ...full, reasoning: undefined };
  if (full.reasoning === undefined || sendsReasoning === false) return upTo(tokens, chat, plain);
  const withReasoning = upTo(tokens, chat, full);
  if (sendsReasoning) return withReasoning;
  const without = upTo(tokens, chat, plain);
  if (withReasoning === undefined || without === undefined) return undefined;
  return commonStart(withReasoning, without);
}

/**
 * Only what no following text can change: tokens up to the last special one, across which nothing is ever
 * tokenized (tokens/prompt-memory.ts).
 */
export function settledIds(
  { ids, hashes }: EncodedPrompt,
  { specials, hasher }: Tokens,
): EncodedPrompt {
  let end = ids.length;
  while (end > 0 && !specials.has(ids[end - 1])) end--;
  // The last of them may be the beginning of a longer one.
  end = Math.max(0, end - 1);
  return {
    ids: ids.subarray(0, end),
    hashes: hashes.subarray(0, Math.floor(end / hasher.blockTokens)),
  };
}

type AssistantMessage = Extract<Message, { role: 'assistant' }>;

function messageOf(blocks: readonly AnswerBlock[]): AssistantMessage {
  const content: Content[] = [];
  const toolCalls: ToolCall[] = [];
  let reasoning: string | undefined;
  for (const block of blocks) {
    if (block.kind === 'text') content.push({ kind: 'text', text: block.text });
    else if (block.kind === 'reasoning') reasoning = (reasoning ?? '') + block.text;
    else {
      const { id, name, argumentsJson } = block;
      toolCalls.push({ id, name, argumentsJson });
    }
  }
  return { role: 'assistant', content, reasoning, toolCalls };
}

function upTo(tokens: Tokens, chat: Chat, answer: AssistantMessage): string | undefined {
  const messages = [...chat.messages, answer, ...standIns(answer)];
  try {
    const text = tokens.render({ ...chat, messages });
    // The last: somebody may have said the same before.
    const end = text.lastIndexOf(UNKNOWN);
    return end < 0 ? undefined : text.slice(0, end);
  } catch (thrown) {
    if (thrown instanceof GatewayError) return undefined;
    throw thrown;
  }
}

/** A result for each call, the first of them unknown; without calls, the user's turn. */
function standIns({ toolCalls }: AssistantMessage): Message[] {
  const text = (it: string): Content[] => [{ kind: 'text', text: it }];
  if (toolCalls.length === 0) return [{ role: 'user', content: text(UNKNOWN) }];
  return toolCalls.map(({ id }, i) => ({
    ...{ role: 'tool' as const, toolCallId: id, isError: false },
    content: text(i === 0 ? UNKNOWN : LATER),
  }));
}

function commonStart(a: string, b: string): string {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return a.slice(0, length);
}
