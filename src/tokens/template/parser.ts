/** Statements of Jinja: template source → tree. Refuses, with its line, what is not supported. */
import type { Expression, Macro, Statement, Target } from './ast.ts';
import { lex } from './lexer.ts';
import { ExpressionParser } from './parse-expression.ts';
import { refuse } from './template-error.ts';
import { TokenStream } from './token-stream.ts';

export function parse(source: string): Statement[] {
  return new Parser(source).template();
}

class Parser {
  readonly #stream: TokenStream;
  readonly #expressions: ExpressionParser;
  #loops = 0;

  constructor(source: string) {
    this.#stream = new TokenStream(lex(source));
    this.#expressions = new ExpressionParser(this.#stream);
  }

  template(): Statement[] {
    const body = this.#until([]);
    if (this.#stream.kind !== 'eof') {
      refuse(this.#stream.line, `an unexpected ${this.#stream.text}`);
    }
    return body;
  }

  /** Statements up to a tag that begins with one of `ends`, of which the name is read. */
  #until(ends: readonly string[]): Statement[] {
    const body: Statement[] = [];
    while (this.#stream.kind !== 'eof') {
      const { kind, text, line } = this.#stream.next();
      if (kind === 'data') body.push({ kind: 'data', text, line });
      else if (text === '{') {
        body.push({ kind: 'output', expression: this.#expressions.tuple(), line });
        this.#stream.expectEnd();
      } else if (ends.some((end) => this.#stream.isName(end))) return body;
      else body.push(this.#statement(line));
    }
    if (ends.length > 0) refuse(this.#stream.line, `no ${ends[ends.length - 1]} before its end`);
    return body;
  }

  /** A body whose end tag is read as well. */
  #body(end: string): Statement[] {
    const body = this.#until([end]);
    this.#stream.expectName();
    this.#stream.expectEnd();
    return body;
  }

  #statement(line: number): Statement {
    const name = this.#stream.expectName();
    switch (name) {
      case 'if':
        return this.#if(line);
      case 'for':
        return this.#for(line);
      case 'set':
        return this.#set(line);
      case 'macro':
        return this.#macro(line);
      case 'call':
        return this.#callBlock(line);
      case 'filter': {
        const filters = this.#expressions.filters();
        this.#stream.expectEnd();
        return { kind: 'filterBlock', filters, body: this.#body('endfilter'), line };
      }
      case 'generation':
        this.#stream.expectEnd();
        return { kind: 'scope', body: this.#body('endgeneration'), line };
      case 'break':
      case 'continue':
        if (this.#loops === 0) refuse(line, `${name} outside of a loop`);
        this.#stream.expectEnd();
        return { kind: name, line };
      default:
        return refuse(line, `the unsupported tag ${name}`);
    }
  }

  #if(line: number): Statement {
    const branches: { test: Expression; body: Statement[] }[] = [];
    let otherwise: Statement[] = [];
    for (let tag = 'if'; tag !== 'endif'; ) {
      if (tag === 'else') {
        this.#stream.expectEnd();
        otherwise = this.#until(['endif']);
      } else {
        const test = this.#expressions.tupleWithoutChoice();
        this.#stream.expectEnd();
        branches.push({ test, body: this.#until(['elif', 'else', 'endif']) });
      }
      tag = this.#stream.expectName();
    }
    this.#stream.expectEnd();
    return { kind: 'if', branches, otherwise, line };
  }

  #for(line: number): Statement {
    const target = this.#target();
    if (target.kind === 'attribute') refuse(line, 'a loop over a namespace attribute');
    if (!this.#stream.skipName('in')) refuse(line, 'a for without in');
    const items = this.#expressions.tupleWithoutChoice();
    const test = this.#stream.skipName('if') ? this.#expressions.expression() : undefined;
    if (this.#stream.isName('recursive')) refuse(line, 'a recursive loop');
    this.#stream.expectEnd();
    this.#loops++;
    const body = this.#until(['else', 'endfor']);
    this.#loops--;
    let otherwise: Statement[] = [];
    if (this.#stream.expectName() === 'else') {
      this.#stream.expectEnd();
      otherwise = this.#until(['endfor']);
      this.#stream.expectName();
    }
    this.#stream.expectEnd();
    return { kind: 'for', target, items, test, body, otherwise, line };
  }

  #set(line: number): Statement {
    const target = this.#target();
    if (this.#stream.skip('=')) {
      const value = this.#expressions.tuple();
      this.#stream.expectEnd();
      return { kind: 'set', target, value, line };
    }
    const filters = this.#stream.skip('|') ? this.#expressions.filters() : [];
    this.#stream.expectEnd();
    return { kind: 'setBlock', target, filters, body: this.#body('endset'), line };
  }

  #macro(line: number): Statement {
    const name = this.#stream.expectName();
    const parameters = this.#parameters();
    this.#stream.expectEnd();
    const macro = { parameters, body: this.#callable('endmacro') };
    return { kind: 'macro', name, macro, line };
  }

  #callBlock(line: number): Statement {
    const parameters = this.#stream.is('(') ? this.#parameters() : [];
    const call = this.#expressions.expression();
    if (call.kind !== 'call') refuse(line, 'a call block without a call');
    this.#stream.expectEnd();
    return {
      kind: 'callBlock',
      call,
      macro: { parameters, body: this.#callable('endcall') },
      line,
    };
  }

  /** The body of a macro: loops around it do not count for `break`. */
  #callable(end: string): Statement[] {
    const loops = this.#loops;
    this.#loops = 0;
    const body = this.#body(end);
    this.#loops = loops;
    return body;
  }

  #parameters(): Macro['parameters'] {
    const parameters: Macro['parameters'] = [];
    this.#stream.expect('(');
    while (!this.#stream.skip(')')) {
      if (parameters.length > 0) this.#stream.expect(',');
      const name = this.#stream.expectName();
      const fallback = this.#stream.skip('=') ? this.#expressions.expression() : undefined;
      parameters.push({ name, fallback });
    }
    return parameters;
  }

  #target(): Target {
    const first = this.#targetName();
    if (this.#stream.skip('.')) {
      return { kind: 'attribute', namespace: first, name: this.#stream.expectName() };
    }
    if (!this.#stream.is(',')) return { kind: 'name', name: first };
    const names = [first];
    while (this.#stream.skip(',')) {
      if (this.#stream.atTupleEnd() || this.#stream.is('=')) break;
      names.push(this.#targetName());
    }
    return { kind: 'names', names };
  }

  #targetName(): string {
    if (this.#stream.skip('(')) refuse(this.#stream.line, 'a target in parentheses');
    return this.#stream.expectName();
  }
}
