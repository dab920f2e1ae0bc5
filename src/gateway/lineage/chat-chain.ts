/**
 * A conversation, block by block. What clients change from turn to turn although nothing changed is
 * left out: ids of calls, reasoning, the border between two messages of one role, Claude Code's billing
 * block (cache_control and ids of items were not even read). Tools are left out too: a client that
 * asks for a summary leaves them out, and others learn of more.
 *
 *   system  user  user │ answer  call │ result  result │ answer │ user │
 *                 ^  places: behind each block that is no answer, from the first that is no system
 */
import type { Hash } from 'node:crypto';
import type { Chat, Content, Message } from '../../model/request.ts';
import { withoutBillingBlock } from '../normalize/billing-block.ts';
import { type Answered, type Chain, digestOf, type End, type Place } from './chain.ts';

export class ChatChain implements Chain {
  readonly places: Place[] = [];
  readonly #messages: readonly Message[];
  /** By place: the message that its next block belongs to. */
  readonly #next: number[] = [];
  readonly #wanted: number | undefined;
  readonly #hash: Hash;
  #blocks = 0;
  #isSaid = false;
  #isAnswered = false;

  /** `wanted`: only the place so many blocks from the beginning, and the end; undefined: all. */
  constructor(chat: Chat, root: Hash, wanted: number | undefined) {
    this.#messages = withoutBillingBlock(chat)?.chat.messages ?? chat.messages;
    this.#hash = root;
    this.#wanted = wanted;
    this.#hash.update('chat;');
    this.#messages.forEach((message, i) => {
      this.#add(message, i);
    });
    if (this.#isSaid && this.places.at(-1)?.at !== this.#blocks) {
      this.#place(this.#messages.length);
    }
  }

  get end(): End | undefined {
    const last = this.places.at(-1);
    if (last === undefined || last.at < this.#blocks) return undefined;
    return { digest: last.digest, at: last.at, rest: 0, restDigest: '' };
  }

  meets(): boolean {
    return true;
  }

  answerTo(place: Place): Answered | undefined {
    const message = this.#messages[this.#next[this.places.indexOf(place)]];
    if (message?.role !== 'assistant') return undefined;
    const text = message.content.map((one) => (one.kind === 'text' ? one.text : '')).join('');
    return { text, call: message.toolCalls[0] };
  }

  #add(message: Message, index: number): void {
    const { role, content } = message;
    if (role === 'assistant') this.#isAnswered = true;
    const mayEnd = role !== 'assistant';
    if (role === 'user' || role === 'tool') this.#isSaid = true;
    const tag = role === 'tool' && message.isError ? 'error' : role;
    content.forEach((block, i) => {
      this.#block(`${tag}.${block.kind}`, textIn(block));
      if (mayEnd) this.#placeIfWanted(index + (i + 1 === content.length ? 1 : 0));
    });
    if (role !== 'assistant') return;
    for (const { name, argumentsJson } of message.toolCalls) {
      this.#block('call', name);
      this.#block('arguments', argumentsJson);
    }
  }

  /** Lengths go in, so that no two conversations are cut from one text. */
  #block(tag: string, text: string): void {
    this.#hash.update(`${tag}:${text.length};${text}`);
    this.#blocks++;
  }

  #placeIfWanted(next: number): void {
    if (!this.#isSaid) return;
    if (this.#wanted === undefined || this.#wanted === this.#blocks) this.#place(next);
  }

  #place(next: number): void {
    const digest = digestOf(this.#hash);
    this.places.push({ digest, at: this.#blocks, isAnswered: this.#isAnswered });
    this.#next.push(next);
  }
}

function textIn(block: Content): string {
  return block.kind === 'text' ? block.text : block.url;
}
