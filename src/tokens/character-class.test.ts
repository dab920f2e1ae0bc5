import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLASSES, LETTER, NUMBER, SPACE } from './character-class.ts';

test('the classes are those of Unicode 15.1', () => {
  const counts = new Map<number, number>();
  for (const kind of CLASSES) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  // As its DerivedGeneralCategory and PropList files count them.
  assert.equal(counts.get(LETTER), 136_726);
  assert.equal(counts.get(NUMBER), 1_831);
  assert.equal(counts.get(SPACE), 25);
});

test('no character has since changed its class', () => {
  const newer: number[] = [];
  for (let code = 0; code < CLASSES.length; code++) {
    const character = String.fromCodePoint(code);
    const host = /\p{L}/u.test(character)
      ? LETTER
      : /\p{N}/u.test(character)
        ? NUMBER
        : /\p{White_Space}/u.test(character)
          ? SPACE
          : 0;
    if (CLASSES[code] !== host) newer.push(code);
  }
  // What the host knows and Unicode 15.1 did not: letters and numbers of later versions only.
  assert.ok(newer.every((code) => CLASSES[code] === 0 && code >= 0x88f));
});
