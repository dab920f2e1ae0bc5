/** What the parser makes of a template. Every node knows its line, for refusals and errors. */

import type { Float } from './values.ts';

export type Expression = { line: number } & (
  | { kind: 'constant'; value: string | number | Float | boolean | null }
  | { kind: 'name'; name: string }
  | { kind: 'list' | 'tuple'; items: Expression[] }
  | { kind: 'dict'; pairs: { key: Expression; value: Expression }[] }
  | { kind: 'attribute'; object: Expression; name: string }
  | { kind: 'item'; object: Expression; key: Expression }
  | { kind: 'slice'; object: Expression; bounds: (Expression | undefined)[] }
  | { kind: 'call'; callee: Expression; arguments: Arguments }
  | { kind: 'filter'; input: Expression; name: string; arguments: Arguments }
  | { kind: 'test'; input: Expression; name: string; arguments: Arguments }
  | { kind: 'not' | 'negative' | 'positive'; operand: Expression }
  | { kind: 'and' | 'or'; left: Expression; right: Expression }
  | { kind: 'binary'; operator: BinaryOperator; left: Expression; right: Expression }
  | { kind: 'concat'; items: Expression[] }
  | { kind: 'compare'; first: Expression; rest: { operator: CompareOperator; value: Expression }[] }
  | { kind: 'choice'; test: Expression; value: Expression; otherwise: Expression | undefined }
);

export type BinaryOperator = '+' | '-' | '*' | '/' | '//' | '%';
export type CompareOperator = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in';

export interface Arguments {
  positional: Expression[];
  named: { name: string; value: Expression }[];
}

/** What a loop or `set` assigns to. */
export type Target =
  | { kind: 'name'; name: string }
  | { kind: 'names'; names: string[] }
  | { kind: 'attribute'; namespace: string; name: string };

export type Statement = { line: number } & (
  | { kind: 'data'; text: string }
  | { kind: 'output'; expression: Expression }
  | { kind: 'if'; branches: { test: Expression; body: Statement[] }[]; otherwise: Statement[] }
  | {
      kind: 'for';
      target: Target;
      items: Expression;
      test: Expression | undefined;
      body: Statement[];
      otherwise: Statement[];
    }
  | { kind: 'set'; target: Target; value: Expression }
  | { kind: 'setBlock'; target: Target; filters: FilterCall[]; body: Statement[] }
  | { kind: 'macro'; name: string; macro: Macro }
  | { kind: 'callBlock'; call: Expression; macro: Macro }
  | { kind: 'filterBlock'; filters: FilterCall[]; body: Statement[] }
  /** Marks generated text for training; here only a scope of its own. */
  | { kind: 'scope'; body: Statement[] }
  | { kind: 'break' | 'continue' }
);

export interface FilterCall {
  name: string;
  arguments: Arguments;
  line: number;
}

export interface Macro {
  parameters: { name: string; fallback: Expression | undefined }[];
  body: Statement[];
}
