/** Expressions of Jinja, in the order of precedence of jinja2/parser.py 3.1.6. */
import type { Arguments, BinaryOperator, CompareOperator, Expression, FilterCall } from './ast.ts';
import { refuse } from './template-error.ts';
import type { TokenStream } from './token-stream.ts';
import { type Float, toFloat } from './values.ts';

const CONSTANTS: Record<string, boolean | null> = {
  ...{ true: true, True: true, false: false, False: false },
  ...{ none: null, None: null },
};

export class ExpressionParser {
  readonly #stream: TokenStream;

  constructor(stream: TokenStream) {
    this.#stream = stream;
  }

  /** An expression, or a tuple of several without parentheses. */
  tuple(): Expression {
    return this.#tupleOf(() => this.expression());
  }

  /** As in `for … in` and `if`, where a bare `if` belongs to the statement. */
  tupleWithoutChoice(): Expression {
    return this.#tupleOf(() => this.#or());
  }

  expression(): Expression {
    let value = this.#or();
    while (this.#stream.skipName('if')) {
      const line = this.#stream.line;
      const test = this.#or();
      const otherwise = this.#stream.skipName('else') ? this.expression() : undefined;
      value = { kind: 'choice', test, value, otherwise, line };
    }
    return value;
  }

  /** `name | filter(…) | …` from behind a value that stands elsewhere. */
  filters(): FilterCall[] {
    const filters: FilterCall[] = [];
    do {
      const line = this.#stream.line;
      filters.push({ name: this.#dottedName(), arguments: this.#optionalArguments(), line });
    } while (this.#stream.skip('|'));
    return filters;
  }

  #tupleOf(item: () => Expression): Expression {
    const line = this.#stream.line;
    const first = item();
    if (!this.#stream.is(',')) return first;
    const items = [first];
    while (this.#stream.skip(',')) {
      if (this.#stream.atTupleEnd()) break;
      items.push(item());
    }
    return { kind: 'tuple', items, line };
  }

  #or(): Expression {
    let left = this.#and();
    while (this.#stream.skipName('or')) {
      left = { kind: 'or', left, right: this.#and(), line: left.line };
    }
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.#stream.skipName('and')) {
      left = { kind: 'and', left, right: this.#not(), line: left.line };
    }
    return left;
  }

  #not(): Expression {
    const line = this.#stream.line;
    if (this.#stream.skipName('not')) return { kind: 'not', operand: this.#not(), line };
    return this.#compare();
  }

  #compare(): Expression {
    const first = this.#sum();
    const rest: { operator: CompareOperator; value: Expression }[] = [];
    for (;;) {
      const operator = this.#compareOperator();
      if (operator === undefined) break;
      rest.push({ operator, value: this.#sum() });
    }
    return rest.length === 0 ? first : { kind: 'compare', first, rest, line: first.line };
  }

  #compareOperator(): CompareOperator | undefined {
    for (const operator of ['==', '!=', '<=', '>=', '<', '>'] as const) {
      if (this.#stream.skip(operator)) return operator;
    }
    if (this.#stream.skipName('in')) return 'in';
    if (!this.#stream.isName('not') || !this.#stream.nextIsName('in')) return undefined;
    this.#stream.skipName('not');
    this.#stream.skipName('in');
    return 'not in';
  }

  #sum(): Expression {
    return this.#binary(['+', '-'], () => this.#concat());
  }

  #concat(): Expression {
    const first = this.#product();
    if (!this.#stream.is('~')) return first;
    const items = [first];
    while (this.#stream.skip('~')) items.push(this.#product());
    return { kind: 'concat', items, line: first.line };
  }

  #product(): Expression {
    return this.#binary(['*', '/', '//', '%'], () => this.#unary());
  }

  #binary(operators: readonly BinaryOperator[], operand: () => Expression): Expression {
    let left = operand();
    for (;;) {
      const { line } = this.#stream;
      if (this.#stream.is('**')) refuse(line, 'the unsupported operator **');
      const operator = operators.find((it) => this.#stream.skip(it));
      if (operator === undefined) return left;
      left = { kind: 'binary', operator, left, right: operand(), line };
    }
  }

  #unary(): Expression {
    return this.#filtersAndTests(this.#signed());
  }

  /** A sign binds tighter than filters: `-x|abs` is `(-x)|abs`. */
  #signed(): Expression {
    const line = this.#stream.line;
    if (this.#stream.skip('-')) return { kind: 'negative', operand: this.#signed(), line };
    if (this.#stream.skip('+')) return { kind: 'positive', operand: this.#signed(), line };
    return this.#postfix(this.#primary());
  }

  #primary(): Expression {
    const { kind, text, line } = this.#stream.next();
    if (kind === 'name') {
      if (Object.hasOwn(CONSTANTS, text)) return { kind: 'constant', value: CONSTANTS[text], line };
      return { kind: 'name', name: text, line };
    }
    if (kind === 'number') return { kind: 'constant', value: numberIn(text, line), line };
    if (kind === 'string') return { kind: 'constant', value: text + this.#moreStrings(), line };
    if (kind === 'operator' && text === '(') return this.#parenthesized(line);
    if (kind === 'operator' && text === '[') {
      return { kind: 'list', items: this.#items(']'), line };
    }
    if (kind === 'operator' && text === '{') return this.#dict(line);
    return refuse(line, `an unexpected ${text === '' ? 'end' : JSON.stringify(text)}`);
  }

  /** Strings side by side are one string. */
  #moreStrings(): string {
    let text = '';
    while (this.#stream.kind === 'string') text += this.#stream.next().text;
    return text;
  }

  #parenthesized(line: number): Expression {
    if (this.#stream.skip(')')) return { kind: 'tuple', items: [], line };
    const value = this.tuple();
    this.#stream.expect(')');
    return value;
  }

  #items(end: string): Expression[] {
    const items: Expression[] = [];
    while (!this.#stream.skip(end)) {
      if (items.length > 0) {
        this.#stream.expect(',');
        if (this.#stream.skip(end)) break;
      }
      items.push(this.expression());
    }
    return items;
  }

  #dict(line: number): Expression {
    const pairs: { key: Expression; value: Expression }[] = [];
    while (!this.#stream.skip('}')) {
      if (pairs.length > 0) {
        this.#stream.expect(',');
        if (this.#stream.skip('}')) break;
      }
      const key = this.expression();
      this.#stream.expect(':');
      pairs.push({ key, value: this.expression() });
    }
    return { kind: 'dict', pairs, line };
  }

  #postfix(start: Expression): Expression {
    let value = start;
    for (;;) {
      const line = this.#stream.line;
      if (this.#stream.skip('.')) value = this.#member(value, line);
      else if (this.#stream.skip('[')) value = this.#subscript(value, line);
      else if (this.#stream.is('(')) {
        value = { kind: 'call', callee: value, arguments: this.#arguments(), line };
      } else return value;
    }
  }

  #member(object: Expression, line: number): Expression {
    const { kind, text } = this.#stream.next();
    if (kind === 'name') return { kind: 'attribute', object, name: text, line };
    if (kind !== 'number') return refuse(line, 'a dot without a name');
    const key: Expression = { kind: 'constant', value: numberIn(text, line), line };
    return { kind: 'item', object, key, line };
  }

  #subscript(object: Expression, line: number): Expression {
    const bounds: (Expression | undefined)[] = [];
    let colons = 0;
    while (!this.#stream.skip(']')) {
      if (this.#stream.skip(':')) colons++;
      else if (bounds[colons] !== undefined) refuse(line, 'a subscript of several values');
      else bounds[colons] = this.expression();
    }
    if (colons > 2) refuse(line, 'a slice of more than three values');
    if (colons > 0) return { kind: 'slice', object, bounds, line };
    const [key] = bounds;
    if (key === undefined) return refuse(line, 'an empty subscript');
    return { kind: 'item', object, key, line };
  }

  #filtersAndTests(start: Expression): Expression {
    let value = start;
    for (;;) {
      const line = this.#stream.line;
      if (this.#stream.skip('|')) {
        const name = this.#dottedName();
        const filterArguments = this.#optionalArguments();
        value = { kind: 'filter', input: value, name, arguments: filterArguments, line };
      } else if (this.#stream.skipName('is')) value = this.#test(value, line);
      else if (this.#stream.is('(')) {
        value = { kind: 'call', callee: value, arguments: this.#arguments(), line };
      } else return value;
    }
  }

  #test(input: Expression, line: number): Expression {
    const negated = this.#stream.skipName('not');
    const name = this.#dottedName();
    const test: Expression = { kind: 'test', input, name, arguments: this.#testArguments(), line };
    return negated ? { kind: 'not', operand: test, line } : test;
  }

  /** A test takes one argument without parentheses. */
  #testArguments(): Arguments {
    if (this.#stream.is('(')) return this.#arguments();
    const starts = ['name', 'string', 'number'].includes(this.#stream.kind);
    if (this.#stream.isName('is')) refuse(this.#stream.line, 'a chain of tests');
    const isWord = ['else', 'or', 'and'].some((word) => this.#stream.isName(word));
    if ((!starts || isWord) && !this.#stream.is('[') && !this.#stream.is('{')) {
      return { positional: [], named: [] };
    }
    return { positional: [this.#postfix(this.#primary())], named: [] };
  }

  #optionalArguments(): Arguments {
    return this.#stream.is('(') ? this.#arguments() : { positional: [], named: [] };
  }

  #arguments(): Arguments {
    const positional: Expression[] = [];
    const named: { name: string; value: Expression }[] = [];
    const line = this.#stream.line;
    this.#stream.expect('(');
    while (!this.#stream.skip(')')) {
      if (positional.length + named.length > 0) {
        this.#stream.expect(',');
        if (this.#stream.skip(')')) break;
      }
      if (this.#stream.is('*') || this.#stream.is('**')) refuse(line, 'a call with * arguments');
      if (this.#stream.kind === 'name' && this.#stream.nextIs('=')) {
        const name = this.#stream.next().text;
        this.#stream.expect('=');
        named.push({ name, value: this.expression() });
      } else if (named.length > 0) refuse(line, 'a positional argument after a named one');
      else positional.push(this.expression());
    }
    return { positional, named };
  }

  #dottedName(): string {
    let name = this.#stream.expectName();
    while (this.#stream.skip('.')) name += `.${this.#stream.expectName()}`;
    return name;
  }
}

function numberIn(text: string, line: number): number | Float {
  const value = Number(text);
  if (!/^\d+$/.test(text)) return toFloat(value);
  if (!Number.isSafeInteger(value)) refuse(line, 'an integer beyond 2^53');
  return value;
}
