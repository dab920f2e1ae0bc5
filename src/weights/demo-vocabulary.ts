import { readFileSync } from 'node:fs';
import { BYTE_CHARACTERS } from '../model/byte-alphabet.ts';
import type { TokenKind } from '../model/vocabulary.ts';
import { GGUF_TOKEN_KINDS } from './vocabulary.ts';

/** Ids run over the bytes, the merges in rank order, the special tokens. */
export interface DemoVocabulary {
  tokens: readonly string[];
  /** As llama.cpp numbers them. */
  kinds: Int32Array;
  /** `left right` in rank order. */
  merges: readonly string[];
  /** Which tokens the model likes to say: lower-case words, so that its noise is readable. */
  loud: readonly boolean[];
}

/** The tokens that Qwen3's template and its clients rely on, with Qwen3's kinds. */
const SPECIAL_TOKENS: readonly (readonly [token: string, kind: TokenKind])[] = [
  ['<|endoftext|>', 'control'],
  ['<|im_start|>', 'control'],
  ['<|im_end|>', 'control'],
  ['<tool_call>', 'userDefined'],
  ['</tool_call>', 'userDefined'],
  ['<tool_response>', 'userDefined'],
  ['</tool_response>', 'userDefined'],
  ['<think>', 'userDefined'],
  ['</think>', 'userDefined'],
];

/** A space (U+0120 in the byte alphabet) and at least three letters. */
const WORD = /^\u0120[a-z]{3,}$/;

export function demoVocabulary(): DemoVocabulary {
  const file = readFileSync(new URL('./demo-tokenizer.bpe', import.meta.url), 'utf8');
  const merges = file
    .slice(file.indexOf('\n\n') + 2)
    .trimEnd()
    .split('\n');
  // A set: two merges may spell one token, and llama.cpp aborts on a token that is listed twice.
  const texts = new Set([...BYTE_CHARACTERS, ...merges.map((merge) => merge.replace(' ', ''))]);
  const tokens = [...texts, ...SPECIAL_TOKENS.map(([token]) => token)];
  const kinds = new Int32Array(tokens.length).fill(GGUF_TOKEN_KINDS.indexOf('normal'));
  SPECIAL_TOKENS.forEach(([, kind], i) => {
    kinds[texts.size + i] = GGUF_TOKEN_KINDS.indexOf(kind);
  });
  return { tokens, kinds, merges, loud: tokens.map((token) => WORD.test(token)) };
}
