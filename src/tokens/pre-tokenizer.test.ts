import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { preTokenizerOf } from './pre-tokenizer.ts';

/** White_Space as Rust, Python and llama.cpp have it: JavaScript's \s differs. */
const S = '\\t-\\r\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
/** The expressions of the models' tokenizer.json files, their \s and \S spelled out. */
const QWEN2 = new RegExp(
  `'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|` +
    ` ?[^${S}\\p{L}\\p{N}]+[\\r\\n]*|[${S}]*[\\r\\n]+|[${S}]+(?![^${S}])|[${S}]+`,
  'gu',
);
const GPT2 = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${S}\\p{L}\\p{N}]+|[${S}]+(?![^${S}])|[${S}]+`,
  'gu',
);

const TWINS: Record<string, (text: string) => string[]> = {
  qwen2: (text) => text.match(QWEN2) ?? [],
  'gpt-2': (text) => text.match(GPT2) ?? [],
  smollm: (text) =>
    text.split(/(\p{N})/u).flatMap((part) => (part === '' ? [] : (part.match(GPT2) ?? []))),
};

const ATOMS = [
  ...['a', 'B', 'é', '中', 'ʰ', '𝒜', 's', 'S', 're', 'LL', 've', 'd', 'ſ', "'", "''", '’'],
  ...['1', '23', '٣', '½', 'Ⅷ', '𝟙', ' ', '  ', '\n', '\r\n', '\t', '\u0085', '\u00a0', '\u2028'],
  ...['\u3000', '\ufeff', '\u200d', '\u0301', '👍🏽', '!', '...', '_', '{}', '\u0000', '\ufffd'],
];

for (const [name, twin] of Object.entries(TWINS)) {
  test(`${name} cuts as its regular expression does`, () => {
    const text = fc.array(fc.constantFrom(...ATOMS), { maxLength: 14 });
    fc.assert(
      fc.property(text, (parts) => {
        assert.deepEqual(cut(name, parts.join('')), twin(parts.join('')));
      }),
      { numRuns: 4000 },
    );
  });
}

test('pieces as llama.cpp cuts them', () => {
  const cases: [string, string, string[]][] = [
    [
      'qwen2',
      "I'LL go  12\u0085\n\n x",
      ['I', "'LL", ' go', ' ', ' ', '1', '2', '\u0085\n\n', ' x'],
    ],
    ['qwen2', '\ufeffa \ufeff', ['\ufeffa', ' \ufeff']],
    ['qwen2', 'a \n b!?\r\n  ', ['a', ' \n', ' b', '!?\r\n', '  ']],
    ['gpt-2', " I'LL a  12  ", [' I', "'", 'LL', ' a', ' ', ' 12', '  ']],
    ['smollm', 'a  12 3', ['a', '  ', '1', '2', ' ', '3']],
  ];
  for (const [name, text, pieces] of cases) assert.deepEqual(cut(name, text), pieces);
});

function cut(name: string, text: string): string[] {
  const steps = preTokenizerOf(name)?.steps;
  assert.ok(steps);
  const codePoints = Uint32Array.from(Array.from(text, (it) => it.codePointAt(0) as number));
  const pieces: string[] = [];
  const walk = (step: number, start: number, end: number): void => {
    if (step === steps.length) {
      pieces.push(String.fromCodePoint(...codePoints.subarray(start, end)));
      return;
    }
    for (let at = start; at < end; ) {
      const next = steps[step](codePoints, at, end);
      assert.ok(next > at && next <= end);
      walk(step + 1, at, next);
      at = next;
    }
  };
  walk(0, 0, codePoints.length);
  return pieces;
}
