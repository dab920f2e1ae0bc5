/** Normalizers and pre-tokenizers of a tokenizer.json (the `tokenizers` library's file, 0.23). */
import type { Normalizer, Split, TextPattern, TextRules } from '../model/vocabulary.ts';
import {
  type Fields,
  fields,
  flag,
  list,
  shown,
  text,
  UnsupportedTokenizer,
} from './json-fields.ts';
import { GPT2, leavesNoGap } from './splitter.ts';

/** U+2581, which SentencePiece writes for a space. */
const SPACE_MARK = '\u2581';

export function normalizersOf(stated: unknown): Normalizer[] {
  if (stated === null || stated === undefined) return [];
  const normalizer = fields(stated, 'its normalizer');
  switch (normalizer.type) {
    case 'Sequence':
      return list(normalizer.normalizers, 'its sequence of normalizers').flatMap(normalizersOf);
    case 'NFC':
    case 'NFD':
      return [{ kind: 'unicode', form: normalizer.type }];
    case 'Lowercase':
      return [{ kind: 'lowercase' }];
    case 'Prepend':
      return [{ kind: 'prepend', text: text(normalizer.prepend, 'what its normalizer prepends') }];
    case 'Replace': {
      const pattern = patternOf(normalizer.pattern);
      if (pattern.kind === 'regex') {
        throw new UnsupportedTokenizer('its normalizer replaces by a regular expression');
      }
      const by = text(normalizer.content, 'what its normalizer puts in');
      return [{ kind: 'replace', literal: pattern.text, by }];
    }
    default:
      throw new UnsupportedTokenizer(`its normalizer is ${shown(normalizer.type)}`);
  }
}

export interface PreTokenizing {
  /** What a pre-tokenizer does to the text before it cuts. */
  normalizers: Normalizer[];
  splits: Split[];
  /** Undefined where pieces stay the text they are. */
  alphabet: Extract<TextRules['alphabet'], 'bytes'> | undefined;
}

export function preTokenizingOf(stated: unknown): PreTokenizing {
  const steps = flattened(stated);
  const found: PreTokenizing = { normalizers: [], splits: [], alphabet: undefined };
  steps.forEach((step, i) => {
    if (found.alphabet !== undefined) {
      throw new UnsupportedTokenizer(`its pre-tokenizer ${shown(step.type)} comes after ByteLevel`);
    }
    add(found, step, i === 0);
  });
  return found;
}

function flattened(stated: unknown): Fields[] {
  if (stated === null || stated === undefined) return [];
  const step = fields(stated, 'its pre-tokenizer');
  if (step.type !== 'Sequence') return [step];
  return list(step.pretokenizers, 'its sequence of pre-tokenizers').flatMap(flattened);
}

function add(found: PreTokenizing, step: Fields, isFirst: boolean): void {
  switch (step.type) {
    case 'Split':
      found.splits.push(splitOf(step));
      return;
    case 'Digits': {
      const one = flag(step.individual_digits, 'individual_digits', false);
      const pattern: TextPattern = { kind: 'regex', source: one ? '\\p{N}' : '\\p{N}+' };
      found.splits.push({ pattern, behavior: 'isolated' });
      return;
    }
    case 'ByteLevel':
      if (flag(step.add_prefix_space, 'add_prefix_space', true)) {
        throw new UnsupportedTokenizer('its pre-tokenizer puts a space in front of texts');
      }
      if (flag(step.use_regex, 'use_regex', true)) {
        found.splits.push({ pattern: { kind: 'regex', source: GPT2 }, behavior: 'isolated' });
      }
      found.alphabet = 'bytes';
      return;
    case 'Metaspace':
      if (!isFirst) throw new UnsupportedTokenizer('its pre-tokenizer Metaspace is not the first');
      addMetaspace(found, step);
      return;
    default:
      throw new UnsupportedTokenizer(`its pre-tokenizer is ${shown(step.type)}`);
  }
}

function addMetaspace(found: PreTokenizing, step: Fields): void {
  const mark = text(step.replacement, 'the replacement of its pre-tokenizer');
  if (mark !== SPACE_MARK) {
    throw new UnsupportedTokenizer(`its pre-tokenizer writes ${shown(mark)} for a space`);
  }
  found.normalizers.push({ kind: 'replace', literal: ' ', by: mark });
  const legacy = flag(step.add_prefix_space, 'add_prefix_space', true) ? 'always' : 'never';
  const scheme = step.prepend_scheme ?? legacy;
  if (scheme === 'always')
    found.normalizers.push({ kind: 'lead', text: mark, where: 'everywhere' });
  else if (scheme === 'first') found.normalizers.push({ kind: 'lead', text: mark, where: 'start' });
  else if (scheme !== 'never') {
    throw new UnsupportedTokenizer(`its pre-tokenizer prepends ${shown(scheme)}`);
  }
  if (flag(step.split, 'split', true)) {
    found.splits.push({ pattern: { kind: 'literal', text: mark }, behavior: 'mergedWithNext' });
  }
}

const BEHAVIORS: Readonly<Record<string, Split['behavior']>> = {
  Isolated: 'isolated',
  MergedWithPrevious: 'mergedWithPrevious',
  MergedWithNext: 'mergedWithNext',
  Contiguous: 'contiguous',
};

function splitOf(step: Fields): Split {
  const pattern = patternOf(step.pattern);
  const named = text(step.behavior, 'the behavior of its Split');
  const inverted = flag(step.invert, 'invert', false);
  // What is removed are the gaps, and there are none.
  if (named === 'Removed' && inverted && leavesNoGap(pattern)) {
    return { pattern, behavior: 'isolated' };
  }
  const behavior = BEHAVIORS[named];
  // Isolated and contiguous pieces are the same, whichever of them are called the matches.
  const symmetric = behavior === 'isolated' || behavior === 'contiguous';
  if (behavior === undefined || (inverted && !symmetric)) {
    const how = inverted ? `inverted ${named}` : named;
    throw new UnsupportedTokenizer(`its pre-tokenizer is a Split that is ${shown(how)}`);
  }
  return { pattern, behavior };
}

function patternOf(stated: unknown): TextPattern {
  const pattern = fields(stated, 'a pattern of its tokenizer');
  if (typeof pattern.Regex === 'string') return { kind: 'regex', source: pattern.Regex };
  const literal = text(pattern.String, 'a pattern of its tokenizer');
  if (literal === '') throw new UnsupportedTokenizer('a pattern of its tokenizer is empty');
  return { kind: 'literal', text: literal };
}
