/** A small byte-level vocabulary for tests: bytes, merges learnt from a sample, a few specials. */

import { BYTE_CHARACTERS } from '../model/byte-alphabet.ts';
import type { TokenKind, Vocabulary } from '../model/vocabulary.ts';

const SAMPLE = `the then there these other another mother  in in  ing king rings   the end of the
the\n\n\tthat's it's we'll don't 1234 2024 ünïcödé größe 日本語 日本 中文 中国 😀😀 -> => == {} (){ };
function return const import the the the of of and and and in in to to`;
const SPECIALS: [string, TokenKind][] = [
  ['<|endoftext|>', 'control'],
  ['<|im_start|>', 'control'],
  ['<|im_end|>', 'control'],
  ['<think>', 'userDefined'],
  ['</think>', 'userDefined'],
  ['<tool_call>', 'userDefined'],
  ['</tool_call>', 'userDefined'],
];

export const CHATML = `{% for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}{{ '<|im_start|>assistant\\n' }}`;

const MERGES = learn();

export function toyVocabulary(changes: Partial<Vocabulary> = {}): Vocabulary {
  const merges = [...MERGES];
  const tokens = [...BYTE_CHARACTERS, ...merges.map((merge) => merge.replace(' ', ''))];
  const kinds: TokenKind[] = tokens.map(() => 'normal');
  for (const [text, kind] of SPECIALS) {
    tokens.push(text);
    kinds.push(kind);
  }
  return {
    algorithm: 'bpe',
    preTokenizer: 'qwen2',
    tokens,
    kinds,
    merges,
    endTokens: [tokens.indexOf('<|im_end|>'), tokens.indexOf('<|endoftext|>')],
    beginToken: undefined,
    endToken: undefined,
    addsBegin: false,
    template: CHATML,
    ...changes,
  };
}

/** Merges the most frequent pair, the first of equally frequent ones, until none occurs twice. */
function learn(): string[] {
  let words = SAMPLE.split(/(?=\s)/).map((word) =>
    [...Buffer.from(word)].map((byte) => BYTE_CHARACTERS[byte]),
  );
  const merges = new Set<string>();
  for (;;) {
    const counts = new Map<string, number>();
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++) {
        const pair = `${word[i]} ${word[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const known = new Set([...merges].map((merge) => merge.replace(' ', '')));
    const best = [...counts]
      .filter(([pair]) => !known.has(pair.replace(' ', '')))
      .reduce((a, b) => (b[1] > a[1] ? b : a), ['', 1])[0];
    if (best === '') return [...merges];
    merges.add(best);
    words = words.map((word) => merged(word, best));
  }
}

function merged(word: string[], pair: string): string[] {
  const result: string[] = [];
  for (let i = 0; i < word.length; i++) {
    if (`${word[i]} ${word[i + 1]}` === pair) result.push(word[i] + word[++i]);
    else result.push(word[i]);
  }
  return result;
}
