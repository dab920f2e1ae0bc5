/**
 * Byte-level BPE: text → ids, equal to `llama_tokenize(add_special = false, parse_special = true)`.
 *
 *   text ─ special tokens cut out ─► fragments ─ pre-tokenizer ─► pieces ─ merges ─► ids
 */
import type { TokenKind, Vocabulary } from '../model/vocabulary.ts';
import { MergeTable } from './merge-table.ts';
import { PieceCache } from './piece-cache.ts';
import { type PieceEnd, PRE_TOKENIZERS } from './pre-tokenizer.ts';
import { overlap, SpecialTokens } from './special-tokens.ts';
import { effectiveKind, isUnsure } from './token-kinds.ts';

const CUT_OUT: ReadonlySet<TokenKind> = new Set(['control', 'userDefined', 'unknown']);
const CACHE_SLOTS = 2 ** 16;
/** Scratch space beyond this many words is given back after use. */
const SCRATCH_KEPT = 2 ** 20;

export type BpeBuilt = { kind: 'built'; bpe: Bpe } | { kind: 'unsupported'; reason: string };

/** Builds the encoder, or says in one sentence why this vocabulary is not supported. */
export function buildBpe(vocabulary: Vocabulary): BpeBuilt {
  const { algorithm, preTokenizer, tokens, kinds } = vocabulary;
  if (algorithm !== 'bpe') return unsupported('its tokenizer is not a byte-level BPE');
  const pieceEnd = PRE_TOKENIZERS.get(preTokenizer);
  if (pieceEnd === undefined) {
    const known = [...PRE_TOKENIZERS.keys()].join(', ');
    return unsupported(`its pre-tokenizer "${preTokenizer}" is none of ${known}`);
  }
  const unsure = tokens.find((text, id) => isUnsure(text, kinds[id]));
  if (unsure !== undefined) {
    return unsupported(
      `its normal token ${JSON.stringify(unsure)} looks like a control token to llama.cpp`,
    );
  }
  const specials = tokens
    .map((text, id) => ({ id, text }))
    .filter(({ id, text }) => text !== '' && CUT_OUT.has(effectiveKind(text, kinds[id])));
  const clash = overlap(specials.map(({ text }) => text));
  if (clash !== undefined) {
    const { ends, begins } = clash;
    return unsupported(
      `its special tokens ${JSON.stringify(ends)} and ${JSON.stringify(begins)} can overlap`,
    );
  }
  const merges = new MergeTable(tokens, vocabulary.merges);
  const table = new SpecialTokens(specials);
  return { kind: 'built', bpe: new Bpe(pieceEnd, table, merges, tokens.length) };
}

export class Bpe {
  readonly #pieceEnd: PieceEnd;
  readonly #specials: SpecialTokens;
  readonly #merges: MergeTable;
  readonly #tokenCount: number;
  /** Ids that llama.cpp writes for a symbol that is no token. */
  readonly #spelled = new Map<number, number[]>();
  readonly #cache = new PieceCache(CACHE_SLOTS);
  #codePoints = new Uint32Array(0);
  #symbols = new Int32Array(256);
  #ids = new Uint32Array(0);
  #count = 0;

  constructor(pieceEnd: PieceEnd, specials: SpecialTokens, merges: MergeTable, tokenCount: number) {
    this.#pieceEnd = pieceEnd;
    this.#specials = specials;
    this.#merges = merges;
    this.#tokenCount = tokenCount;
    const idOfText = new Map<string, number>();
    for (let id = 0; id < tokenCount; id++) {
      if (merges.text(id).length === 1) idOfText.set(merges.text(id), id);
    }
    for (let symbol = tokenCount; symbol < merges.symbolCount; symbol++) {
      // Looked up byte by byte of its UTF-8 form, so that only ASCII characters are ever found.
      const ascii = [...merges.text(symbol)].filter((character) => character < '\x80');
      const ids = ascii.map((character) => idOfText.get(character));
      this.#spelled.set(
        symbol,
        ids.filter((id) => id !== undefined),
      );
    }
  }

  encode(text: string): Uint32Array {
    this.#run(text);
    const ids = this.#ids.slice(0, this.#count);
    this.#shrink();
    return ids;
  }

  count(text: string): number {
    this.#run(text);
    this.#shrink();
    return this.#count;
  }

  #run(text: string): void {
    const end = this.#read(text);
    const codePoints = this.#codePoints;
    this.#count = 0;
    let start = 0;
    for (let at = 0; at < end; ) {
      const match = this.#specials.match(codePoints, at, end);
      if (match === undefined) {
        at++;
        continue;
      }
      this.#fragment(start, at);
      this.#reserve(1);
      this.#ids[this.#count++] = match.id;
      start = at = match.end;
    }
    this.#fragment(start, end);
  }

  #fragment(start: number, end: number): void {
    const codePoints = this.#codePoints;
    for (let at = start; at < end; ) {
      const pieceEnd = this.#pieceEnd(codePoints, at, end);
      this.#reserve((pieceEnd - at) * 4); // a code point is at most four bytes, a byte one id
      const known = this.#cache.read(codePoints, at, pieceEnd, this.#ids, this.#count);
      if (known > 0) this.#count += known;
      else this.#piece(at, pieceEnd);
      at = pieceEnd;
    }
  }

  #piece(start: number, end: number): void {
    const before = this.#count;
    const spelled = this.#spell(start, end);
    const left = this.#merges.merge(this.#symbols, spelled);
    for (let i = 0; i < left; i++) {
      const symbol = this.#symbols[i];
      if (symbol < this.#tokenCount) this.#ids[this.#count++] = symbol;
      else for (const id of this.#spelled.get(symbol) ?? []) this.#ids[this.#count++] = id;
    }
    const count = this.#count - before;
    this.#cache.write(this.#codePoints, start, end, this.#ids, before, count);
  }

  /** Writes the symbols of the piece's UTF-8 bytes; returns how many. */
  #spell(start: number, end: number): number {
    if (this.#symbols.length < (end - start) * 4) this.#symbols = new Int32Array((end - start) * 4);
    const symbols = this.#symbols;
    const merges = this.#merges;
    let count = 0;
    for (let i = start; i < end; i++) {
      const code = this.#codePoints[i];
      if (code < 0x80) {
        symbols[count++] = merges.symbolOfByte(code);
        continue;
      }
      if (code < 0x800) symbols[count++] = merges.symbolOfByte(0xc0 | (code >> 6));
      else {
        if (code < 0x10000) symbols[count++] = merges.symbolOfByte(0xe0 | (code >> 12));
        else {
          symbols[count++] = merges.symbolOfByte(0xf0 | (code >> 18));
          symbols[count++] = merges.symbolOfByte(0x80 | ((code >> 12) & 0x3f));
        }
        symbols[count++] = merges.symbolOfByte(0x80 | ((code >> 6) & 0x3f));
      }
      symbols[count++] = merges.symbolOfByte(0x80 | (code & 0x3f));
    }
    return count;
  }

  /** Code points of the text, lone surrogates as U+FFFD; returns how many. */
  #read(text: string): number {
    if (this.#codePoints.length < text.length) this.#codePoints = new Uint32Array(text.length);
    const codePoints = this.#codePoints;
    let count = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if ((unit & 0xf800) !== 0xd800) {
        codePoints[count++] = unit;
        continue;
      }
      const low = unit < 0xdc00 ? text.charCodeAt(i + 1) : 0;
      if ((low & 0xfc00) === 0xdc00) {
        codePoints[count++] = 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
        i++;
      } else codePoints[count++] = 0xfffd;
    }
    return count;
  }

  #reserve(more: number): void {
    const wanted = this.#count + more;
    if (wanted <= this.#ids.length) return;
    const grown = new Uint32Array(Math.max(wanted, this.#ids.length * 2));
    grown.set(this.#ids);
    this.#ids = grown;
  }

  #shrink(): void {
    if (this.#codePoints.length > SCRATCH_KEPT) this.#codePoints = new Uint32Array(0);
    if (this.#ids.length > SCRATCH_KEPT) this.#ids = new Uint32Array(0);
    if (this.#symbols.length > SCRATCH_KEPT) this.#symbols = new Int32Array(0);
  }
}

function unsupported(reason: string): BpeBuilt {
  return { kind: 'unsupported', reason };
}
