/**
 * POST /v1/responses/compact: the same conversation in fewer words, to go on from.
 *
 *   conversation ▸ one message that asks for a summary   ─►   what its users said ▸ compaction item
 *
 * Nothing but that message is added, so the conversation's KV is found again: it is compacted where it
 * is longest, and cold that would be the most expensive prompt of its session.
 */
import type { Chat } from '../model/request.ts';
import type { Answer } from './answer.ts';
import { type Json, object } from './fields.ts';
import { openaiResponses } from './responses.ts';
import { type Item, inputItems, outputItemId } from './responses-items.ts';
import { askOf, usageOf } from './responses-object.ts';
import { summaryItem } from './responses-summary.ts';
import type { Ask, Opening, Wire } from './wire.ts';

/** Never streams. */
export const openaiCompaction: Wire = { ...openaiResponses, parse, whole };

const REQUEST = `Write down what somebody who has not seen this conversation must know to go on with it:
what was asked for, what was decided and why, what was done and found out, with the names, paths, numbers
and commands that matter, and what remains to be done. Answer with that text alone, and call no tools.`;

function parse(input: unknown): Ask {
  const body = object(input, 'the body');
  const ask = openaiResponses.parse({ ...body, tool_choice: 'none', stream: false });
  const { prompt, responses } = ask;
  if (prompt.kind !== 'chat' || responses === undefined) return ask;
  const content = [{ kind: 'text' as const, text: REQUEST }];
  const chat: Chat = {
    ...prompt.chat,
    messages: [...prompt.chat.messages, { role: 'user', content }],
  };
  const kept = inputItems(body.input, (prefix) => prefix).filter(isUsers);
  return { ...ask, prompt: { kind: 'chat', chat }, responses: { ...responses, kept } };
}

/** Their own words, and what stands for those of before. */
function isUsers({ type, role }: Item): boolean {
  return type === 'compaction' || (type === 'message' && role === 'user');
}

function whole(ask: Ask, { id, createdS }: Opening, answer: Answer): Json {
  const kept = askOf(ask).kept ?? [];
  const text = answer.blocks.map((block) => (block.kind === 'text' ? block.text : '')).join('');
  const output = kept.map((item, i) => ({
    ...item,
    id: outputItemId(item.type, id, i),
    ...(item.type === 'message' && { status: 'completed' }),
  }));
  return {
    id,
    object: 'response.compaction',
    created_at: createdS,
    output: [...output, summaryItem(text, id, kept.length)],
    usage: usageOf(answer.usage),
    ...(answer.extras !== undefined && { nvext: answer.extras }),
  };
}
