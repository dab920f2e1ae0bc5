/** A model's tokenizer and chat template as its file states them, before anything is built from them. */
export interface Vocabulary {
  /** Merge algorithm; only byte-level BPE is built here. */
  algorithm: 'bpe' | 'other';
  /** Name of the pre-tokenizer as llama.cpp knows it (`qwen2`, `smollm`, …), or all its rules. */
  preTokenizer: string | TextRules;
  /** Text of each id, in GPT-2's byte-to-character alphabet for normal tokens, or see `TextRules`. */
  tokens: readonly string[];
  kinds: readonly TokenKind[];
  /**
   * In rank order: `left right`, or a pair where one of them may hold a space. Or the score of each
   * token: then any two symbols may merge that make a token, the one of the best score first.
   */
  merges: readonly (string | readonly [left: string, right: string])[] | Float32Array;
  /** Ids that end an answer: end of text, end of turn. */
  endTokens: readonly number[];
  /** Written by templates as `bos_token` and `eos_token`. */
  beginToken: number | undefined;
  endToken: number | undefined;
  /** Whether encoding puts `beginToken` in front. */
  addsBegin: boolean;
  /** Chat template, Jinja source. */
  template: string | undefined;
}

/**
 * `control` tokens are recognised only in rendered prompts, `userDefined` in any text, `normal` come
 * out of merging.
 */
export type TokenKind = 'normal' | 'unknown' | 'control' | 'userDefined' | 'unused' | 'byte';

/** Pre-tokenizers that llama.cpp has no name for: SentencePiece's way, and with a space put in front. */
export const SENTENCE_PIECE = 'sentencepiece';
export const SENTENCE_PIECE_LED = 'sentencepiece-led';

/** How text becomes pieces before merging, as a tokenizer.json states it; applied in this order. */
export interface TextRules {
  /** Cut out first: the ones that are not `normalized` from the text as it comes. */
  added: readonly AddedToken[];
  normalizers: readonly Normalizer[];
  splits: readonly Split[];
  /** A piece that is a token as it stands is not merged from its parts. */
  ignoreMerges: boolean;
  /**
   * `bytes`: tokens are written in GPT-2's byte-to-character alphabet. `characters`: as text, with
   * U+2581 for a space, and `<0x0A>` for each byte of a character that is no token.
   */
  alphabet: 'bytes' | 'characters';
}

/** `strips…`: takes along the white space on that side. `wholeWord`: not inside a word. */
export interface AddedToken {
  id: number;
  text: string;
  normalized: boolean;
  stripsLeft: boolean;
  stripsRight: boolean;
  wholeWord: boolean;
}

export type Normalizer =
  | { kind: 'unicode'; form: 'NFC' | 'NFD' }
  | { kind: 'lowercase' }
  /** Text that is not empty gets this in front. */
  | { kind: 'prepend'; text: string }
  /** Text that does not begin with this gets it in front; `start`: where the whole text begins. */
  | { kind: 'lead'; text: string; where: 'everywhere' | 'start' }
  | { kind: 'replace'; literal: string; by: string };

export interface Split {
  pattern: TextPattern;
  behavior: 'isolated' | 'mergedWithPrevious' | 'mergedWithNext' | 'contiguous';
}

export type TextPattern =
  | { kind: 'literal'; text: string }
  /** In Oniguruma's syntax. */
  | { kind: 'regex'; source: string };
