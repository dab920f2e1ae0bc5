/** Writes a grammar as llama.cpp reads it (llama-grammar.cpp; grammars/README.md describes it). */
import { unreachable } from '../../base/assert.ts';
import type { Expression, Grammar, Range } from './expression.ts';

/** llama.cpp takes a larger bound for none at all, so larger ones are written as runs of runs. */
const REPEAT_MAX = 256;
/** Runs of so many, or of more where more than so many runs were needed. */
const RUN_MIN = 64;
const RUNS_MAX = 500;

export function writeGbnf(grammar: Grammar): string {
  return new GbnfWriter(grammar).text();
}

class GbnfWriter {
  readonly #grammar: Grammar;
  readonly #lines: string[] = [];
  #helpers = 0;

  constructor(grammar: Grammar) {
    this.#grammar = grammar;
  }

  text(): string {
    for (const [name, expression] of this.#grammar) {
      this.#lines.push(`${name} ::= ${this.#write(expression)}`);
    }
    return `${this.#lines.join('\n')}\n`;
  }

  #write(expression: Expression): string {
    switch (expression.kind) {
      case 'text':
        return `"${Array.from(expression.text, inText).join('')}"`;
      case 'class':
        return `[${expression.ranges.map(writeRange).join('')}]`;
      case 'sequence':
        return expression.of.map((part) => this.#item(part)).join(' ');
      case 'either':
        return expression.of.map((part) => this.#write(part)).join(' | ');
      case 'repeat':
        return writeRepeat(this.#repeated(expression.of), expression);
      case 'rule':
        return expression.name;
      default:
        return unreachable(expression);
    }
  }

  /** As one item that something may follow. */
  #item(expression: Expression): string {
    const isGroup = expression.kind === 'sequence' || expression.kind === 'either';
    return isGroup ? `(${this.#write(expression)})` : this.#write(expression);
  }

  /**
   * As a class or a rule: of what stands in its place llama.cpp multiplies the rules, and refuses
   * grammars of too many.
   */
  #repeated(expression: Expression): string {
    if (expression.kind === 'class' || expression.kind === 'rule') return this.#write(expression);
    const name = this.#helperName();
    this.#lines.push(`${name} ::= ${this.#write(expression)}`);
    return name;
  }

  #helperName(): string {
    for (;;) {
      const name = `${HELPER}${this.#helpers++}`;
      if (!this.#grammar.has(name)) return name;
    }
  }
}

/** Begins the names of rules that only the written grammar has; a client's own may look alike. */
const HELPER = 'of-';

function writeRepeat(of: string, { min, max }: { min: number; max: number | undefined }): string {
  if (max === undefined && min <= 1) return `${of}${min === 0 ? '*' : '+'}`;
  if (min === 0 && max === 1) return `${of}?`;
  if (min <= REPEAT_MAX && (max ?? 0) <= REPEAT_MAX) return `${of}{${min},${max ?? ''}}`;
  const parts: string[] = [];
  const run = runOf(min);
  const runs = Math.floor(min / run);
  if (runs > 0) parts.push(`(${of}{${run}}){${runs}}`);
  if (min % run > 0) parts.push(`${of}{${min % run}}`);
  if (max === undefined) parts.push(`${of}*`);
  else parts.push(...writeUpTo(of, max - min));
  return `(${parts.join(' ')})`;
}

function writeUpTo(of: string, most: number): string[] {
  if (most === 0) return [];
  if (most <= REPEAT_MAX) return [`${of}{0,${most}}`];
  const run = runOf(most);
  const runs = Math.floor(most / run) - 1;
  return [`(${of}{${run}}){0,${runs}}`, `${of}{0,${most - runs * run}}`];
}

function runOf(count: number): number {
  return Math.max(RUN_MIN, Math.ceil(count / RUNS_MAX));
}

function writeRange([from, to]: Range): string {
  return from === to ? inClass(from) : `${inClass(from)}-${inClass(to)}`;
}

function inClass(code: number): string {
  const character = String.fromCodePoint(code);
  return /[a-zA-Z0-9 ]/.test(character) ? character : escaped(code);
}

function inText(character: string): string {
  return /[ !#-[\]-~]/.test(character) ? character : escaped(character.codePointAt(0) ?? 0);
}

/** Never `\x`: llama.cpp reads two digits behind it, XGrammar (vLLM, SGLang) as many as there are. */
function escaped(code: number): string {
  const hex = code.toString(16).toUpperCase();
  return code <= 0xffff ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
}
