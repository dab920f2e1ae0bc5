/** The rules of a grammar while it is made. */
import { type Expression, isNothing, rule } from './expression.ts';
import { jsonRules } from './json-text.ts';

export interface GrammarLimits {
  /** How deep values nest that a schema leaves open, and how often a schema may hold itself. */
  depthMax: number | undefined;
  /** So many more than it must a repetition without end may have. */
  repeatMax: number | undefined;
}

export const NO_LIMITS: GrammarLimits = { depthMax: undefined, repeatMax: undefined };

export class RuleBook {
  readonly limits: GrammarLimits;
  readonly rules: Map<string, Expression>;
  #next = 1;

  constructor(limits: GrammarLimits) {
    this.limits = limits;
    this.rules = jsonRules(limits.depthMax);
  }

  /** A name for what follows. */
  reserve(): string {
    return `r${this.#next++}`;
  }

  set(name: string, expression: Expression): void {
    this.rules.set(name, expression);
  }

  /** The expression as a rule, so that it is written once. */
  add(expression: Expression): Expression {
    const isShort = expression.kind === 'rule' || expression.kind === 'text';
    if (isShort || isNothing(expression)) return expression;
    const name = this.reserve();
    this.set(name, expression);
    return rule(name);
  }
}
