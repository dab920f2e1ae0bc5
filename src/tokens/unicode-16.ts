/**
 * Classes of characters by Unicode 16.0: what the regular expressions of `tokenizers` 0.23 go by (its
 * Oniguruma). No character changed its class since 15.1; 5,185 were added.
 */
import {
  CASELESS,
  CLASSES,
  LOWER,
  MARK,
  mark,
  NUMBER,
  PUNCTUATION,
  SYMBOL,
  UPPER,
} from './character-class.ts';

/** Class, and as `mark` reads them the characters that are new in it. */
const ADDED: readonly (readonly [kind: number, ranges: string])[] = [
  [UPPER, '5mx 1 ri9 2 d 1 1 1 k1f m'],
  [LOWER, '5my 1 ria 1 d 1 k2c m'],
  [
    CASELESS,
    '1fpc 1g 1g6 6 v 1 9e 3 xn a 1 1 2 1 1 12 1 1 p 1 1 1 1kc x 4u7 32z ' +
      '5qd u 2ea 19 68i 1 hjk u 2 1',
  ],
  [MARK, '1p3 1 1fip 5 b2 1 xn 9 1 1 2 1 1 4 1 5 1 1 e 2 29j 1 czn i q7y 2'],
  [NUMBER, '1h6o a 1vq k zw a do6 a 2eu a iuu a 4xj a'],
  [PUNCTUATION, '5e6 2 1b 1 1bse 1 19h 2 1 2 1l4 1 g3v 3 ntb 1'],
  [SYMBOL, '753 3 2pm 2 17e0 2 11m8 6o g c4 8am a 4 2 cn 1 5 1 1a 1 7 1 l 1 2 1 9 1 69 11'],
];

let known: Uint8Array | undefined;

/** Class of each code point; made when first asked for, since GGUF files need 15.1 alone. */
export function classes16(): Uint8Array {
  if (known !== undefined) return known;
  known = CLASSES.slice();
  for (const [kind, ranges] of ADDED) mark(known, ranges, kind);
  return known;
}
