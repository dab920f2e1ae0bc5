/** One JSON object of a trace, read field by field; what is wrong with it is one sentence. */

/** The row cannot be used; its message says why, and the reader adds the line. */
export class BadRow extends Error {
  override name = 'BadRow';
}

const SHOWN_CHARACTERS = 40;

export class Row {
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new BadRow(`A row is a JSON object, this is ${shown(value)}.`);
    }
    this.#fields = value as Record<string, unknown>;
  }

  static parse(text: string): Row {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw new BadRow(`It is not JSON: ${text.slice(0, SHOWN_CHARACTERS)}.`);
    }
    return new Row(value);
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined && this.#fields[name] !== null;
  }

  raw(name: string): unknown {
    return this.#fields[name];
  }

  text(name: string): string {
    const value = this.#fields[name];
    if (typeof value === 'string' && value !== '') return value;
    throw new BadRow(`${name} must be a text, it is ${shown(value)}.`);
  }

  textIfAny(name: string): string | undefined {
    return this.has(name) ? this.text(name) : undefined;
  }

  /** A whole number of tokens or blocks; the first of the names that is there. */
  count(...names: string[]): number {
    const name = names.find((one) => this.has(one)) ?? names[0];
    const value = this.#fields[name];
    if (Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32) {
      return value as number;
    }
    throw new BadRow(`${name} must be a whole number from 0 to 2^32, it is ${shown(value)}.`);
  }

  /** A time or a duration, not negative; undefined where none of the names is there. */
  timeIfAny(...names: string[]): number | undefined {
    const name = names.find((one) => this.has(one));
    if (name === undefined) return undefined;
    const value = this.#fields[name];
    if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
    throw new BadRow(`${name} must be a number that is not negative, it is ${shown(value)}.`);
  }

  time(...names: string[]): number {
    const value = this.timeIfAny(...names);
    if (value === undefined) throw new BadRow(`${names[0]} is missing.`);
    return value;
  }

  list(name: string): unknown[] {
    const value = this.#fields[name];
    if (Array.isArray(value)) return value;
    throw new BadRow(`${name} must be a list, it is ${shown(value)}.`);
  }

  rows(name: string): Row[] {
    return this.list(name).map((value) => new Row(value));
  }

  /** Ids of blocks: numbers or texts. */
  ids(name: string): (number | string)[] {
    const ids = this.list(name);
    const wrong = ids.find((id) => typeof id !== 'string' && !Number.isFinite(id));
    if (wrong !== undefined) throw new BadRow(`${name} must hold ids, not ${shown(wrong)}.`);
    return ids as (number | string)[];
  }
}

function shown(value: unknown): string {
  return value === undefined ? 'missing' : JSON.stringify(value).slice(0, SHOWN_CHARACTERS);
}
