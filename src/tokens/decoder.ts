/**
 * Ids → text. Byte-level tokens may end inside a character, so bytes are held back until the
 * character is whole; what never becomes one is U+FFFD, as WHATWG's and Python's decoders say.
 *
 * Control and unknown tokens stand for nothing (as `llama_token_to_piece` without `special`),
 * user-defined ones for their text. So do those control tokens that a model writes its calls and its
 * reasoning with, or no parser would get to see them.
 */

import { bytesOf } from '../model/byte-alphabet.ts';
import type { Vocabulary } from '../model/vocabulary.ts';
import type { Decoder } from '../ports.ts';
import { spellingOf } from './pre-tokenizer.ts';

/** What each id stands for, worked out when it is first met. */
export class TokenTexts {
  readonly #vocabulary: Vocabulary;
  readonly #shown: ReadonlySet<string>;
  readonly #isRuled: boolean;
  readonly #characters: boolean;
  readonly #pieces: (Piece | undefined)[];

  /** `shown`: texts of control tokens that stand for themselves. */
  constructor(vocabulary: Vocabulary, shown: ReadonlySet<string>) {
    this.#vocabulary = vocabulary;
    this.#shown = shown;
    this.#pieces = new Array(vocabulary.tokens.length);
    this.#isRuled = typeof vocabulary.preTokenizer !== 'string';
    this.#characters = spellingOf(vocabulary.preTokenizer).alphabet === 'characters';
  }

  decoder(): Decoder {
    return new StitchingDecoder(this);
  }

  /** Ids that the vocabulary does not have stand for nothing. */
  piece(id: number): Piece {
    if (id >= this.#pieces.length) return NOTHING;
    const known = this.#pieces[id];
    if (known !== undefined) return known;
    const bytes = this.#bytes(id);
    const piece = { bytes, text: wholeText(bytes) };
    this.#pieces[id] = piece;
    return piece;
  }

  #bytes(id: number): Uint8Array {
    const text = this.#vocabulary.tokens[id];
    switch (this.#vocabulary.kinds[id]) {
      case 'normal':
        return this.#characters ? Buffer.from(spaced(text)) : (bytesOf(text) ?? Buffer.from(text));
      case 'userDefined':
        return Buffer.from(this.#characters && this.#isRuled ? spaced(text) : text);
      case 'byte': // <0x0A>
        return Uint8Array.of(Number.parseInt(text.slice(3, 5), 16));
      default:
        return this.#shown.has(text) ? Buffer.from(text) : NOTHING.bytes;
    }
  }
}

/** U+2581 stands for a space where tokens are written as text. */
function spaced(text: string): string {
  return text.replaceAll('\u2581', ' ');
}

export interface Piece {
  bytes: Uint8Array;
  /** Where the bytes are whole characters. */
  text: string | undefined;
}

const NOTHING: Piece = { bytes: new Uint8Array(0), text: '' };

class StitchingDecoder implements Decoder {
  readonly #texts: TokenTexts;
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  #open = false;

  constructor(texts: TokenTexts) {
    this.#texts = texts;
  }

  push(token: number): string {
    const { bytes, text } = this.#texts.piece(token);
    if (!this.#open && text !== undefined) return text;
    if (bytes.length === 0) return '';
    this.#open = text === undefined; // whole characters leave nothing to hold back
    return this.#utf8.decode(bytes, { stream: true });
  }

  flush(): string {
    this.#open = false;
    return this.#utf8.decode();
  }
}

function wholeText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { ignoreBOM: true, fatal: true }).decode(bytes);
  } catch {
    return undefined; // not an error: half a character
  }
}
