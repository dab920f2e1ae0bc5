import type { Token } from './lexer.ts';
import { refuse } from './template-error.ts';

/** Reads a template's tokens one by one, with a look at the next two. */
export class TokenStream {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get kind(): Token['kind'] {
    return this.#tokens[this.#at].kind;
  }

  get text(): string {
    return this.#tokens[this.#at].text;
  }

  get line(): number {
    return this.#tokens[this.#at].line;
  }

  /** The current token, which is then behind; the last one stays. */
  next(): Token {
    const token = this.#tokens[this.#at];
    if (token.kind !== 'eof') this.#at++;
    return token;
  }

  is(operator: string): boolean {
    return this.kind === 'operator' && this.text === operator;
  }

  isName(name: string): boolean {
    return this.kind === 'name' && this.text === name;
  }

  nextIs(operator: string): boolean {
    const next = this.#tokens[this.#at + 1];
    return next?.kind === 'operator' && next.text === operator;
  }

  nextIsName(name: string): boolean {
    const next = this.#tokens[this.#at + 1];
    return next?.kind === 'name' && next.text === name;
  }

  skip(operator: string): boolean {
    if (!this.is(operator)) return false;
    this.#at++;
    return true;
  }

  skipName(name: string): boolean {
    if (!this.isName(name)) return false;
    this.#at++;
    return true;
  }

  expect(operator: string): void {
    if (!this.skip(operator)) refuse(this.line, `${this.#found()} where ${operator} should be`);
  }

  expectName(): string {
    if (this.kind !== 'name') refuse(this.line, `${this.#found()} where a name should be`);
    return this.next().text;
  }

  /** The `%` or `{` tag must end here. */
  expectEnd(): void {
    if (this.kind !== 'end') refuse(this.line, `${this.#found()} where the tag should end`);
    this.#at++;
  }

  /** Whether nothing more can belong to a tuple without parentheses. */
  atTupleEnd(): boolean {
    return this.kind === 'end' || this.is(')') || this.isName('in');
  }

  #found(): string {
    return this.kind === 'end' ? 'the end of the tag' : JSON.stringify(this.text);
  }
}
