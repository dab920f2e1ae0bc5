/**
 * Reads the GBNF that a client wrote, so that what is wrong with it is said in one sentence here, and
 * nothing reaches llama.cpp's own reader but what we wrote ourselves.
 */
import {
  CODE_POINT_MAX,
  complement,
  type Expression,
  either,
  type Grammar,
  oneOf,
  type Range,
  ROOT,
  repeat,
  rule,
  sequence,
  text,
  union,
} from './expression.ts';

export class GbnfError extends Error {}

const LENGTH_MAX = 100_000;
const REPEAT_MAX = 100_000;
const NESTED_MAX = 200;

/** Throws a GbnfError that reads on from "The grammar". */
export function readGbnf(source: string): Grammar {
  if (source.length > LENGTH_MAX) throw new GbnfError(`is longer than ${LENGTH_MAX} characters`);
  const rules = new GbnfReader(source).rules();
  if (!rules.has(ROOT)) throw new GbnfError('has no rule root');
  const visit = (expression: Expression): void => {
    if (expression.kind === 'rule' && !rules.has(expression.name)) {
      throw new GbnfError(`names the rule ${expression.name}, which it does not have`);
    }
    if (expression.kind === 'repeat') visit(expression.of);
    if (expression.kind === 'sequence' || expression.kind === 'either')
      expression.of.forEach(visit);
  };
  for (const expression of rules.values()) visit(expression);
  return rules;
}

class GbnfReader {
  readonly #source: string;
  #at = 0;
  #nested = 0;

  constructor(source: string) {
    this.#source = source;
  }

  rules(): Map<string, Expression> {
    const rules = new Map<string, Expression>();
    this.#space(true);
    while (this.#at < this.#source.length) {
      const name = this.#match(/[a-zA-Z0-9-]+/y) ?? this.#wrong('a rule’s name');
      this.#space(true);
      if (this.#match(/::=/y) === undefined) this.#wrong('::=');
      this.#space(true);
      rules.set(name, this.#alternates());
      this.#space(true);
    }
    return rules;
  }

  #alternates(): Expression {
    const branches = [this.#sequence()];
    while (this.#match(/\|/y) !== undefined) {
      this.#space(true);
      branches.push(this.#sequence());
    }
    return either(...branches);
  }

  #sequence(): Expression {
    const items: Expression[] = [];
    for (;;) {
      const item = this.#item();
      if (item === undefined) return sequence(...items);
      this.#space(this.#nested > 0);
      items.push(this.#repeated(item));
      this.#space(this.#nested > 0);
    }
  }

  /** Undefined where none begins. */
  #item(): Expression | undefined {
    const name = this.#match(/[a-zA-Z0-9-]+(?!\s*::=|[a-zA-Z0-9-])/y);
    if (name !== undefined) return rule(name);
    switch (this.#source[this.#at]) {
      case '"':
        this.#at++;
        return this.#literal();
      case '[':
        this.#at++;
        return oneOf(this.#class());
      case '.':
        this.#at++;
        return oneOf([[0, CODE_POINT_MAX]]);
      case '(':
        return this.#group();
      case '<':
      case '!':
        throw new GbnfError('names tokens, which is not supported');
      default:
        return undefined;
    }
  }

  #group(): Expression {
    this.#at++;
    if (++this.#nested > NESTED_MAX) throw new GbnfError('is nested too deeply');
    this.#space(true);
    const inner = this.#alternates();
    this.#space(true);
    if (this.#match(/\)/y) === undefined) this.#wrong(')');
    this.#nested--;
    return inner;
  }

  #repeated(item: Expression): Expression {
    const sign = this.#match(/[*+?]|\{\s*\d+\s*(?:,\s*\d*\s*)?\}/y);
    if (sign === undefined) return item;
    this.#space(this.#nested > 0);
    if (sign === '*') return this.#repeated(repeat(item, 0, undefined));
    if (sign === '+') return this.#repeated(repeat(item, 1, undefined));
    if (sign === '?') return this.#repeated(repeat(item, 0, 1));
    const [from, to] = sign
      .slice(1, -1)
      .split(',')
      .map((part) => part.trim());
    const min = Number(from);
    const max = to === undefined ? min : to === '' ? undefined : Number(to);
    if (Math.max(min, max ?? 0) > REPEAT_MAX) throw new GbnfError('repeats something too often');
    return this.#repeated(repeat(item, min, max));
  }

  #literal(): Expression {
    let found = '';
    for (;;) {
      if (this.#at >= this.#source.length) this.#wrong('"');
      if (this.#source[this.#at] === '"') break;
      found += String.fromCodePoint(this.#character());
    }
    this.#at++;
    return text(found);
  }

  #class(): Range[] {
    const negated = this.#source[this.#at] === '^';
    if (negated) this.#at++;
    const ranges: Range[] = [];
    while (this.#source[this.#at] !== ']') {
      const from = this.#character();
      const isRange = this.#source[this.#at] === '-' && this.#source[this.#at + 1] !== ']';
      if (isRange) this.#at++;
      const to = isRange ? this.#character() : from;
      if (to < from) throw new GbnfError('has a range that is none');
      ranges.push([from, to]);
    }
    this.#at++;
    return negated ? complement(ranges) : union(ranges);
  }

  #character(): number {
    const coded = this.#match(/\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}/y);
    if (coded !== undefined) {
      const code = Number.parseInt(coded.slice(2), 16);
      if (code > CODE_POINT_MAX) this.#wrong('a character');
      return code;
    }
    const named = this.#match(/\\[tnr\\"[\]]/y);
    if (named !== undefined) {
      return { t: 9, n: 10, r: 13 }[named[1]] ?? named.charCodeAt(1);
    }
    const plain = this.#match(/[^\\]/uy) ?? this.#wrong('a character');
    return plain.codePointAt(0) ?? 0;
  }

  #space(lines: boolean): void {
    this.#match(lines ? /(?:\s|#[^\r\n]*)*/y : /(?:[ \t]|#[^\r\n]*)*/y);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#source) ?? [];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #wrong(wanted: string): never {
    const line = this.#source.slice(0, this.#at).split('\n').length;
    throw new GbnfError(`lacks ${wanted} in line ${line}`);
  }
}
