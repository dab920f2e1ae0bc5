import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Normalizer } from '../model/vocabulary.ts';
import { normalized } from './normalizers.ts';

const NFC: Normalizer = { kind: 'unicode', form: 'NFC' };

test('marks that Unicode 9 did not know stay where they are, and hold others back', () => {
  const cases: [string, string][] = [
    ['e\u0301', 'é'],
    ['\u1100\u1161\u11a8', '각'],
    ['a\u0301\u0316', '\u00e1\u0316'], // reordered, then composed
    // U+1AC2 is of Unicode 14: class 230 by it, and none by Unicode 9.
    ['\u1ac2\u0316', '\u1ac2\u0316'],
    ['e\u1ac2\u0301', 'e\u1ac2\u0301'],
    // U+11938 is of Unicode 13: its parts did not compose.
    ['\u{11935}\u{11930}', '\u{11935}\u{11930}'],
    ['e\u0301\u{105d2}\u0307e\u0301', 'é\u{105d2}\u0307é'],
  ];
  for (const [text, wanted] of cases) assert.equal(run(text, [NFC]), wanted);
  assert.equal(run('\u{11938}é', [{ kind: 'unicode', form: 'NFD' }]), '\u{11938}e\u0301');
});

test('runs of marks are ordered, however many there are', () => {
  const marks = '\u0301\u0316';
  const short = run(`e${marks.repeat(200)}x`, [NFC]);
  assert.equal(short, `e${marks.repeat(200)}x`.normalize('NFC'));
  // Ordered at once, this many would take minutes.
  const long = run(`e${marks.repeat(500_000)}x`, [NFC]);
  assert.equal(long.length, 1_000_002);
  assert.ok(long.endsWith('\u0301x'));
});

test('text is replaced, led and lowered as the reference does', () => {
  const marked: Normalizer = { kind: 'replace', literal: ' ', by: '$&' };
  assert.equal(run('a  b', [marked]), 'a$&$&b');
  assert.equal(run('ΑΣ İ', [{ kind: 'lowercase' }]), 'ας i̇'.replace('ς', 'σ'));
  const prepend: Normalizer = { kind: 'prepend', text: 'x' };
  assert.equal(run('', [prepend]), '');
  assert.equal(run('xa', [prepend]), 'xxa');
  const everywhere: Normalizer = { kind: 'lead', text: 'x', where: 'everywhere' };
  const start: Normalizer = { kind: 'lead', text: 'x', where: 'start' };
  assert.equal(run('xa', [everywhere]), 'xa');
  assert.equal(run('a', [everywhere, prepend]), 'xxa');
  assert.equal(normalized('a', [everywhere], { isStart: false }), 'xa');
  assert.equal(normalized('a', [start], { isStart: false }), 'a');
  assert.equal(run('a', [start]), 'xa');
});

function run(text: string, normalizers: Normalizer[]): string {
  return normalized(text, normalizers, { isStart: true });
}
