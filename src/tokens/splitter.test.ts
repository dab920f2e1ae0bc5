import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Split } from '../model/vocabulary.ts';
import { CLASSES } from './character-class.ts';
import { Pattern } from './pattern.ts';
import { GPT2, leavesNoGap, splitter } from './splitter.ts';

const CONTRACTIONS = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`;
const BLANKS = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const REST = ` ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${BLANKS}`;
const CASED = ['[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]', '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]'];
/** As the models' files spell them. */
const PUBLISHED: Record<string, string> = {
  'gpt-2': GPT2,
  qwen: `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|${REST}`,
  'qwen 3.5': `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${BLANKS}`,
  'llama 3': `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|${REST}`,
  o200k:
    `[^\\r\\n\\p{L}\\p{N}]?${CASED[0]}*${CASED[1]}+${CONTRACTIONS}?|` +
    `[^\\r\\n\\p{L}\\p{N}]?${CASED[0]}+${CASED[1]}*${CONTRACTIONS}?|` +
    `\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${BLANKS}`,
};

const ATOMS = [
  ...[
    'a',
    'B',
    'Bc',
    'ABc',
    'é',
    '中',
    'ʰ',
    '𝒜',
    's',
    'S',
    're',
    'LL',
    'ſ',
    "'",
    "''",
    '’',
    'ǅ',
    'ß',
  ],
  ...[
    '1',
    '23',
    '4567',
    '٣',
    '½',
    'Ⅷ',
    ' ',
    '  ',
    '\n',
    '\r\n',
    '\t',
    '\u0085',
    '\u00a0',
    '\u2028',
  ],
  ...[
    '\ufeff',
    '\u200d',
    '\u0301',
    '\u0301\u0301',
    '👍🏽',
    '!',
    '...',
    '_',
    '/',
    '//',
    '\u0000',
    '\ufffd',
  ],
];

for (const [name, source] of Object.entries(PUBLISHED)) {
  test(`the scanner of ${name} cuts as its expression matches, without gaps`, () => {
    const pattern = { kind: 'regex', source } as const;
    assert.ok(leavesNoGap(pattern));
    const scanner = splitter({ pattern, behavior: 'isolated' }, CLASSES);
    const regex = new Pattern(source, CLASSES);
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...ATOMS), { maxLength: 14 }), (atoms) => {
        const codePoints = pointsOf(atoms.join(''));
        for (let at = 0; at < codePoints.length; ) {
          const end = scanner(codePoints, at, codePoints.length);
          assert.equal(end, regex.matchEnd(codePoints, at, codePoints.length));
          at = end;
        }
      }),
      { numRuns: 3000 },
    );
  });
}

test('matches and gaps become pieces as the reference folds them', () => {
  const sources = ['a', 'ab', 'a+', '[ab]{1,2}', '\\s', 'b(?!c)', 'a|bb'];
  const behaviors = ['isolated', 'mergedWithPrevious', 'mergedWithNext', 'contiguous'] as const;
  const text = fc.array(fc.constantFrom('a', 'b', 'c', ' '), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(
      fc.constantFrom(...sources),
      fc.constantFrom(...behaviors),
      text,
      (source, behavior, characters) => {
        const whole = characters.join('');
        const split = splitter({ pattern: { kind: 'regex', source }, behavior }, CLASSES);
        assert.deepEqual(cut(split, whole), folded(spans(source, whole), behavior, whole));
      },
    ),
    { numRuns: 4000 },
  );
});

test('a literal is no expression', () => {
  const pattern = { kind: 'literal', text: '.😀' } as const;
  const split = splitter({ pattern, behavior: 'mergedWithPrevious' }, CLASSES);
  assert.deepEqual(cut(split, 'a.😀.😀b.'), ['a.😀', '.😀', 'b.']);
});

type PieceEnd = ReturnType<typeof splitter>;

function cut(pieceEnd: PieceEnd, text: string): string[] {
  const codePoints = pointsOf(text);
  const pieces: string[] = [];
  for (let at = 0; at < codePoints.length; ) {
    const end = pieceEnd(codePoints, at, codePoints.length);
    pieces.push(String.fromCodePoint(...codePoints.subarray(at, end)));
    at = end;
  }
  return pieces;
}

function pointsOf(text: string): Uint32Array {
  return Uint32Array.from(Array.from(text, (it) => it.codePointAt(0) as number));
}

interface Span {
  start: number;
  end: number;
  matched: boolean;
}

function spans(source: string, text: string): Span[] {
  const found: Span[] = [];
  let at = 0;
  for (const { index, 0: match } of text.matchAll(new RegExp(source, 'gu'))) {
    if (index > at) found.push({ start: at, end: index, matched: false });
    at = index + match.length;
    found.push({ start: index, end: at, matched: true });
  }
  if (at < text.length) found.push({ start: at, end: text.length, matched: false });
  return found;
}

/** Written from the reference's description: each match joins one neighbour, unless that is a match. */
function folded(all: readonly Span[], behavior: Split['behavior'], text: string): string[] {
  const pieces: Span[] = [];
  const ordered = behavior === 'mergedWithNext' ? [...all].reverse() : all;
  let before: boolean | undefined;
  for (const span of ordered) {
    const last = pieces.at(-1);
    const joins =
      behavior === 'contiguous'
        ? span.matched === before
        : behavior !== 'isolated' && span.matched && before === false;
    if (last !== undefined && joins) {
      last.start = Math.min(last.start, span.start);
      last.end = Math.max(last.end, span.end);
    } else pieces.push({ ...span });
    before = span.matched;
  }
  return pieces.sort((a, b) => a.start - b.start).map(({ start, end }) => text.slice(start, end));
}
