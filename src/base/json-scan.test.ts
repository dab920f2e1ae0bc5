import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JsonScan } from './json-scan.ts';

test('a JSON value is found whole, however it is cut and whatever follows', () => {
  const json = fc
    .tuple(fc.json(), fc.constantFrom(undefined, 2, '\t'))
    .map(([text, space]) => JSON.stringify(JSON.parse(text), null, space));
  fc.assert(
    fc.property(json, fc.constantFrom(' ', '}', ']', ',', '\n{'), fc.nat(), (text, rest, at) => {
      const scan = new JsonScan();
      const cut = at % (text.length + 1);
      const first = scan.scan(text.slice(0, cut), 0);
      assert.equal(first, cut);
      assert.equal(scan.scan(text + rest, cut), text.length);
      assert.equal(scan.state, 'whole');
    }),
  );
});

test('what one changed character makes of a JSON text is judged as JSON.parse does', () => {
  const change = fc.constantFrom(...'{}[]",:\\0123-.+eEtrufalsn \t\n\u0001xX/');
  fc.assert(
    fc.property(fc.json(), fc.nat(), change, fc.boolean(), (text, at, character, replaces) => {
      const start = at % (text.length + 1);
      const changed = text.slice(0, start) + character + text.slice(start + (replaces ? 1 : 0));
      const scan = new JsonScan();
      // The blank ends what could go on, a number.
      const end = scan.scan(`${changed} `, 0);
      const isWhole = scan.state === 'whole' && changed.slice(end).trim() === '';
      assert.equal(isWhole, parses(changed), changed);
      if (scan.state === 'whole') assert.ok(parses(changed.slice(0, end)));
    }),
    { numRuns: 5000 },
  );
});

test('what was taken before something wrong is the beginning of JSON', () => {
  const atoms = ['{', '}', '[', ']', '"', 'a', '\\', 'u', '00', ':', ',', '-', '1', '.', 'e', '+'];
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...atoms, 'true', 'nu', ' '), { maxLength: 10 }),
      (all) => {
        const text = all.join('');
        const scan = new JsonScan();
        const taken = text.slice(0, scan.scan(text, 0));
        if (scan.state === 'whole') assert.ok(parses(taken));
        else assert.ok(begins(taken), taken);
      },
    ),
    { numRuns: 3000 },
  );
});

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false; // that is the answer
  }
}

/** Whether some ending makes JSON of it, of all that end a token and then close the brackets. */
function begins(text: string): boolean {
  const tokens = ['', '0', '"', '0"', '00"', '000"', '0000"', 'n"', 'true', 'ue', 'rue', 'e', 'll'];
  const words = ['l', ...tokens];
  const afterKey = ['', ':0', '"a":0', '":0', 'n":0', '0":0', '00":0', '000":0', '0000":0'];
  let closing = '';
  let isString = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"') isString = !isString;
    else if (isString) continue;
    else if (text[i] === '{') closing = `}${closing}`;
    else if (text[i] === '[') closing = `]${closing}`;
    else if ('}]'.includes(text[i])) closing = closing.slice(1);
  }
  return [...words, ...afterKey].some((ending) => parses(text + ending + closing));
}
