/**
 * A prompt without messages, text or token ids, in pieces of one length. A prompt ends anywhere, so
 * what lies behind its last whole piece is compared by a digest of its own.
 *
 *   |  piece  |  piece  | rest      the prompt of before: digest of two pieces, digest of the rest
 *   |  piece  |  piece  | rest answer ┆  piece  | …   this one
 */
import { createHash, type Hash } from 'node:crypto';
import { type Answered, type Chain, digestOf, type End, type Place } from './chain.ts';

/** Characters or ids. Shorter prompts are told from nobody's. */
const PIECE = 256;
/** So much of an answer is looked at. */
const ANSWER_CHARACTERS = 256;

export class PieceChain implements Chain {
  readonly places: Place[] = [];
  readonly end: End | undefined;
  readonly #prompt: string | Uint32Array;
  readonly #seed: string;

  constructor(prompt: string | Uint32Array, root: Hash) {
    this.#prompt = prompt;
    const hash = root.update(typeof prompt === 'string' ? 'text;' : 'ids;');
    this.#seed = digestOf(hash);
    for (let at = PIECE; at <= prompt.length; at += PIECE) {
      hash.update(this.#bytes(at - PIECE, at));
      this.places.push({ digest: digestOf(hash), at, isAnswered: false });
    }
    const last = this.places.at(-1);
    if (last === undefined) return;
    const rest = prompt.length - last.at;
    this.end = { ...last, rest, restDigest: this.#restDigest(last.at, rest) };
  }

  meets(place: Place, { rest, restDigest }: End): boolean {
    if (place.at + rest > this.#prompt.length) return false;
    return this.#restDigest(place.at, rest) === restDigest;
  }

  answerTo(place: Place, { rest }: End): Answered | undefined {
    if (typeof this.#prompt !== 'string') return undefined;
    const at = place.at + rest;
    return { text: this.#prompt.slice(at, at + ANSWER_CHARACTERS), call: undefined };
  }

  #restDigest(from: number, length: number): string {
    if (length === 0) return '';
    const hash = createHash('sha256').update(this.#seed, 'latin1');
    return digestOf(hash.update(this.#bytes(from, from + length)));
  }

  #bytes(from: number, to: number): Uint8Array {
    if (typeof this.#prompt === 'string')
      return Buffer.from(this.#prompt.slice(from, to), 'utf16le');
    return new Uint8Array(this.#prompt.slice(from, to).buffer);
  }
}
