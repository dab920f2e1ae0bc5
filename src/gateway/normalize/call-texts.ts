/**
 * Arguments of tool calls as models wrote them. Most clients parse arguments and write them anew,
 *
 *   the model    {"path": "a.ts", "depth": 2}
 *   the client   {"path":"a.ts","depth":2}
 *
 * and a prompt with theirs in it would no longer continue what the model computed. So what was answered
 * is remembered, by the id of the call and what clients make of it.
 */
import type { Chat, Message, ToolCall } from '../../model/request.ts';

export class CallTexts {
  /** Oldest first. */
  readonly #texts = new Map<string, string>();
  readonly #charactersMax: number;
  #characters = 0;

  /** What is remembered has at most so many characters, keys included. */
  constructor(charactersMax: number) {
    this.#charactersMax = charactersMax;
  }

  /** An answer called a tool. `scope`: whose it is; nothing is shared across. */
  keep(scope: string, { id, argumentsJson }: Pick<ToolCall, 'id' | 'argumentsJson'>): void {
    const compact = rewritten(argumentsJson);
    if (compact === undefined || compact === argumentsJson) return;
    this.#set(keyOf(scope, id, compact), argumentsJson);
    for (const [key, text] of this.#texts) {
      if (this.#characters <= this.#charactersMax) break;
      this.#forget(key, text);
    }
  }

  /** The same conversation, with calls as they were written; the given one where nothing is known. */
  restored(chat: Chat, scope: string): Chat {
    if (this.#texts.size === 0) return chat;
    let isChanged = false;
    const messages = chat.messages.map((message): Message => {
      if (message.role !== 'assistant' || message.toolCalls.length === 0) return message;
      const toolCalls = message.toolCalls.map((call) => {
        const key = keyOf(scope, call.id, call.argumentsJson);
        const argumentsJson = this.#texts.get(key);
        if (argumentsJson === undefined) return call;
        isChanged = true;
        this.#set(key, argumentsJson);
        return { ...call, argumentsJson };
      });
      return { ...message, toolCalls };
    });
    return isChanged ? { ...chat, messages } : chat;
  }

  /** As the one that was used last. */
  #set(key: string, text: string): void {
    const known = this.#texts.get(key);
    if (known !== undefined) this.#forget(key, known);
    this.#texts.set(key, text);
    this.#characters += key.length + text.length;
  }

  #forget(key: string, text: string): void {
    this.#texts.delete(key);
    this.#characters -= key.length + text.length;
  }
}

/** As clients write what they parsed; undefined where it is no JSON. */
function rewritten(json: string): string | undefined {
  try {
    return JSON.stringify(JSON.parse(json));
  } catch {
    return undefined;
  }
}

function keyOf(scope: string, id: string, compact: string): string {
  return `${scope}\n${id}\n${compact}`;
}
