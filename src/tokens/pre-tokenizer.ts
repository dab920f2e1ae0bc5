/**
 * How a text is cut into the pieces that are merged separately: as llama.cpp does it for the
 * pre-tokenizer that a GGUF file names (llama-vocab.cpp and unicode.cpp, release v0.5.0), or by the
 * steps that a tokenizer.json lists. Each step cuts the pieces of the one before; a step's lookahead
 * ends at such a piece.
 */
import {
  type Normalizer,
  SENTENCE_PIECE,
  SENTENCE_PIECE_LED,
  type Split,
  type TextRules,
} from '../model/vocabulary.ts';
import { CASELESS, CLASSES, LETTER, MARK } from './character-class.ts';
import type { Spelling, Whole } from './merge-rules.ts';
import { cased, gpt2, type PieceEnd, words } from './scanners.ts';
import { splitter } from './splitter.ts';
import { classes16 } from './unicode-16.ts';

export interface PreTokenizer {
  normalizers: readonly Normalizer[];
  steps: readonly PieceEnd[];
  spelling: Spelling;
}

/**
 * By llama.cpp's name, of which several share a rule there, or by rules. Undefined where a name is not
 * known here; throws `PatternError` where a pattern is not supported.
 */
export function preTokenizerOf(stated: string | TextRules): PreTokenizer | undefined {
  return typeof stated === 'string' ? named(stated) : ruled(stated);
}

/** How the tokens of a vocabulary are written; names that are not known here mean bytes. */
export function spellingOf(stated: string | TextRules): Spelling {
  if (typeof stated !== 'string') {
    return { alphabet: stated.alphabet, whole: stated.ignoreMerges ? 'all' : 'none' };
  }
  const { alphabet = 'bytes', whole = 'none' } = groupOf(stated) ?? {};
  return { alphabet, whole };
}

function groupOf(name: string): Group | undefined {
  return GROUPS.find(({ names }) => names.includes(name));
}

function named(name: string): PreTokenizer | undefined {
  const known = groupOf(name);
  if (known === undefined) return undefined;
  const { normalizers = [], steps } = known;
  return { normalizers, steps: steps(), spelling: spellingOf(name) };
}

function ruled(rules: TextRules): PreTokenizer {
  return {
    normalizers: rules.normalizers,
    steps: rules.splits.map((split) => splitter(split, classes16())),
    spelling: spellingOf(rules),
  };
}

interface Group {
  names: readonly string[];
  normalizers?: readonly Normalizer[];
  steps: () => readonly PieceEnd[];
  whole?: Whole;
  alphabet?: TextRules['alphabet'];
}

const SPACES_MARKED: Normalizer = { kind: 'replace', literal: ' ', by: '\u2581' };
const BLANKS = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const ASCII_SIGNS = '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]';

const GROUPS: readonly Group[] = [
  {
    names: [
      ...['qwen2', 'deepseek-r1-qwen', 'kormo', 'f2llmv2', 'megrez', 'stablelm2', 'hunyuan'],
      ...['solar-open', 'grok-2'],
    ],
    steps: () => [words({ classes: CLASSES, word: LETTER, digits: 1, fold: 'ascii' })],
  },
  {
    names: ['qwen35'],
    steps: () => [words({ classes: CLASSES, word: LETTER | MARK, digits: 1, fold: 'ascii' })],
  },
  {
    names: [
      ...['llama3', 'llama-v3', 'llama-bpe', 'falcon3', 'falcon-h1', 'pixtral', 'midm-2.0'],
      ...['lfm2', 'jina-v5-nano'],
    ],
    steps: () => [words({ classes: CLASSES, word: LETTER, digits: 3, fold: 'ascii' })],
    whole: 'all',
  },
  {
    names: ['dbrx', 'smaug-bpe', 'glm4', 'chatglm-bpe'],
    steps: () => [words({ classes: CLASSES, word: LETTER, digits: 3, fold: 'ascii' })],
  },
  {
    names: ['gpt-4o', 'llama4', 'kanana2', 'talkie', 'minimax-m2'],
    steps: () => [cased({ classes: asciiCased(), digits: 3, fold: 'ascii' })],
  },
  {
    names: ['tekken'],
    steps: () => [cased({ classes: asciiCased(), digits: 1, fold: 'none' })],
    whole: 'all',
  },
  {
    names: [
      'smollm',
      'starcoder',
      'refact',
      'command-r',
      'codeshell',
      'exaone',
      'minerva-7b',
      'mellum2',
    ],
    steps: () => [...patterns('\\p{N}'), gpt2({ classes: CLASSES })],
  },
  {
    names: [
      ...['gpt-2', 'phi-2', 'jina-es', 'jina-de', 'gigachat'],
      ...['a.x-4.0', 'mellum', 'modern-bert', 'mpt', 'olmo', 'jais', 'trillion'],
      ...['granite-docling', 'exaone4'],
    ],
    steps: () => [gpt2({ classes: CLASSES })],
  },
  {
    names: ['deepseek-v3', 'hunyuan-dense', 'joyai-llm', 'hy_v4'],
    steps: () =>
      patterns(
        '\\p{N}{1,3}',
        '[一-龥぀-ゟ゠-ヿ]+',
        `${ASCII_SIGNS}[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|${BLANKS}`,
      ),
  },
  {
    names: ['deepseek-coder'],
    steps: () => patterns('[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', '[一-龥ࠀ-一가-퟿]+', '\\p{N}'),
  },
  {
    names: ['seed-coder'],
    steps: () =>
      patterns(
        `'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${BLANKS}`,
      ),
  },
  {
    names: ['bailingmoe', 'bailingmoe2', 'llada-moe'],
    steps: () =>
      patterns(
        "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
      ),
  },
  {
    names: ['gemma4'],
    normalizers: [SPACES_MARKED],
    steps: () => patterns('[\\n]+'),
    alphabet: 'characters',
    whole: 'lineBreaks',
  },
  {
    names: [SENTENCE_PIECE],
    normalizers: [SPACES_MARKED],
    steps: () => [],
    alphabet: 'characters',
  },
  {
    names: [SENTENCE_PIECE_LED],
    normalizers: [{ kind: 'prepend', text: ' ' }, SPACES_MARKED],
    steps: () => [],
    alphabet: 'characters',
  },
];

function patterns(...sources: string[]): PieceEnd[] {
  return sources
    .map((source): Split => ({ pattern: { kind: 'regex', source }, behavior: 'isolated' }))
    .map((split) => splitter(split, CLASSES));
}

/**
 * llama.cpp knows case in ASCII only, where an expression asks for it: other letters count as upper
 * and as lower, and marks as neither.
 */
function asciiCased(): Uint8Array {
  return CLASSES.map((kind, code) => {
    if (code >= 0x80 && (kind & LETTER) !== 0) return CASELESS;
    return kind === MARK ? 0 : kind;
  });
}
