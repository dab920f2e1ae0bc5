/** A model's tokenizer and chat template as its file states them, before anything is built from them. */
export interface Vocabulary {
  /** Merge algorithm; only byte-level BPE is built here. */
  algorithm: 'bpe' | 'other';
  /** Name of the pre-tokenizer as llama.cpp knows it: `qwen2`, `smollm`, … */
  preTokenizer: string;
  /** Text of each id, in GPT-2's byte-to-character alphabet for normal tokens. */
  tokens: readonly string[];
  kinds: readonly TokenKind[];
  /** `left right` in rank order. */
  merges: readonly string[];
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
