import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CLASSES } from './character-class.ts';
import { Pattern } from './pattern.ts';
import { PatternError } from './pattern-syntax.ts';

test('matches as the host’s regular expressions do', () => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c', ' ', '\n'), { maxLength: 12 });
  const first = fc.constantFrom('', 'a', '[^b]'); // what may match nothing is refused
  fc.assert(
    fc.property(first, expression(2), text, (begin, rest, characters) => {
      const source = begin === '' ? `(?:${rest})[^c]` : begin + rest;
      const whole = characters.join('');
      const host = new RegExp(source, 'uy');
      for (let at = 0; at <= whole.length; at++) {
        host.lastIndex = at;
        const end = host.test(whole) ? host.lastIndex : undefined;
        assert.equal(matchEnd(source, whole, at), end, `${source} at ${at}`);
      }
    }),
    { numRuns: 3000 },
  );
});

test('what the host’s expressions do not know', () => {
  const cases: [string, string, number | undefined][] = [
    ["(?i:'s|'ll)x?", "'Sx", 3],
    ["(?i:'s|'ll)", "'lL", 3],
    ["(?i:'s)", "'ſ", 2],
    ['(?i:k)', '\u212a', 1],
    ['(?i:s)', 'ß', undefined],
    ['(?:a|(?i:b))c', 'Bc', 2],
    ['(?:a|(?i:b))c', 'Ac', undefined],
    ['a++ab?', 'aaab', undefined],
    ['[ab]?+b', 'b', undefined],
    ['[\\p{L}&&[^\\p{Han}]]+', 'aé漢', 2],
    ['[[ab]c-e]+', 'abcde', 5],
    ['[\\p{Lu}\\p{Lt}]+', 'AǅaB', 2],
    ['\\s+', ' \u0085\u2003\ufeff', 3],
    ['[^\\r\\n\\p{L}\\p{N}]+', '- \u0301１', 3],
    ['\\p{N}{1,3}', '١٢٣٤', 3],
    ['[\\-a\\]]+', 'a-]b', 3],
    ['𝒜.', '𝒜😀', 2],
    ['.', '\n', undefined],
  ];
  for (const [source, text, end] of cases) assert.equal(matchEnd(source, text, 0), end, source);
});

test('what means something else, or nothing known, is refused by name', () => {
  const cases: [string, RegExp][] = [
    ['a$', /"\$" is not supported/],
    ['\\d+', /"\\\\d" is not supported/],
    ['\\bx', /"\\\\b"/],
    ['[[:alpha:]]', /"\[:"/],
    ['\\p{Greek}', /"\\\\p\{Greek\}"/],
    ['\\p{Lu}', /"\\\\p\{Lu\} without its kin"/],
    ['[\\p{Lo}a]', /"\\\\p\{Lo\} without its kin"/],
    ['a{1,2}+', /"\}\+"/],
    ['a+*', /a repeat of a repeat/],
    ['(?<=a)b', /"\(\?<"/],
    ['(?i)a', /"\(\?\)"/],
    ['(a', /"\("/],
    ['a)', /"\)"/],
    ['[a', /"\["/],
    ['(?:a|bc)*x', /repeats a group whose length varies/],
    ['a*', /matches nothing/],
    ['\\', /"\\\\"/],
  ];
  for (const [source, reason] of cases) {
    assert.throws(
      () => new Pattern(source, CLASSES),
      (thrown: Error) => thrown instanceof PatternError && reason.test(thrown.message),
      source,
    );
  }
});

function matchEnd(source: string, text: string, at: number): number | undefined {
  const codePoints = Uint32Array.from(Array.from(text, (it) => it.codePointAt(0) as number));
  return new Pattern(source, CLASSES).matchEnd(codePoints, at, codePoints.length);
}

/** Regular expressions over a few letters; repeated groups have one length. */
function expression(depth: number): fc.Arbitrary<string> {
  const single = fc.constantFrom(
    'a',
    'b',
    '[ab]',
    '[^a]',
    '\\s',
    '\\S',
    '[a-c]',
    '\\p{L}',
    '[^\\s]',
  );
  const repeat = fc.constantFrom('', '?', '*', '+', '{2}', '{1,2}', '{2,}', '*?', '+?', '??');
  const piece = fc.tuple(single, repeat).map((it) => it.join(''));
  if (depth === 0) return piece;
  const inner = expression(depth - 1);
  const sequence = fc.array(inner, { minLength: 1, maxLength: 3 }).map((it) => it.join(''));
  return fc.oneof(
    sequence,
    fc.tuple(inner, inner).map(([a, b]) => `(?:${a}|${b})`),
    // Where a group may match nothing, the host tries its alternatives in another order.
    fc.tuple(inner, inner).map(([a, b]) => `(?:a${a}|${b}b)?`),
    fc.tuple(single, single, repeat).map(([a, b, times]) => `(?:${a}${b})${times}`),
    fc.tuple(sequence, inner).map(([a, b]) => `${a}(?=${b})`),
    fc.tuple(sequence, inner).map(([a, b]) => `${a}(?!${b})`),
  );
}
