import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { AddedToken } from '../model/vocabulary.ts';
import { type Found, overlap, SpecialTokens } from './special-tokens.ts';

test('cuts as llama.cpp does, wherever tokens cannot overlap', () => {
  const letters = fc.constantFrom('a', 'b', 'c', 'd');
  const word = fc.array(letters, { minLength: 1, maxLength: 4 }).map((it) => it.join(''));
  const texts = fc.uniqueArray(word, { maxLength: 4 });
  let compared = 0;
  fc.assert(
    fc.property(texts, fc.array(word, { maxLength: 8 }), (specials, parts) => {
      if (overlap(specials) !== undefined) return;
      compared++;
      assert.deepEqual(cut(parts.join(''), specials), slowCut(parts.join(''), specials));
    }),
    { numRuns: 5000 },
  );
  assert.ok(compared > 500);
});

test('an overlap is found', () => {
  assert.deepEqual(overlap(['<a>', '><', 'x']), { ends: '<a>', begins: '><' });
  assert.equal(overlap(['<a>', '<a', '<|a|>', '||', '[PAD1]', '[PAD12]']), undefined);
  assert.equal(overlap(['  ', '   ', 'aa', 'aaaa']), undefined);
  assert.deepEqual(overlap(['aa', 'ab']), { ends: 'aa', begins: 'ab' });
  assert.deepEqual(overlap(['ba', 'aa']), { ends: 'ba', begins: 'aa' });
});

test('a token takes along white space, or not, and may want to stand alone', () => {
  const text = 'x  <a>\u00a0\n y<b> <b>z <b>. <b>\u0301';
  const found = (changes: Partial<AddedToken>[]) => {
    const specials = new SpecialTokens([added('<a>', 0, changes[0]), added('<b>', 1, changes[1])]);
    return foundIn(specials, text).map(({ start, end }) => text.slice(start, end));
  };
  assert.deepEqual(found([{}, {}]), ['<a>', '<b>', '<b>', '<b>', '<b>']);
  assert.deepEqual(found([{ stripsLeft: true }, { stripsRight: true }]), [
    ...['  <a>', '<b> ', '<b>', '<b>', '<b>'],
  ]);
  assert.deepEqual(found([{ stripsRight: true }, { stripsLeft: true }]), [
    ...['<a>\u00a0\n ', '<b>', ' <b>', ' <b>', ' <b>'],
  ]);
  assert.deepEqual(found([{ wholeWord: true }, { wholeWord: true }]), ['<a>', '<b>']);
});

function cut(text: string, specials: string[]): string[] {
  const tokens = new SpecialTokens(specials.map((it, id) => added(it, id)));
  return foundIn(tokens, text).map(({ id, start }) => `${start} ${specials[id]}`);
}

function foundIn(specials: SpecialTokens, text: string): Found[] {
  const found: Found[] = [];
  for (let at = 0; at < text.length; ) {
    const next = specials.find(text, at, text.length);
    if (next === undefined) break;
    found.push(next);
    at = next.end;
  }
  return found;
}

function added(text: string, id: number, changes: Partial<AddedToken> = {}): AddedToken {
  const flags = { normalized: false, stripsLeft: false, stripsRight: false, wholeWord: false };
  return { id, text, ...flags, ...changes };
}

/** Each special token, longest first, everywhere in what is left. */
function slowCut(text: string, specials: string[]): string[] {
  let left = text;
  const found: { at: number; special: string }[] = [];
  for (const special of [...specials].sort((a, b) => b.length - a.length)) {
    for (let at = left.indexOf(special); at >= 0; at = left.indexOf(special)) {
      found.push({ at, special });
      left = left.slice(0, at) + '\0'.repeat(special.length) + left.slice(at + special.length);
    }
  }
  return found.sort((a, b) => a.at - b.at).map(({ at, special }) => `${at} ${special}`);
}
