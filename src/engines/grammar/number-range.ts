/** Numbers within bounds, as text: digit by digit from the left. */
import {
  EMPTY,
  type Expression,
  either,
  NOTHING,
  oneOf,
  optional,
  repeat,
  sequence,
  text,
} from './expression.ts';
import { DIGITS, FRACTION } from './json-text.ts';

export interface Bounds {
  min: bigint | undefined;
  max: bigint | undefined;
  /** Whether the bound itself is out. */
  above: boolean;
  below: boolean;
}

/** Digits written where nothing bounds a number: a double tells so many apart. */
const DIGITS_MAX = 15;

export function integerWithin({ min, max, above, below }: Bounds): Expression {
  const least = min === undefined ? undefined : min + (above ? 1n : 0n);
  const most = max === undefined ? undefined : max - (below ? 1n : 0n);
  const positive =
    most !== undefined && most < 0n ? NOTHING : natural(atLeast(least ?? 0n, 0n), most);
  const negative =
    least !== undefined && least >= 0n
      ? NOTHING
      : natural(
          atLeast(most === undefined ? 1n : -most, 1n),
          least === undefined ? undefined : -least,
        );
  return either(positive, sequence(text('-'), negative));
}

/** Decimal numbers between whole bounds. */
export function numberWithin({ min, max, above, below }: Bounds): Expression {
  const positive =
    max !== undefined && max < 0n
      ? NOTHING
      : decimal(
          min !== undefined && min >= 0n ? { at: min, out: above } : { at: 0n, out: false },
          max === undefined ? undefined : { at: max, out: below },
        );
  const negative =
    min !== undefined && min >= 0n
      ? NOTHING
      : decimal(
          max !== undefined && max < 0n ? { at: -max, out: below } : { at: 0n, out: true },
          min === undefined ? undefined : { at: -min, out: above },
        );
  return either(positive, sequence(text('-'), negative));
}

interface End {
  at: bigint;
  out: boolean;
}

function decimal(from: End, to: End | undefined): Expression {
  const most = to === undefined ? undefined : to.at - 1n;
  const between = sequence(natural(from.out ? from.at + 1n : from.at, most), optional(FRACTION));
  const last =
    to === undefined || to.out || to.at < from.at || (to.at === from.at && from.out)
      ? NOTHING
      : text(String(to.at));
  const first =
    from.out && (most === undefined || from.at <= most)
      ? sequence(text(String(from.at)), SOME_FRACTION)
      : NOTHING;
  return either(first, between, last);
}

/** A fraction that is not zero. */
const SOME_FRACTION: Expression = sequence(
  text('.'),
  repeat(text('0'), 0, DIGITS_MAX - 1),
  oneOf([[0x31, 0x39]]),
  repeat(DIGITS, 0, DIGITS_MAX - 1),
);

/** Whole numbers from `least` on, which is not negative. */
function natural(least: bigint, most: bigint | undefined): Expression {
  const low = String(least);
  const high = most === undefined ? '9'.repeat(Math.max(DIGITS_MAX, low.length)) : String(most);
  if (most !== undefined && most < least) return NOTHING;
  const lengths: Expression[] = [];
  for (let length = low.length; length <= high.length; length++) {
    const from = length === low.length ? low : `1${'0'.repeat(length - 1)}`;
    const to = length === high.length ? high : '9'.repeat(length);
    lengths.push(between(from, to));
  }
  return either(...lengths);
}

/** Digit strings of one length, in their order. */
function between(from: string, to: string): Expression {
  if (from === '') return EMPTY;
  const rest = from.length - 1;
  if (from[0] === to[0]) return sequence(text(from[0]), between(from.slice(1), to.slice(1)));
  const [zeros, nines] = ['0'.repeat(rest), '9'.repeat(rest)];
  const isLowWhole = from.slice(1) === zeros;
  const isHighWhole = to.slice(1) === nines;
  const first = Number(from[0]) + (isLowWhole ? 0 : 1);
  const last = Number(to[0]) - (isHighWhole ? 0 : 1);
  return either(
    isLowWhole ? NOTHING : sequence(text(from[0]), between(from.slice(1), nines)),
    first > last
      ? NOTHING
      : sequence(oneOf([[0x30 + first, 0x30 + last]]), repeat(DIGITS, rest, rest)),
    isHighWhole ? NOTHING : sequence(text(to[0]), between(zeros, to.slice(1))),
  );
}

function atLeast(value: bigint, least: bigint): bigint {
  return value < least ? least : value;
}
