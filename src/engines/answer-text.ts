/** What a model would have to write so that its answer, once in the history, reads as given. */
import type { Chat, Message } from '../model/request.ts';
import type { Tokens } from '../ports.ts';

/**
 * The text between the prompt's end and the end of the answer's turn, as the chat template writes both.
 * Undefined where the template rewrites history, so that no such text exists.
 */
export function answerText(tokens: Tokens, chat: Chat, answer: Message): string | undefined {
  const before = tokens.render(chat);
  const after = tokens.render({ ...chat, messages: [...chat.messages, answer] });
  if (!after.startsWith(before)) return undefined;
  const ids = tokens.encode(after.slice(before.length));
  const end = ids.findIndex((id) => tokens.endTokens.has(id));
  const decoder = tokens.decoder();
  let text = '';
  for (const id of end < 0 ? ids : ids.subarray(0, end)) text += decoder.push(id);
  return text + decoder.flush();
}
