/**
 * As much of an answer as tells two conversations apart that began alike: how its text begins, and its
 * first tool call. Clients drop reasoning, cut what was not finished and trim, so no more is compared.
 */
import type { Part } from '../../model/part.ts';
import type { Answered } from './chain.ts';

const CHARACTERS = 64;

export class AnswerSketch {
  #text = '';
  #call: { id: string; name: string } | undefined;

  /** Of the first answer, where several were asked for. */
  add(part: Part): void {
    if (part.kind === 'text') {
      if (this.#text.length >= CHARACTERS || (part.choice ?? 0) > 0) return;
      this.#text = (this.#text + part.text).trimStart().slice(0, CHARACTERS);
    } else if (part.kind === 'toolCall') {
      if ((part.choice ?? 0) === 0) this.#call ??= { id: part.id, name: part.name };
    }
  }

  /** Whether it called a tool. */
  get hasCall(): boolean {
    return this.#call !== undefined;
  }

  /** How surely the client's answer is this one: 2 by the call's id, 1 by its text, below -1 surely not. */
  likeness({ text, call }: Answered): number {
    const own = this.#call;
    if (own !== undefined && call !== undefined) {
      if (own.id !== '' && own.id === call.id) return 2;
      if (own.name !== call.name) return DIFFERENT;
    }
    const theirs = text.trimStart();
    // Where reasoning came as text, clients may have taken it out.
    if (this.#text === '' || theirs === '' || this.#text.startsWith('<'))
      return own === undefined ? 0 : -1;
    const length = Math.min(this.#text.length, theirs.length);
    if (this.#text.slice(0, length).trimEnd() !== theirs.slice(0, length).trimEnd())
      return DIFFERENT;
    return own !== undefined && call !== undefined ? -1 : 1;
  }
}

/** Another answer than this one. */
export const DIFFERENT = -2;
