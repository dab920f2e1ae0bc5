/** A template comes with a model file, from anybody: what it must not reach, and how far it gets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Template } from './template.ts';
import { TemplateError } from './template-error.ts';

const NOW = () => new Date(2026, 0, 31);
const INPUT = { x: { a: 1 }, l: [1, 2], s: 'text', n: 3 };

test('no value leads to what JavaScript knows of it', () => {
  const names = [
    ...['constructor', '__proto__', 'prototype', 'toString', 'valueOf', 'hasOwnProperty'],
    ...['__class__', '__mro__', '__subclasses__', '__globals__', '__init__', '__dict__'],
    ...['call', 'apply', 'bind', 'arguments', 'caller', 'length', 'then', 'at', 'map', 'push'],
  ];
  const values = ['x', 'l', 's', 'n', 'none', 'true', '2.5', '{}', '[]', '(1, 2)', "'a'|safe"];
  for (const value of values) {
    for (const name of names) {
      for (const member of [`(${value}).${name}`, `(${value})['${name}']`]) {
        assert.equal(new Template(`[{{ ${member} }}]`, NOW).render(INPUT), '[]', member);
      }
    }
  }
});

test('functions, loops and namespaces lead nowhere', () => {
  const holders = ['range', 'namespace', 'raise_exception', 'm', 'x.get', 's.upper', 'l.count'];
  for (const holder of holders) {
    for (const name of ['constructor', '__globals__', 'call', 'prototype']) {
      const source = `{% macro m() %}{% endmacro %}{{ ${holder}.${name} }}`;
      assert.throws(() => new Template(source, NOW).render(INPUT), TemplateError, source);
    }
  }
  const sources = [
    '{{ namespace().constructor }}{{ namespace()["__proto__"] }}',
    '{% for i in l %}{% if loop.index0 < 0 %}{{ loop.constructor }}{% endif %}{% endfor %}',
    '{{ constructor }}{{ process }}{{ globalThis }}{{ require }}{{ this }}{{ Object }}',
  ];
  for (const source of sources) assert.equal(new Template(source, NOW).render(INPUT), '', source);
});

test('only functions of Jinja can be called', () => {
  const calls = [
    ...['constructor()', 'process.exit()', 'x.constructor.constructor("return 1")()', 'x()'],
    ...['s.constructor("x")', 'l.map(range)', 'l.push(1)', 'x.__defineGetter__("a", range)'],
    ...['range.call(1)', 's.at(0)', 'namespace(__proto__=1)', 'namespace(_x=1)', 'loop()'],
  ];
  for (const call of calls) {
    assert.throws(() => new Template(`{{ ${call} }}`, NOW).render(INPUT), TemplateError, call);
  }
});

test('names of prototypes are names like others', () => {
  const source = [
    '{% set d = {"__proto__": 1, "constructor": 2} %}{% set constructor = 3 %}',
    '{{ d.__proto__ }}{{ d["constructor"] }}{{ constructor }}{{ d | length }}{{ d | tojson }}',
    '{{ dict(__proto__=4).__proto__ }}{% macro toString(valueOf) %}{{ valueOf }}{% endmacro %}',
    "{{ toString(valueOf=5) }}{{ '{__proto__}'.format(__proto__=6) }}",
  ].join('');
  const wanted = '1232{"__proto__": 1, "constructor": 2}456';
  assert.equal(new Template(source, NOW).render({}), wanted);
  for (const filter of ['constructor', '__proto__', 'toString', 'hasOwnProperty']) {
    assert.throws(() => new Template(`{{ 1 | ${filter} }}`, NOW), /the unsupported filter/);
    assert.throws(() => new Template(`{{ 1 is ${filter} }}`, NOW), /the unsupported test/);
  }
  assert.equal(({} as Record<string, unknown>).a, undefined);
});

test('what it is given stays as it was', () => {
  const given = { d: { a: [1, { b: 2 }] }, l: [3, 1, 2] };
  const before = structuredClone(given);
  const sources = [
    '{% set d = l %}{% for x in l %}{% set x = 5 %}{% endfor %}{{ l | sort }}{{ l | reverse | list }}',
    '{% set n = namespace(d) %}{% set n.a = 1 %}{{ d.a[::-1] }}{{ dict(d, z=1) }}{{ l + [4] }}',
  ];
  for (const source of sources) new Template(source, NOW).render(given);
  for (const call of ['d.update(x=1)', 'd.pop("a")', 'd.clear()', 'l.append(1)', 'l.sort()']) {
    assert.throws(() => new Template(`{{ ${call} }}`, NOW).render(given), TemplateError);
  }
  assert.deepEqual(given, before);
});

test('what would not end, or would not fit, ends with a sentence', () => {
  const nested = '{% for a in range(99999) %}'.repeat(3) + '{% endfor %}'.repeat(3);
  // Nearly all rounds there are, so that not as many calls are needed as well.
  const spent = '{% for a in range(79) %}{% for b in range(99999) %}{% endfor %}{% endfor %}';
  const calling =
    '{% macro m(d) %}{% if d > 0 %}{{ m(d - 1) }}{{ m(d - 1) }}{% endif %}{% endmacro %}{{ m(50) }}';
  const cases: [string, RegExp][] = [
    [nested, /its number of rounds grows beyond/],
    [spent + calling, /its number of rounds grows beyond/],
    ['{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}', /goes too far/],
    ["{{ 'x' * 4000000000 }}", /a text grows beyond/],
    ["{{ 'x' * 9007199254740991 }}", /a text grows beyond/],
    ['{{ [1] * 4000000000 }}', /a list grows beyond/],
    ['{{ [] * 4000000000 }}', /a list grows beyond/],
    ['{{ range(100001) }}', /a range grows beyond/],
    ['{{ range(0, 1, 0) }}', /line 1/],
    [doubling("'ab'", 'x + x'), /a text grows beyond/],
    [doubling("'ab'", 'x ~ x'), /a text grows beyond/],
    [doubling("'ab'", "[x, x] | join('-')"), /a text grows beyond/],
    [doubling("'ab'", "x | replace('a', x)"), /a text grows beyond/],
    [doubling("'ab'", "x.replace('a', x)"), /a text grows beyond/],
    [doubling("'ab'", 'x.join([x, x, x])'), /a text grows beyond/],
    [doubling("'ab'", "'{0}{0}'.format(x)"), /a text grows beyond/],
    [doubling('[1]', 'x + x'), /a list grows beyond/],
    ["{{ 'a\\nb' | indent(1000000000) }}", /an indent grows beyond/],
    ['{{ [1] | tojson(indent=1000000000) }}', /an indent grows beyond/],
  ];
  for (const [source, sentence] of cases) {
    assert.throws(
      () => new Template(source, NOW).render({}),
      (thrown: Error) => {
        assert.ok(thrown instanceof TemplateError, source);
        assert.match(thrown.message, sentence, source);
        return true;
      },
    );
  }
});

test('a source that is nested without end is refused', () => {
  const depth = 100_000;
  const sources = [
    `{{ ${'('.repeat(depth)}1${')'.repeat(depth)} }}`,
    `{{ ${'not '.repeat(depth)}1 }}`,
    `{{ 1${' + 1'.repeat(depth)} }}`,
    '{% if x %}'.repeat(depth) + '{% endif %}'.repeat(depth),
  ];
  for (const source of sources) {
    assert.throws(() => new Template(source, NOW).render({}), TemplateError);
  }
});

test('long blanks are read in one go', () => {
  const blanks = ' '.repeat(300_000);
  const source = `${blanks}x{%- set a = 1 -%}${blanks}y{{ s.strip() }}${blanks}`;
  const text = new Template(source, NOW).render({ s: `${blanks}z${blanks}z` });
  assert.equal(text, `${blanks}xyz${blanks}z${blanks}`);
});

test('what is chained is compiled piece by piece', () => {
  const source = `{{ s${".strip().split('-')[0]".repeat(200)}${' | trim'.repeat(200)} }}`;
  assert.equal(new Template(source, NOW).render({ s: ' a-b ' }), 'a');
});

function doubling(start: string, step: string): string {
  return `{% set n = namespace(x=${start}) %}{% for i in range(60) %}{% set x = n.x %}{% set n.x = ${step} %}{% endfor %}`;
}
