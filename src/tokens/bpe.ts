/**
 * BPE: text → ids, equal to `llama_tokenize(add_special = false, parse_special = true)` for a GGUF
 * file's vocabulary, and to `encode(add_special_tokens = False)` of `tokenizers` for a tokenizer.json.
 *
 *   text ─ special tokens cut out ─► sections ─ normalizers ─► text ─ normalized special tokens cut
 *   out ─► fragments ─ pre-tokenizer ─► pieces ─ merges ─► ids
 */
import { bytesOf } from '../model/byte-alphabet.ts';
import type { AddedToken, Normalizer, TokenKind, Vocabulary } from '../model/vocabulary.ts';
import { Joints } from './joints.ts';
import { type MergeRules, mergeRules } from './merge-rules.ts';
import { MergeTable } from './merge-table.ts';
import { normalized } from './normalizers.ts';
import { PatternError } from './pattern-syntax.ts';
import { PieceCache } from './piece-cache.ts';
import { type PreTokenizer, preTokenizerOf } from './pre-tokenizer.ts';
import type { PieceEnd } from './scanners.ts';
import { overlap, SpecialTokens } from './special-tokens.ts';
import { isUnsure } from './token-kinds.ts';

const CUT_OUT: ReadonlySet<TokenKind> = new Set(['control', 'userDefined', 'unknown']);
const CACHE_SLOTS = 2 ** 16;
/** Scratch space beyond this many words is given back after use. */
const SCRATCH_KEPT = 2 ** 20;

export type BpeBuilt = { kind: 'built'; bpe: Bpe } | { kind: 'unsupported'; reason: string };

/**
 * Builds the encoder, or says in one sentence why this vocabulary is not supported. `rules` where
 * they were worked out before.
 */
export function buildBpe(vocabulary: Vocabulary, rules?: MergeRules): BpeBuilt {
  const { algorithm, tokens } = vocabulary;
  if (algorithm !== 'bpe') return unsupported('its tokenizer is not a byte-level BPE');
  let pre: PreTokenizer | undefined;
  try {
    pre = preTokenizerOf(vocabulary.preTokenizer);
  } catch (thrown) {
    if (!(thrown instanceof PatternError)) throw thrown;
    return unsupported(`its pre-tokenizer ${thrown.message}`);
  }
  if (pre === undefined) {
    const name = JSON.stringify(vocabulary.preTokenizer);
    return unsupported(`its pre-tokenizer ${name} is none of those known here`);
  }
  const wrong = typeof vocabulary.preTokenizer === 'string' ? clash(vocabulary) : undefined;
  if (wrong !== undefined) return unsupported(wrong);
  const { alphabet } = pre.spelling;
  const found = rules ?? mergeRules(vocabulary, pre.spelling);
  if (typeof vocabulary.preTokenizer !== 'string' && found.extra.length > 0) {
    return unsupported(`it merges ${JSON.stringify(found.extra[0])}, which is no token`);
  }
  const table = new MergeTable(tokens, found, alphabet);
  if (!table.spellsAll) {
    return unsupported('it has no token for some bytes, so that text would be lost');
  }
  const added = addedTokens(vocabulary);
  const whole = [...found.unmerged].map((id): [string, number] => [pieceText(tokens[id], pre), id]);
  const joints = alphabet === 'bytes' ? [] : [new Joints(found, (it) => table.text(it)).pieceEnd];
  const bpe = new Bpe({
    early: new SpecialTokens(added.filter((token) => !token.normalized)),
    normalizers: pre.normalizers,
    late: new SpecialTokens(
      added
        .filter((token) => token.normalized)
        .map((token) => ({
          ...token,
          text: normalized(token.text, pre.normalizers, { isStart: false }),
        })),
    ),
    steps: [...pre.steps, ...joints],
    table,
    whole: new Map(whole),
    tokenCount: tokens.length,
  });
  return { kind: 'built', bpe };
}

/**
 * Special tokens, by id, that text may be cut at: encoded apart, what stands before one and what
 * begins with it give the ids of the whole.
 */
export function specialTexts(vocabulary: Vocabulary): Map<number, string> {
  const { preTokenizer, kinds } = vocabulary;
  const added = addedTokens(vocabulary);
  if (typeof preTokenizer === 'string') return new Map(added.map(({ id, text }) => [id, text]));
  // One that looks at its neighbours could look across a cut.
  if (added.some((it) => it.wholeWord || it.stripsLeft || it.stripsRight)) return new Map();
  return new Map(
    added
      .filter(({ id, normalized: late }) => kinds[id] === 'control' && !late)
      .map(({ id, text }) => [id, text]),
  );
}

function addedTokens({ preTokenizer, tokens, kinds }: Vocabulary): readonly AddedToken[] {
  if (typeof preTokenizer !== 'string') return preTokenizer.added;
  const plain = { normalized: false, stripsLeft: false, stripsRight: false, wholeWord: false };
  return tokens.flatMap((text, id) =>
    text !== '' && CUT_OUT.has(kinds[id]) ? [{ id, text, ...plain }] : [],
  );
}

/** Where llama.cpp would cut special tokens in another way. */
function clash(vocabulary: Vocabulary): string | undefined {
  const { tokens, kinds } = vocabulary;
  const unsure = tokens.find((text, id) => isUnsure(text, kinds[id]));
  if (unsure !== undefined) {
    return `its normal token ${JSON.stringify(unsure)} looks like a control token to llama.cpp`;
  }
  const found = overlap(addedTokens(vocabulary).map(({ text }) => text));
  if (found === undefined) return undefined;
  const { ends, begins } = found;
  return `its special tokens ${JSON.stringify(ends)} and ${JSON.stringify(begins)} can overlap`;
}

/** The text of a piece that is this token; what is no text is never a piece. */
function pieceText(token: string, { spelling }: PreTokenizer): string {
  const bytes = spelling.alphabet === 'bytes' ? bytesOf(token) : undefined;
  return bytes === undefined ? token : Buffer.from(bytes).toString();
}

interface BpeParts {
  /** Cut from the text as it comes. */
  early: SpecialTokens;
  normalizers: readonly Normalizer[];
  /** Cut from what the normalizers made of it. */
  late: SpecialTokens;
  /** Each cuts the pieces of the one before; none: a fragment is one piece. */
  steps: readonly PieceEnd[];
  table: MergeTable;
  /** Pieces that are a token without merging, where merging would give others. */
  whole: ReadonlyMap<string, number>;
  tokenCount: number;
}

export class Bpe {
  readonly #parts: BpeParts;
  readonly #merges: MergeTable;
  readonly #steps: readonly PieceEnd[];
  readonly #tokenCount: number;
  readonly #wholeMax: number;
  /** Ids that llama.cpp writes for a symbol that is no token, as far as met. */
  readonly #spelled = new Map<number, readonly number[]>();
  readonly #cache = new PieceCache(CACHE_SLOTS);
  #codePoints = new Uint32Array(0);
  #symbols = new Int32Array(256);
  #ids = new Uint32Array(0);
  #count = 0;

  constructor(parts: BpeParts) {
    this.#parts = parts;
    this.#merges = parts.table;
    this.#steps = parts.steps;
    this.#tokenCount = parts.tokenCount;
    this.#wholeMax = Math.max(0, ...[...parts.whole.keys()].map((text) => text.length));
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
    this.#count = 0;
    const { early } = this.#parts;
    let start = 0;
    for (let found = early.find(text, 0, text.length); found !== undefined; ) {
      this.#section(text, start, found.start);
      this.#add(found.id);
      start = found.end;
      found = early.find(text, start, text.length);
    }
    this.#section(text, start, text.length);
  }

  #section(text: string, start: number, end: number): void {
    if (start >= end) return;
    const { normalizers, late } = this.#parts;
    let from = start;
    let to = end;
    let section = text;
    if (normalizers.length > 0) {
      section = normalized(text.slice(start, end), normalizers, { isStart: start === 0 });
      from = 0;
      to = section.length;
    }
    for (let found = late.find(section, from, to); found !== undefined; ) {
      this.#fragment(section, from, found.start);
      this.#add(found.id);
      from = found.end;
      found = late.find(section, from, to);
    }
    this.#fragment(section, from, to);
  }

  #fragment(text: string, start: number, end: number): void {
    if (start < end) this.#cut(0, 0, this.#read(text, start, end));
  }

  #cut(step: number, start: number, end: number): void {
    if (step === this.#steps.length) return this.#piece(start, end);
    const pieceEnd = this.#steps[step];
    const isLast = step + 1 === this.#steps.length;
    for (let at = start; at < end; ) {
      const next = pieceEnd(this.#codePoints, at, end);
      if (isLast) this.#piece(at, next);
      else this.#cut(step + 1, at, next);
      at = next;
    }
  }

  #piece(start: number, end: number): void {
    this.#reserve((end - start) * 4); // a code point is at most four bytes, a byte one id
    const known = this.#cache.read(this.#codePoints, start, end, this.#ids, this.#count);
    if (known > 0) this.#count += known;
    else this.#merge(start, end);
  }

  #merge(start: number, end: number): void {
    const before = this.#count;
    const whole = end - start <= this.#wholeMax ? this.#whole(start, end) : undefined;
    if (whole !== undefined) this.#ids[this.#count++] = whole;
    else this.#mergeParts(start, end);
    const count = this.#count - before;
    this.#cache.write(this.#codePoints, start, end, this.#ids, before, count);
  }

  #whole(start: number, end: number): number | undefined {
    const text = String.fromCodePoint(...this.#codePoints.subarray(start, end));
    return this.#parts.whole.get(text);
  }

  #mergeParts(start: number, end: number): void {
    const spelled = this.#spell(start, end);
    const left = this.#merges.merge(this.#symbols, spelled);
    for (let i = 0; i < left; i++) {
      const symbol = this.#symbols[i];
      if (symbol < this.#tokenCount) this.#ids[this.#count++] = symbol;
      else for (const id of this.#spelledOut(symbol)) this.#ids[this.#count++] = id;
    }
  }

  #spelledOut(symbol: number): readonly number[] {
    const known = this.#spelled.get(symbol) ?? this.#merges.spelledOut(symbol);
    this.#spelled.set(symbol, known);
    return known;
  }

  /** Writes the symbols of the piece's UTF-8 bytes; returns how many. */
  #spell(start: number, end: number): number {
    if (this.#symbols.length < (end - start) * 4) this.#symbols = new Int32Array((end - start) * 4);
    const symbols = this.#symbols;
    const merges = this.#merges;
    let count = 0;
    for (let i = start; i < end; i++) {
      const code = this.#codePoints[i];
      const own = merges.symbolOfCharacter(code);
      if (own !== undefined) {
        symbols[count++] = own;
        continue;
      }
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
  #read(text: string, start: number, end: number): number {
    if (this.#codePoints.length < end - start) this.#codePoints = new Uint32Array(end - start);
    const codePoints = this.#codePoints;
    let count = 0;
    for (let i = start; i < end; i++) {
      const unit = text.charCodeAt(i);
      if ((unit & 0xf800) !== 0xd800) {
        codePoints[count++] = unit;
        continue;
      }
      const low = unit < 0xdc00 && i + 1 < end ? text.charCodeAt(i + 1) : 0;
      if ((low & 0xfc00) === 0xdc00) {
        codePoints[count++] = 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
        i++;
      } else codePoints[count++] = 0xfffd;
    }
    return count;
  }

  #add(id: number): void {
    this.#reserve(1);
    this.#ids[this.#count++] = id;
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
