/** Which fields of a request an engine refuses, as its refusals name them. */
import type { GatewayError } from '../model/error.ts';

/** How engines say that they do not take a field: unknown, not for this model, or not with this value. */
const NOT_TAKEN =
  /unsupported|unrecognized|unrecognised|unknown|unexpected|not (?:supported|permitted|allowed|accepted)|does ?n[o']t support|extra (?:inputs|fields)|deprecated|no longer/i;

const LIMITS = [
  /max(?:_completion|_output)?_tokens\b[^\d]*\d+ > (\d+)/i,
  /supports at most (\d+)/i,
  /max(?:_completion|_output)?_tokens\b.*?(?:less than or equal to|at most|<=|maximum(?: of| is)?)[^\d]*(\d+)/i,
];

export class RefusedFields {
  readonly #optional: ReadonlySet<string>;
  readonly #dropped = new Set<string>();
  /** Most tokens an answer may be asked to have; undefined: not known. */
  outputTokensMax: number | undefined;

  /** `optional`: without these a request still means the same, or nearly. */
  constructor(optional: readonly string[]) {
    this.#optional = new Set(optional);
  }

  /** Whether the refusal names a field that was not known to be refused. */
  learn(refusal: GatewayError): boolean {
    if (this.#learnLimit(refusal.message)) return true;
    const name = this.named(refusal);
    if (name === undefined || this.#dropped.has(name)) return false;
    this.#dropped.add(name);
    return true;
  }

  /** The optional field that a refusal is about. */
  named({ message, param }: GatewayError): string | undefined {
    if (!NOT_TAKEN.test(message)) return undefined;
    if (param !== undefined && this.#optional.has(param)) return param;
    return [...this.#optional].find((name) => new RegExp(`\\b${name}\\b`).test(message));
  }

  without(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
    return Object.fromEntries(Object.entries(fields).filter(([name]) => !this.#dropped.has(name)));
  }

  /** A limit that is no lower than the one known teaches nothing. */
  #learnLimit(message: string): boolean {
    for (const pattern of LIMITS) {
      const limit = Number(pattern.exec(message)?.[1] ?? 0);
      if (limit < 1 || limit >= (this.outputTokensMax ?? Number.POSITIVE_INFINITY)) continue;
      this.outputTokensMax = limit;
      return true;
    }
    return false;
  }
}
