/** Arguments that stand each between tags, their values bare text: they leave as one JSON object. */
import type { Tool } from '../../model/request.ts';
import type { Reader, Step } from './reader.ts';
import { argumentSchema, isString, typedJson } from './typed-value.ts';

/** No single argument that must be complete before it is typed is longer, in UTF-16 units. */
const VALUE_MAX = 4_000_000;

export class TaggedArguments {
  readonly #reader: Reader;
  readonly #tools: readonly Tool[];
  readonly #name: string;
  #separator = '';

  /** Begins the call `name`, for which all that was read on trial stood. */
  constructor(reader: Reader, tools: readonly Tool[], name: string) {
    this.#reader = reader;
    this.#tools = tools;
    this.#name = name;
    reader.call(name);
    // So that arguments which break off are never taken for complete ones.
    reader.arguments('{');
  }

  /**
   * The value of `key`, at the cursor, up to the first of `ends`, which is returned; undefined where
   * the answer ends first. `breaks`: line breaks before an end that belong to it.
   */
  *value(key: string, ends: readonly string[], breaks: 0 | 1): Step<string | undefined> {
    const reader = this.#reader;
    const schema = argumentSchema(this.#tools, this.#name, key);
    const begin = `${this.#separator}${JSON.stringify(key)}: `;
    let end: string | undefined;
    if (isString(schema)) {
      reader.commit();
      reader.arguments(`${begin}"`);
      end = yield* reader.upTo(ends, breaks, (text) => reader.arguments(inString(text)));
      if (end !== undefined) reader.arguments('"');
    } else {
      const found = yield* reader.before(ends, VALUE_MAX);
      if (found === undefined) {
        // Nothing in it is read anew: it is one value, cut off.
        yield* reader.textUpTo([], 0);
        return undefined;
      }
      end = found.end;
      const text = breaks > 0 ? found.text.replace(/\n$/, '') : found.text;
      reader.arguments(begin + typedJson(text, schema));
    }
    reader.commit();
    this.#separator = ', ';
    return end;
  }

  finish(): void {
    this.#reader.commit();
    this.#reader.arguments('}');
  }
}

function inString(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}
