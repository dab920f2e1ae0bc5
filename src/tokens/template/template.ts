/**
 * A chat template: Jinja as transformers' `apply_chat_template` sets it up, byte for byte. What is
 * not supported is refused when the template is compiled, with its line; never guessed at.
 */
import { compileTemplate, Output, type Progress } from './compile.ts';
import { limit, RANGE_MAX } from './limits.ts';
import { integer, text } from './methods.ts';
import { parse } from './parser.ts';
import { strftime } from './strftime.ts';
import { TemplateError, TemplateRefusal } from './template-error.ts';
import { Callable, entriesOf, Iteration, isDict, Namespace, type Value } from './values.ts';

export class Template {
  readonly #progress: Progress = { line: 1, rounds: 0 };
  readonly #run: ReturnType<typeof compileTemplate>;
  readonly #globals: ReadonlyMap<string, Value>;

  /** Throws a TemplateError that says in words which line is not supported. */
  constructor(source: string, now: () => Date) {
    try {
      this.#run = compileTemplate(parse(source), this.#progress);
    } catch (thrown) {
      if (!(thrown instanceof RangeError)) throw thrown;
      throw new TemplateError('its chat template is nested too deep', { cause: thrown });
    }
    this.#globals = globals(now);
  }

  /** Throws a TemplateError; a TemplateRefusal where the template itself raises. */
  render(input: Readonly<Record<string, Value>>): string {
    const out = new Output();
    this.#progress.rounds = 0;
    try {
      this.#run(
        (name) => (Object.hasOwn(input, name) ? input[name] : this.#globals.get(name)),
        out,
      );
    } catch (thrown) {
      if (thrown instanceof TemplateRefusal) throw thrown;
      const { line } = this.#progress;
      if (thrown instanceof TemplateError) {
        throw new TemplateError(`${thrown.message} (line ${line} of the chat template)`);
      }
      if (!(thrown instanceof RangeError)) throw thrown;
      throw new TemplateError(`line ${line} of the chat template goes too far`, { cause: thrown });
    }
    return out.text;
  }
}

function globals(now: () => Date): ReadonlyMap<string, Value> {
  return new Map<string, Value>([
    ['range', new Callable((positional) => range(positional.map(integer)))],
    ['dict', new Callable((positional, named) => collect(positional, named))],
    [
      'namespace',
      new Callable((positional, named) => {
        const namespace = new Namespace();
        for (const [name, value] of collect(positional, named)) namespace.set(text(name), value);
        return namespace;
      }),
    ],
    ['strftime_now', new Callable(([format]) => strftime(text(format), now()))],
    [
      'raise_exception',
      new Callable(([message]) => {
        throw new TemplateRefusal(text(message));
      }),
    ],
  ]);
}

function range(bounds: number[]): Iteration {
  const [start, stop] = bounds.length === 1 ? [0, bounds[0]] : bounds;
  const step = bounds[2] ?? 1;
  const count = Math.max(0, Math.ceil((stop - start) / step));
  limit(count, RANGE_MAX, 'a range');
  return new Iteration(
    Array.from({ length: count }, (_, i) => start + i * step),
    'always',
  );
}

function collect(positional: Value[], named: ReadonlyMap<string, Value>): Map<Value, Value> {
  const dict = new Map<Value, Value>();
  for (const value of positional) {
    if (!isDict(value)) throw new TemplateError('a dict is made of something else than a dict');
    for (const [key, item] of entriesOf(value)) dict.set(key, item);
  }
  for (const [key, item] of named) dict.set(key, item);
  return dict;
}
