import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Template } from './template.ts';
import { TemplateError } from './template-error.ts';

/** A tag that writes nothing or `V`, with the signs of its two ends. */
interface Tag {
  kind: '%' | '#' | '{';
  open: '' | '-' | '+';
  close: '' | '-' | '+';
}

const SPACE = fc.constantFrom(' ', '\n', '\t', '\u00a0', '\u2028', '\x1c');
const TEXT = fc
  .array(fc.oneof({ weight: 4, arbitrary: SPACE }, fc.constantFrom('a', '}', '%}', '#', '\ufeff')))
  .map((pieces) => pieces.join(''));
const TAG: fc.Arbitrary<Tag> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('%' as const, '#' as const),
    open: fc.constantFrom('' as const, '-' as const, '+' as const),
    close: fc.constantFrom('' as const, '-' as const, '+' as const),
  }),
  fc.record({
    kind: fc.constant('{' as const),
    open: fc.constantFrom('' as const, '-' as const, '+' as const),
    close: fc.constantFrom('' as const, '-' as const),
  }),
);
const PAGE = fc.tuple(fc.array(fc.tuple(TEXT, TAG), { maxLength: 6 }), TEXT);

test('whitespace control is what a reader of the pieces would do', () => {
  fc.assert(
    fc.property(PAGE, ([pairs, last]) => {
      assert.equal(rendered(sourceOf(pairs, last)), expected(pairs, last));
    }),
    { numRuns: 2000 },
  );
});

test('line ends of other systems are line ends', () => {
  fc.assert(
    fc.property(PAGE, fc.constantFrom('\r\n', '\r'), ([pairs, last], end) => {
      const source = sourceOf(pairs, last);
      assert.equal(rendered(source.replaceAll('\n', end)), rendered(source));
    }),
  );
});

test('a refusal names the line, whatever stands before', () => {
  fc.assert(
    fc.property(PAGE, ([pairs, last]) => {
      const before = sourceOf(pairs, last);
      const line = before.split('\n').length;
      assert.throws(
        () => new Template(`${before}{% nonsense %}`, NOW),
        (thrown: Error) => thrown.message.startsWith(`line ${line} of its chat template`),
      );
    }),
  );
});

test('no source does more than render or be refused', () => {
  const atoms = [
    ...['{%', '%}', '{{', '}}', '{#', '#}', '-', '+', ' ', '\n', "'", '"', '\\', '(', ')', '['],
    ...[']', '{', '}', '|', '.', ',', ':', '=', '==', '~', '*', '/', '%', '<', '0', '1.5', '1e9'],
    ...['if ', 'endif', 'for ', ' in ', 'endfor', 'set ', 'macro ', 'endmacro', 'else', ' is '],
    ...['not ', 'x', 'y', 'loop', 'namespace', 'items', 'tojson', 'defined', 'none', 'range'],
    ...['{% if x %}', '{% endif %}', '{% for y in x %}', '{% endfor %}', '{{ y }}', '{{ x }}'],
  ];
  const source = fc.array(fc.constantFrom(...atoms), { maxLength: 40 }).map((it) => it.join(''));
  fc.assert(
    fc.property(source, (it) => {
      try {
        assert.equal(typeof new Template(it, NOW).render({ x: [1, 'a', { b: null }] }), 'string');
      } catch (thrown) {
        assert.ok(thrown instanceof TemplateError, String(thrown));
      }
    }),
    { numRuns: 3000 },
  );
});

const NOW = () => new Date(2026, 0, 31);

function rendered(source: string): string {
  return new Template(source, NOW).render({});
}

function sourceOf(pairs: readonly (readonly [string, Tag])[], last: string): string {
  const body = { '%': ' set x = 1 ', '#': ' note ', '{': " 'V' " };
  const close = { '%': '%}', '#': '#}', '{': '}}' };
  const tag = (it: Tag) => `{${it.kind}${it.open}${body[it.kind]}${it.close}${close[it.kind]}`;
  return pairs.map(([text, it]) => text + tag(it)).join('') + last;
}

/** The rules, told over pieces: what each text loses to the tag before it and the one behind. */
function expected(pairs: readonly (readonly [string, Tag])[], last: string): string {
  const tags = pairs.map(([, tag]) => tag);
  const texts = [...pairs.map(([text]) => text), last.replace(/\n$/, '')];
  return texts
    .map((text, i) => {
      const [left, right] = [tags[i - 1], tags[i]];
      const start = lostAtStart(text, left);
      const rest = text.slice(start);
      const atLineStart = left === undefined || (start > 0 && text[start - 1] === '\n');
      const kept = rest.slice(0, rest.length - lostAtEnd(rest, right, atLineStart));
      return kept + (right?.kind === '{' ? 'V' : '');
    })
    .join('');
}

function lostAtStart(text: string, left: Tag | undefined): number {
  if (left?.close === '-') {
    let lost = 0;
    while (lost < text.length && isSpace(text[lost])) lost++;
    return lost;
  }
  const trims = left !== undefined && left.kind !== '{' && left.close === '';
  return trims && text.startsWith('\n') ? 1 : 0;
}

function lostAtEnd(text: string, right: Tag | undefined, atLineStart: boolean): number {
  if (right === undefined || right.open === '+') return 0;
  if (right.open === '' && right.kind === '{') return 0;
  let lost = 0;
  while (lost < text.length && isSpace(text[text.length - 1 - lost])) {
    if (right.open === '' && text[text.length - 1 - lost] === '\n') break;
    lost++;
  }
  if (right.open === '-') return lost;
  const stop = text[text.length - 1 - lost];
  return stop === '\n' || (stop === undefined && atLineStart) ? lost : 0;
}

function isSpace(character: string): boolean {
  return ' \n\t\u00a0\u2028\x1c'.includes(character);
}
