import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { overlap, SpecialTokens } from './special-tokens.ts';

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
  assert.deepEqual(overlap(['  ', '   ']), { ends: '  ', begins: '   ' });
});

function cut(text: string, specials: string[]): string[] {
  const tokens = new SpecialTokens(specials.map((it, id) => ({ id, text: it })));
  const codePoints = Uint32Array.from(text, (it) => it.charCodeAt(0));
  const found: string[] = [];
  for (let at = 0; at < text.length; ) {
    const match = tokens.match(codePoints, at, text.length);
    if (match !== undefined) found.push(`${at} ${specials[match.id]}`);
    at = match?.end ?? at + 1;
  }
  return found;
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
