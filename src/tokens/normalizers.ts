/** What a tokenizer file does to text before it is cut; `tokenizers` 0.23 is the reference. */
import type { Normalizer } from '../model/vocabulary.ts';

/** `isStart`: nothing of the whole text stands before this part of it. */
export function normalized(
  text: string,
  normalizers: readonly Normalizer[],
  { isStart }: { isStart: boolean },
): string {
  return normalizers.reduce((it, normalizer) => normalizedBy(it, normalizer, isStart), text);
}

function normalizedBy(text: string, normalizer: Normalizer, isStart: boolean): string {
  switch (normalizer.kind) {
    case 'unicode':
      return normalizedUnicode(text, normalizer.form);
    case 'lowercase': // each character by itself: a final sigma is no exception
      return Array.from(text, (character) => character.toLowerCase()).join('');
    case 'prepend':
      return text === '' ? text : normalizer.text + text;
    case 'lead': {
      const wanted = isStart || normalizer.where === 'everywhere';
      return wanted && !text.startsWith(normalizer.text) ? normalizer.text + text : text;
    }
    case 'replace':
      return text.replaceAll(normalizer.literal, () => normalizer.by);
  }
}

/**
 * `tokenizers` normalizes by Unicode 9.0 (its crate unicode-normalization-alignments), the host by a
 * later version: characters that have since come to move or to compose stay where they are, and
 * nothing moves or composes across them.
 */
function normalizedUnicode(text: string, form: 'NFC' | 'NFD'): string {
  if (!LATER.test(text) && !MARKS.test(text)) return text.normalize(form);
  return text
    .split(LATER)
    .map((part, i) => (i % 2 === 0 ? normalizedParts(part, form) : part))
    .join('');
}

function normalizedParts(text: string, form: 'NFC' | 'NFD'): string {
  return text
    .split(MARKS)
    .map((part) => part.normalize(form))
    .join('');
}

/**
 * The host needs the square of a run of marks to order it, which no text has so many of and a hostile
 * one has in millions: such a run is taken apart, and ordered only within the parts.
 */
const MARKS = /(\p{M}{512})/u;

const LATER = new RegExp(
  `([${[
    String.raw`\u07fd\u0897-\u089f\u08ca-\u08d3\u09fe\u0c3c\u0d3b-\u0d3c\u0eba\u1715\u1abf-\u1add`,
    String.raw`\u1ae0-\u1aeb\u1df6-\u1dfa\ua82c\u{105c9}\u{105d2}\u{105da}\u{105e4}\u{10d24}-\u{10d27}`,
    String.raw`\u{10d69}-\u{10d6d}\u{10eab}-\u{10eac}\u{10efa}-\u{10efb}\u{10efd}-\u{10eff}`,
    String.raw`\u{10f46}-\u{10f50}\u{10f82}-\u{10f85}\u{11070}\u{1133b}\u{11382}-\u{11385}\u{1138b}`,
    String.raw`\u{1138e}\u{11390}-\u{11391}\u{113b8}\u{113bb}\u{113c2}\u{113c5}\u{113c7}-\u{113c9}`,
    String.raw`\u{113ce}-\u{113d0}\u{1145e}\u{11839}-\u{1183a}\u{11930}\u{11935}\u{11938}`,
    String.raw`\u{1193d}-\u{1193e}\u{11943}\u{119e0}\u{11a34}\u{11a47}\u{11a99}\u{11d42}\u{11d44}-\u{11d45}`,
    String.raw`\u{11d97}\u{11f41}-\u{11f42}\u{1611e}-\u{16129}\u{1612f}\u{16d63}\u{16d67}-\u{16d6a}`,
    String.raw`\u{16ff0}-\u{16ff1}\u{1e08f}\u{1e130}-\u{1e136}\u{1e2ae}\u{1e2ec}-\u{1e2ef}`,
    String.raw`\u{1e4ec}-\u{1e4ef}\u{1e5ee}-\u{1e5ef}\u{1e6e3}\u{1e6e6}\u{1e6ee}-\u{1e6ef}\u{1e6f5}`,
  ].join('')}])`,
  'u',
);
