/**
 * What a request asks of the form of its answer, as a grammar over the whole answer: reasoning, where
 * the model may begin with it, then JSON, a text of a list, or calls in the model's own format.
 */
import { unreachable } from '../../base/assert.ts';
import { GatewayError } from '../../model/error.ts';
import type { AnswerFrame, Format, Tool } from '../../model/request.ts';
import { bounded, leftRecursive, productive } from './analysis.ts';
import {
  anyOf,
  complement,
  EMPTY,
  type Expression,
  either,
  type Grammar,
  oneOf,
  optional,
  ROOT,
  repeat,
  rule,
  sequence,
  text,
} from './expression.ts';
import { writeGbnf } from './gbnf.ts';
import { literal, OBJECT } from './json-text.ts';
import { asWritten, PatternError, readPattern } from './pattern.ts';
import { GbnfError, readGbnf } from './read-gbnf.ts';
import { type GrammarLimits, NO_LIMITS, RuleBook } from './rule-book.ts';
import { SchemaCompiler } from './schema.ts';
import { SchemaError } from './schema-error.ts';

export interface Constraint {
  grammar: Grammar;
  /** The same, as llama.cpp reads it. */
  gbnf: string;
}

/** For models that never end a string or a list by themselves. */
const NOISE_LIMITS: GrammarLimits = { depthMax: 2, repeatMax: 12 };

/**
 * `isNoise`: the model's weights mean nothing, so that only a grammar with an end ends its answer.
 * Throws a `GatewayError` whose sentence names what cannot be enforced. Undefined where no grammar is
 * needed.
 */
export function constraintOf(
  format: Format,
  frame: AnswerFrame,
  { isNoise }: { isNoise: boolean },
): Constraint | undefined {
  if (format.kind === 'noCalls') return undefined;
  const limits = isNoise ? NOISE_LIMITS : NO_LIMITS;
  const rules = format.kind === 'grammar' ? written(format) : rulesOf(format, frame, limits);
  const whole = productive(rules);
  if (whole === undefined) {
    throw refusal('No text at all satisfies what the answer must look like.', format);
  }
  if (leftRecursive(whole)) {
    throw refusal('A rule refers to itself without anything in between.', format);
  }
  const { repeatMax } = limits;
  const grammar = repeatMax === undefined ? whole : bounded(whole, repeatMax);
  return { gbnf: writeGbnf(grammar), grammar };
}

/** A client's own grammar is over the whole answer, reasoning included. */
function written(format: Extract<Format, { kind: 'grammar' }>): Grammar {
  try {
    return readGbnf(format.gbnf);
  } catch (thrown) {
    if (!(thrown instanceof GbnfError)) throw thrown;
    throw refusal(`The grammar ${thrown.message}.`, format);
  }
}

function rulesOf(
  format: Exclude<Format, { kind: 'noCalls' | 'grammar' }>,
  frame: AnswerFrame,
  limits: GrammarLimits,
): Grammar {
  const book = new RuleBook(limits);
  book.set(ROOT, framed(answerOf(format, frame, book), frame, book));
  return book.rules;
}

function answerOf(
  format: Exclude<Format, { kind: 'noCalls' | 'grammar' }>,
  frame: AnswerFrame,
  book: RuleBook,
): Expression {
  switch (format.kind) {
    case 'json':
      return OBJECT;
    case 'schema':
      return compiled(format.schema, 'The schema', format, book);
    case 'choice':
      return either(...format.choices.map(text));
    case 'regex':
      return regex(format.pattern, format);
    case 'calls':
      return calls(format, frame, book);
    default:
      return unreachable(format);
  }
}

function compiled(schema: unknown, subject: string, format: Format, book: RuleBook): Expression {
  try {
    return new SchemaCompiler(schema, book).expression();
  } catch (thrown) {
    if (!(thrown instanceof SchemaError)) throw thrown;
    throw refusal(`${subject} ${thrown.message}.`, format);
  }
}

/** The whole answer matches, as with vLLM: anchors are implied. */
function regex(pattern: string, format: Format): Expression {
  const isAnchored = pattern.startsWith('^') && /(^|[^\\])(\\\\)*\$$/.test(pattern);
  try {
    return readPattern(isAnchored ? pattern : `^(?:${pattern})$`, asWritten).expression;
  } catch (thrown) {
    if (!(thrown instanceof PatternError)) throw thrown;
    throw refusal(`The pattern ${thrown.message}.`, format);
  }
}

function calls(
  format: Extract<Format, { kind: 'calls' }>,
  { calls: frame }: AnswerFrame,
  book: RuleBook,
): Expression {
  if (frame === undefined) {
    throw refusal(
      'A call cannot be enforced in the format this model writes calls in; use tool_choice auto.',
      format,
    );
  }
  const call = book.add(
    either(
      ...format.tools.map(({ name, parameters }) =>
        sequence(
          text(`${frame.open}{"name": `),
          literal(name),
          text(', "arguments": '),
          argumentsOf({ name, parameters }, format, book),
          text(`}${frame.close}`),
        ),
      ),
    ),
  );
  const isEndless = book.limits.repeatMax === undefined;
  const more = repeat(sequence(text('\n'), call), 0, isEndless ? undefined : 1);
  return format.many ? sequence(call, more) : call;
}

/** A tool without parameters takes none. */
function argumentsOf(
  { name, parameters }: Pick<Tool, 'name' | 'parameters'>,
  format: Format,
  book: RuleBook,
): Expression {
  if (parameters === undefined) return text('{}');
  const subject = `The parameters of tool ${JSON.stringify(name.slice(0, 60))}: the schema`;
  if (typeof parameters !== 'object' || parameters === null) {
    throw refusal(`${subject} is none.`, format);
  }
  return compiled({ type: 'object', ...parameters }, subject, format, book);
}

/** The answer behind the reasoning, of which there may be none. */
function framed(answer: Expression, { reasoning }: AnswerFrame, book: RuleBook): Expression {
  if (reasoning === undefined) return answer;
  const { open, close, isOpen } = reasoning;
  const { repeatMax } = book.limits;
  if (repeatMax !== undefined && !isOpen) return answer;
  const thought =
    repeatMax === undefined
      ? upTo(close, book)
      : sequence(repeat(oneOf(butFor(close[0])), 0, repeatMax), text(close));
  const rest = book.add(answer);
  const behind = sequence(thought, repeat(anyOf(' \n'), 0, 3), rest);
  return isOpen ? behind : either(sequence(optional(text('\n')), text(open), behind), rest);
}

/**
 * Any text up to and with the marker's first occurrence, as an automaton: a rule per beginning of the
 * marker that was read (Knuth, Morris, Pratt).
 */
function upTo(marker: string, book: RuleBook): Expression {
  const names = Array.from(marker, () => book.reserve());
  const after = (read: number): Expression => (read === marker.length ? EMPTY : rule(names[read]));
  for (let read = 0; read < marker.length; read++) {
    const characters = [...new Set(marker)];
    const steps = characters.map((character) =>
      sequence(text(character), after(longestBeginning(marker, marker.slice(0, read) + character))),
    );
    book.set(names[read], either(...steps, sequence(oneOf(butFor(...characters)), after(0))));
  }
  return rule(names[0]);
}

/** Length of the longest beginning of the marker with which the text ends. */
function longestBeginning(marker: string, read: string): number {
  for (let length = Math.min(read.length, marker.length); length > 0; length--) {
    if (read.endsWith(marker.slice(0, length))) return length;
  }
  return 0;
}

function butFor(...characters: readonly string[]) {
  const codes = characters.map((character) => character.codePointAt(0) ?? 0);
  return complement([
    [0, 0],
    [0xd800, 0xdfff],
    ...codes.map((code): [number, number] => [code, code]),
  ]);
}

function refusal(sentence: string, format: Format): GatewayError {
  const param = format.kind === 'calls' ? 'tools' : 'response_format';
  return new GatewayError('invalid_request', sentence, { param });
}
