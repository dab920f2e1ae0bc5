/** One text of a grammar, drawn by chance: what an engine without a model answers. */
import { must, unreachable } from '../../base/assert.ts';
import type { Prng } from '../../base/prng.ts';
import { type Expression, type Grammar, intersection, type Range, ROOT } from './expression.ts';

const READABLE: readonly Range[] = [
  [0x30, 0x39],
  [0x61, 0x7a],
];
/** A repetition without end is taken at most so often more than it must. */
const MORE_MAX = 8;

/** The grammar must not be able to hold itself without end, as those for noise are not. */
export function derive(grammar: Grammar, rng: Prng): string {
  const write = (expression: Expression): string => {
    switch (expression.kind) {
      case 'text':
        return expression.text;
      case 'class':
        return characterOf(expression.ranges, rng);
      case 'sequence':
        return expression.of.map(write).join('');
      case 'either':
        return write(expression.of[rng.below(expression.of.length)]);
      case 'repeat': {
        const { min, max = min + MORE_MAX, of } = expression;
        const count = min + rng.below(Math.min(max - min, MORE_MAX) + 1);
        return Array.from({ length: count }, () => write(of)).join('');
      }
      case 'rule':
        return write(must(grammar.get(expression.name), 'a rule that is named exists'));
      default:
        return unreachable(expression);
    }
  };
  return write(must(grammar.get(ROOT), 'a grammar has a root'));
}

function characterOf(ranges: readonly Range[], rng: Prng): string {
  const readable = intersection(ranges, READABLE);
  const [from, to] = readable.length > 0 ? readable[rng.below(readable.length)] : ranges[0];
  return String.fromCodePoint(from + rng.below(to - from + 1));
}
