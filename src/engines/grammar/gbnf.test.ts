import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import { derive } from './derivation.ts';
import {
  type Expression,
  either,
  type Grammar,
  oneOf,
  optional,
  repeat,
  rule,
  sequence,
  text,
} from './expression.ts';
import { writeGbnf } from './gbnf.ts';
import { grammarOf, matches } from './matcher.test.ts';
import { readGbnf } from './read-gbnf.ts';

const expressions: fc.Arbitrary<Expression> = fc.letrec<{ expression: Expression }>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 4 },
    fc.string({ unit: 'grapheme', maxLength: 3 }).map((it) => text(it.replaceAll('\0', ''))),
    fc.constantFrom('a', '"', '\\', '\n', ']', '-', '^', 'é', '😀').map((c) => {
      const code = c.codePointAt(0) ?? 0;
      return oneOf([[code, code + 3]]);
    }),
    fc.array(tie('expression'), { minLength: 1, maxLength: 3 }).map((of) => sequence(...of)),
    fc.array(tie('expression'), { minLength: 1, maxLength: 3 }).map((of) => either(...of)),
    fc
      .tuple(tie('expression'), fc.nat(3), fc.nat(3))
      .map(([of, min, more]) => repeat(of, min, min + more)),
    tie('expression').map(optional),
  ),
})).expression;

test('GBNF that was written and read again allows the same texts', () => {
  const property = fc.property(expressions, expressions, fc.nat(), (root, other, seed) => {
    const grammar: Grammar = new Map([
      ['root', sequence(root, optional(rule('other')))],
      ['other', other],
    ]);
    const again = readGbnf(writeGbnf(grammar));
    for (const [from, to] of [
      [grammar, again],
      [again, grammar],
    ]) {
      const sentence = derive(from, new Prng(seed));
      assert.ok(matches(to, sentence), `${JSON.stringify(sentence)} of\n${writeGbnf(grammar)}`);
    }
  });
  fc.assert(property, { numRuns: 300 });
});

test('bounds beyond what llama.cpp counts are written as runs, and count the same', () => {
  for (const [min, max] of [
    [0, 300],
    [300, 300],
    [257, 700],
    [1000, undefined],
    [0, 3000],
    [99_999, 100_000],
  ] as const) {
    const grammar: Grammar = new Map([['root', repeat(oneOf([[0x61, 0x61]]), min, max)]]);
    const again = readGbnf(writeGbnf(grammar));
    for (const count of [
      0,
      1,
      min - 1,
      min,
      min + 1,
      500,
      (max ?? 2000) - 1,
      max ?? 2000,
      (max ?? 2000) + 1,
    ]) {
      const isIn = count >= min && count <= (max ?? count);
      if (count >= 0)
        assert.equal(matches(again, 'a'.repeat(count)), isIn, `${count} of ${min},${max}`);
    }
    for (const [, bound] of writeGbnf(grammar).matchAll(/(\d+)\}/g)) {
      assert.ok(Number(bound) <= 2000, 'llama.cpp takes larger bounds for none');
    }
  }
});

test('a client’s own grammar is read, or what is wrong with it is said', () => {
  const chess = `# moves
root  ::= ("1. " move " " move "\\n"
           [1-9] [0-9]? ". " move " " move "\\n")+
move  ::= (pawn | nonpawn | castle) [+#]?   # with check
nonpawn ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]
pawn ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR]){0,1}
castle ::= "O-O" "-O"?
`;
  const grammar = grammarOf({ kind: 'grammar', gbnf: chess });
  assert.ok(matches(grammar, '1. e4 e5\n2. Nf3 O-O-O+\n'));
  assert.ok(!matches(grammar, '1. e9 e5\n2. Nf3 Nc6\n'));
  const wrong: [string, RegExp][] = [
    ['', /no rule root/],
    ['root ::= "a', /lacks " in line 1/],
    ['root ::= other', /names the rule other/],
    ['root ::= root "a" | "b"', /refers to itself/],
    ['root ::= "a" root', /No text at all/],
    ['root ::= ("a"', /lacks \)/],
    ['root ::= <tool>', /tokens/],
    ['root ::= [z-a]', /range/],
    [`root ::= ${'('.repeat(5000)}`, /nested/],
    ['root ::= "a"{1,99999999}', /too often/],
    ['{"type": "object"}', /lacks a rule’s name/],
  ];
  for (const [gbnf, sentence] of wrong) {
    assert.throws(() => grammarOf({ kind: 'grammar', gbnf }), sentence, gbnf.slice(0, 40));
  }
});
