/**
 * The merge rules of a vocabulary as numbers: what is slow to work out from its texts, and is the same
 * each time. Plain typed arrays, so that they can be kept on disk and sent to a thread.
 *
 * A symbol is a token id, or a number above all ids for a text that merges pass through but the
 * vocabulary lacks.
 */
import { BYTE_CHARACTERS, bytesOf } from '../model/byte-alphabet.ts';
import type { TextRules, Vocabulary } from '../model/vocabulary.ts';
import { MergeTable } from './merge-table.ts';

export interface MergeRules {
  /** Symbols (left, right, product) of each merge, in rank order. */
  triples: Uint32Array;
  /** Of each merge, where some are equal; empty where each has a rank of its own. */
  ranks: Uint32Array;
  /** Texts of the symbols that are no tokens, the first for the symbol after the last id. */
  extra: readonly string[];
  /** Tokens that merging the parts of their text does not give, where a piece may be one as it is. */
  unmerged: Uint32Array;
}

/** Which pieces are a token as they stand, without merging. */
export type Whole = 'all' | 'lineBreaks' | 'none';

export interface Spelling {
  alphabet: TextRules['alphabet'];
  whole: Whole;
}

export function mergeRules(vocabulary: Vocabulary, spelling: Spelling): MergeRules {
  const { tokens, merges } = vocabulary;
  const symbols = new Map<string, number>();
  for (let id = 0; id < tokens.length; id++) if (tokens[id] !== '') symbols.set(tokens[id], id);
  const extra: string[] = [];
  const symbol = (text: string): number => {
    const known = symbols.get(text);
    if (known !== undefined) return known;
    const added = tokens.length + extra.length;
    extra.push(text);
    symbols.set(text, added);
    return added;
  };
  if (spelling.alphabet === 'bytes') for (const character of BYTE_CHARACTERS) symbol(character);
  const scores = merges instanceof Float32Array ? merges : undefined;
  const pairs = merges instanceof Float32Array ? scoredPairs(tokens, merges) : statedPairs(merges);
  const triples: number[] = [];
  const ranks: number[] = [];
  let rank = 0;
  let last: number | undefined;
  for (const [left, right] of pairs) {
    const product = symbol(left + right);
    triples.push(symbol(left), symbol(right), product);
    if (scores === undefined) continue;
    if (scores[product] !== last) rank++;
    last = scores[product];
    ranks.push(rank);
  }
  const rules = {
    triples: Uint32Array.from(triples),
    ranks: Uint32Array.from(ranks),
    extra,
    unmerged: new Uint32Array(0),
  };
  if (spelling.whole === 'none') return rules;
  return { ...rules, unmerged: unmergedTokens(vocabulary, rules, spelling) };
}

type Pair = readonly [left: string, right: string];

function* statedPairs(merges: readonly (string | Pair)[]): Iterable<Pair> {
  for (const merge of merges) {
    const pair = typeof merge === 'string' ? halves(merge) : merge;
    if (pair !== undefined) yield pair;
  }
}

/**
 * All ways to make a token of two symbols, the best score first, as llama.cpp's SentencePiece tokenizer
 * tries them. A symbol is a token or a character.
 */
function* scoredPairs(tokens: readonly string[], scores: Float32Array): Iterable<Pair> {
  const known = new Set(tokens);
  const byScore = tokens.map((_, id) => id).sort((a, b) => scores[b] - scores[a]);
  for (const id of byScore) {
    const token = tokens[id];
    const isSymbol = (text: string) => known.has(text) || isCharacter(text);
    for (let cut = 1; cut < token.length; cut++) {
      if ((token.charCodeAt(cut) & 0xfc00) === 0xdc00) continue;
      const left = token.slice(0, cut);
      const right = token.slice(cut);
      if (isSymbol(left) && isSymbol(right)) yield [left, right];
    }
  }
}

function isCharacter(text: string): boolean {
  return text.length === ((text.codePointAt(0) as number) < 0x10000 ? 1 : 2);
}

/** `left right`, cut at the first space that is not the first character, as llama.cpp cuts. */
function halves(merge: string): [string, string] | undefined {
  const space = merge.indexOf(' ', 1);
  return space < 0 ? undefined : [merge.slice(0, space), merge.slice(space + 1)];
}

function unmergedTokens(
  { tokens, kinds }: Vocabulary,
  rules: MergeRules,
  { alphabet, whole }: Spelling,
): Uint32Array {
  const table = new MergeTable(tokens, rules, alphabet);
  const unmerged: number[] = [];
  for (let id = 0; id < tokens.length; id++) {
    if (kinds[id] !== 'normal' || tokens[id] === '') continue;
    if (whole === 'lineBreaks' && !/^\n+$/.test(tokens[id])) continue;
    const symbols = spelled(tokens[id], table, alphabet);
    if (symbols === undefined) continue;
    if (table.merge(symbols, symbols.length) !== 1 || symbols[0] !== id) unmerged.push(id);
  }
  return Uint32Array.from(unmerged);
}

/** Symbols that a token's own text is merged from; undefined where no piece can have this text. */
function spelled(
  token: string,
  table: MergeTable,
  alphabet: TextRules['alphabet'],
): Int32Array | undefined {
  if (alphabet === 'bytes') {
    const bytes = bytesOf(token);
    return bytes && Int32Array.from(bytes, (byte) => table.symbolOfByte(byte));
  }
  const symbols = Array.from(token, (it) => table.symbolOfCharacter(it.codePointAt(0) as number));
  const known = symbols.filter((symbol) => symbol !== undefined);
  return known.length === symbols.length ? Int32Array.from(known) : undefined;
}
