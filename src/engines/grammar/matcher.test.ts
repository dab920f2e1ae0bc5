/** What a grammar allows, told in the plainest way. */
import assert from 'node:assert/strict';
import { type Format, NO_FRAME } from '../../model/request.ts';
import { constraintOf } from './constraint.ts';
import { type Expression, type Grammar, rule } from './expression.ts';

/** Whether the whole text is one of the grammar's. */
export function matches(grammar: Grammar, whole: string): boolean {
  const characters = Array.from(whole);
  const known = new Map<Expression, Map<number, Set<number>>>();
  /** Where a match that begins at `at` may end. */
  const ends = (expression: Expression, at: number): Set<number> => {
    const of = known.get(expression) ?? new Map<number, Set<number>>();
    known.set(expression, of);
    const earlier = of.get(at);
    if (earlier !== undefined) return earlier;
    const found = search(expression, at);
    of.set(at, found);
    return found;
  };
  const search = (expression: Expression, at: number): Set<number> => {
    switch (expression.kind) {
      case 'text': {
        const wanted = Array.from(expression.text);
        const fits = wanted.every((character, i) => characters[at + i] === character);
        return new Set(fits ? [at + wanted.length] : []);
      }
      case 'class': {
        const code = characters[at]?.codePointAt(0);
        const fits = expression.ranges.some(
          ([from, to]) => code !== undefined && from <= code && code <= to,
        );
        return new Set(fits ? [at + 1] : []);
      }
      case 'sequence':
        return expression.of.reduce(
          (starts, part) => {
            const next = new Set<number>();
            for (const start of starts) for (const end of ends(part, start)) next.add(end);
            return next;
          },
          new Set([at]),
        );
      case 'either':
        return new Set(expression.of.flatMap((part) => [...ends(part, at)]));
      case 'repeat': {
        const found = new Set<number>();
        let front = new Set([at]);
        for (
          let count = 0;
          front.size > 0 && count <= (expression.max ?? characters.length + expression.min + 1);
          count++
        ) {
          if (count >= expression.min) for (const end of front) found.add(end);
          front = new Set([...front].flatMap((start) => [...ends(expression.of, start)]));
        }
        return found;
      }
      case 'rule':
        return ends(grammar.get(expression.name) ?? assert.fail(expression.name), at);
    }
  };
  return ends(rule('root'), 0).has(characters.length);
}

/** The grammar of a format, as an engine of a real model is given it. */
export function grammarOf(format: Format, isNoise = false): Grammar {
  const constraint = constraintOf(format, NO_FRAME, { isNoise });
  return constraint?.grammar ?? assert.fail('a format has a grammar');
}
