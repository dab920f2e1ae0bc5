/** What must hold of a grammar before an engine samples by it. */
import { must, unreachable } from '../../base/assert.ts';
import {
  type Expression,
  either,
  type Grammar,
  isNothing,
  NOTHING,
  ROOT,
  repeat,
  sequence,
} from './expression.ts';

/**
 * The grammar without what can never be completed, such as a list that must hold itself; undefined
 * where nothing is left, so that no text satisfies it.
 */
export function productive(grammar: Grammar): Grammar | undefined {
  const finite = new Set<string>();
  for (let grew = true; grew; ) {
    grew = false;
    for (const [name, expression] of grammar) {
      if (finite.has(name) || !canEnd(expression, finite)) continue;
      finite.add(name);
      grew = true;
    }
  }
  if (!finite.has(ROOT)) return undefined;
  const pruned = new Map<string, Expression>();
  const visit = (name: string) => {
    if (pruned.has(name)) return;
    pruned.set(name, NOTHING); // keeps its place: rules are written in the order they are met
    const expression = prune(must(grammar.get(name), 'a rule that is named exists'), finite);
    pruned.set(name, expression);
    for (const next of rulesOf(expression)) visit(next);
  };
  visit(ROOT);
  return pruned;
}

/** Whether a rule can begin with itself: such a grammar cannot be followed from left to right. */
export function leftRecursive(grammar: Grammar): boolean {
  const empties = new Set<string>();
  for (let grew = true; grew; ) {
    grew = false;
    for (const [name, expression] of grammar) {
      if (empties.has(name) || !canBeEmpty(expression, empties)) continue;
      empties.add(name);
      grew = true;
    }
  }
  const firsts = new Map<string, Set<string>>();
  for (const [name, expression] of grammar) {
    const found = new Set<string>();
    collectFirsts(expression, empties, found);
    firsts.set(name, found);
  }
  const done = new Set<string>();
  const open = new Set<string>();
  const loops = (name: string): boolean => {
    if (open.has(name)) return true;
    if (done.has(name)) return false;
    open.add(name);
    for (const next of firsts.get(name) ?? []) if (loops(next)) return true;
    open.delete(name);
    done.add(name);
    return false;
  };
  return [...grammar.keys()].some(loops);
}

/** Every repetition without end gets one: for models whose noise would never end it. */
export function bounded(grammar: Grammar, more: number): Grammar {
  return new Map([...grammar].map(([name, expression]) => [name, bound(expression, more)]));
}

function bound(expression: Expression, more: number): Expression {
  switch (expression.kind) {
    case 'sequence':
      return sequence(...expression.of.map((part) => bound(part, more)));
    case 'either':
      return either(...expression.of.map((part) => bound(part, more)));
    case 'repeat': {
      const { min, max } = expression;
      const most = Math.min(max ?? Number.POSITIVE_INFINITY, min + more);
      return repeat(bound(expression.of, more), min, most);
    }
    default:
      return expression;
  }
}

function canEnd(expression: Expression, finite: ReadonlySet<string>): boolean {
  switch (expression.kind) {
    case 'text':
    case 'class':
      return true;
    case 'sequence':
      return expression.of.every((part) => canEnd(part, finite));
    case 'either':
      return expression.of.some((part) => canEnd(part, finite));
    case 'repeat':
      return expression.min === 0 || canEnd(expression.of, finite);
    case 'rule':
      return finite.has(expression.name);
    default:
      return unreachable(expression);
  }
}

function prune(expression: Expression, finite: ReadonlySet<string>): Expression {
  switch (expression.kind) {
    case 'sequence':
      return sequence(...expression.of.map((part) => prune(part, finite)));
    case 'either':
      return either(
        ...expression.of.map((part) => prune(part, finite)).filter((part) => !isNothing(part)),
      );
    case 'repeat':
      return repeat(prune(expression.of, finite), expression.min, expression.max);
    case 'rule':
      return finite.has(expression.name) ? expression : NOTHING;
    default:
      return expression;
  }
}

function canBeEmpty(expression: Expression, empties: ReadonlySet<string>): boolean {
  switch (expression.kind) {
    case 'text':
      return expression.text === '';
    case 'class':
      return false;
    case 'sequence':
      return expression.of.every((part) => canBeEmpty(part, empties));
    case 'either':
      return expression.of.some((part) => canBeEmpty(part, empties));
    case 'repeat':
      return expression.min === 0 || canBeEmpty(expression.of, empties);
    case 'rule':
      return empties.has(expression.name);
    default:
      return unreachable(expression);
  }
}

/** Rules the expression can begin with. */
function collectFirsts(
  expression: Expression,
  empties: ReadonlySet<string>,
  found: Set<string>,
): void {
  if (expression.kind === 'rule') found.add(expression.name);
  else if (expression.kind === 'repeat') collectFirsts(expression.of, empties, found);
  else if (expression.kind === 'either') {
    for (const part of expression.of) collectFirsts(part, empties, found);
  } else if (expression.kind === 'sequence') {
    for (const part of expression.of) {
      collectFirsts(part, empties, found);
      if (!canBeEmpty(part, empties)) return;
    }
  }
}

function rulesOf(expression: Expression): string[] {
  switch (expression.kind) {
    case 'rule':
      return [expression.name];
    case 'repeat':
      return rulesOf(expression.of);
    case 'sequence':
    case 'either':
      return expression.of.flatMap(rulesOf);
    default:
      return [];
  }
}
