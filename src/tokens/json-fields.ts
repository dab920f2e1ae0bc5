/** Reads fields of a parsed JSON file of others, and names the one that is not as it should be. */

/** `message` completes "… cannot be tokenized here, because …". */
export class UnsupportedTokenizer extends Error {
  override name = 'UnsupportedTokenizer';
}

export type Fields = Readonly<Record<string, unknown>>;

export function fields(value: unknown, what: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw new UnsupportedTokenizer(`${what} is no JSON object`);
}

export function list(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new UnsupportedTokenizer(`${what} is no JSON array`);
}

export function text(value: unknown, what: string): string {
  if (typeof value === 'string') return value;
  throw new UnsupportedTokenizer(`${what} is no text`);
}

export function flag(value: unknown, what: string, otherwise: boolean): boolean {
  if (value === undefined || value === null) return otherwise;
  if (typeof value === 'boolean') return value;
  throw new UnsupportedTokenizer(`${what} is neither true nor false`);
}

/** Ids beyond this are a mistake of the file: an array up to them would not fit in memory. */
const IDS_MAX = 2 ** 24;

export function tokenId(value: unknown, what: string): number {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) < IDS_MAX) {
    return value as number;
  }
  throw new UnsupportedTokenizer(`the id of ${what} is no token id`);
}

/** What the field is, in a sentence. */
export function shown(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 60) ?? 'nothing';
}
