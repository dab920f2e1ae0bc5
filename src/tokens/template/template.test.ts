import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Template } from './template.ts';
import { TemplateError, TemplateRefusal } from './template-error.ts';

const NOW = () => new Date(2026, 0, 31);

test('what is not supported is refused when it is compiled, with its line', () => {
  const cases: [string, RegExp][] = [
    ['a\n{% include "x" %}', /line 2 .* the unsupported tag include/],
    ['{% raw %}{% endraw %}', /the unsupported tag raw/],
    ['\n\n{{ x | wordwrap }}', /line 3 .* the unsupported filter wordwrap/],
    ['{{ x is lower }}', /the unsupported test lower/],
    ["{{ x | selectattr('a', 'sameas') }}", /the unsupported test sameas/],
    ["{{ x.encode('a') }}", /the unsupported method encode/],
    ['{{ x.append(1) }}', /the unsupported method append/],
    ['{{ x | trim(1, 2) }}', /the filter trim, where more than 1 arguments are given/],
    ['{{ x | indent(depth=2) }}', /the filter indent, where the argument depth does not fit/],
    ['{{ 2 ** 3 }}', /the unsupported operator \*\*/],
    ['{{ 1_000 }}', /an unsupported kind of number/],
    ['{{ 12345678901234567890 }}', /an integer beyond 2\^53/],
    ['{% for a in b recursive %}{% endfor %}', /a recursive loop/],
    ['{% for a in b if n.x %}{% set n.x = a %}{% endfor %}', /changes what its condition reads/],
    ['{% macro m() %}{{ kwargs }}{% endmacro %}', /the unsupported name kwargs/],
    ['{% break %}', /break outside of a loop/],
    ['{{ f(*a) }}', /a call with \* arguments/],
    ['{% if x %}\n', /no endif before its end/],
    ['{{ x', /a tag that does not end/],
    ['{{ [1) }}', /an unmatched \)/],
    ['{{ x ? y }}', /the unknown character \?/],
    ['{# x', /a comment that does not end/],
    ["{{ '\\N{DASH}' }}", /the malformed escape \\N/],
    ['{{ }}', /an unexpected/],
    ['{% else %}', /the unsupported tag else/],
  ];
  for (const [source, sentence] of cases) {
    assert.throws(
      () => new Template(source, NOW),
      (thrown: Error) => {
        assert.ok(thrown instanceof TemplateError, source);
        assert.match(thrown.message, sentence, source);
        return true;
      },
    );
  }
});

test('what fails when it is rendered says where', () => {
  const template = new Template('a\n{{ x.y.z }}', NOW);
  assert.throws(() => template.render({ x: {} }), /something undefined is looked into \(line 2 /);
  assert.throws(
    () => new Template("{{ raise_exception('No tools, ' ~ x) }}", NOW).render({ x: 'please' }),
    (thrown: Error) => thrown instanceof TemplateRefusal && thrown.message === 'No tools, please',
  );
  const endless = new Template('{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}', NOW);
  assert.throws(() => endless.render({}), /line 1 of the chat template goes too far/);
});

test('an input cannot reach beyond its own members', () => {
  const template = new Template(
    '[{{ x.constructor }}{{ x.__proto__ }}{{ x["toString"] }}{{ constructor }}{{ x.length }}]',
    NOW,
  );
  assert.equal(template.render({ x: {} }), '[]');
  assert.equal(template.render({ x: JSON.parse('{"__proto__": "p"}') }), '[p]');
  assert.equal(template.render({ x: [] }), '[]');
});

test('a template keeps nothing from one rendering to the next', () => {
  const template = new Template(
    '{% set n = namespace(x=x or 0) %}{% set n.x = n.x + 1 %}{{ n.x }}',
    NOW,
  );
  assert.equal(template.render({}) + template.render({ x: 4 }) + template.render({}), '151');
});

test('the date is the one it is given', () => {
  const template = new Template("{{ strftime_now('%d %b %Y') }}", NOW);
  assert.equal(template.render({}), '31 Jan 2026');
  const odd = new Template("{{ strftime_now('%U') }}", NOW);
  assert.throws(() => odd.render({}), /the date directive %U is unknown/);
});
