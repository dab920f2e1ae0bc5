import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StopStrings } from './stop-strings.ts';

/** The dumb twin sees the whole text: the stop string that is complete first, and of those the longest. */
function whole(stops: readonly string[], text: string): { text: string; stop: string | undefined } {
  for (let end = 1; end <= text.length; end++) {
    const complete = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    const [longest] = complete.toSorted((a, b) => b.length - a.length);
    if (longest !== undefined) return { text: text.slice(0, end - longest.length), stop: longest };
  }
  return { text, stop: undefined };
}

function pieces(stops: readonly string[], cut: readonly string[]) {
  const finder = new StopStrings(stops);
  let text = '';
  for (const piece of cut) {
    const found = finder.push(piece);
    text += found.text;
    if (found.stop !== undefined) return { text, stop: found.stop };
  }
  return { text: text + finder.flush(), stop: undefined };
}

const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
const stop = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 5 });

test('however the text is cut, the same stop string ends it, and all before it is told', () => {
  fc.assert(
    fc.property(
      fc.array(stop, { maxLength: 4 }),
      fc.array(letters, { maxLength: 12 }),
      (stops, cut) => {
        assert.deepEqual(pieces(stops, cut), whole(stops, cut.join('')));
      },
    ),
    { numRuns: 2000 },
  );
});

test('no more is held back than could begin a stop string', () => {
  const finder = new StopStrings(['</answer>']);
  assert.equal(finder.push('a < b').text, 'a < b');
  assert.equal(finder.push('x</ans').text, 'x');
  assert.equal(finder.push('wers').text, '</answers');
  assert.equal(finder.push('<').text, '');
  assert.equal(finder.flush(), '<');
});
