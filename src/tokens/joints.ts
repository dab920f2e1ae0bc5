/**
 * Where a text may be cut without changing what is merged: between two characters that no merge joins.
 *
 * A merge joins the last character of its left side to the first of its right side, and a token grows
 * across a place only by such a merge. So where the two characters around a place are the joint of no
 * merge, nothing ever crosses it, and both sides merge as they would alone. Vocabularies without a
 * pre-tokenizer, which merge whole texts, become as fast as others by it.
 */
import type { MergeRules } from './merge-rules.ts';
import type { PieceEnd } from './scanners.ts';

const PAIR = 2;

export class Joints {
  /** Pairs of code points, open-addressed; a pair of zeros is free (and never cut at). */
  readonly #pairs: Uint32Array;
  readonly #mask: number;

  constructor(rules: MergeRules, text: (symbol: number) => string) {
    const { triples } = rules;
    const slots = 2 ** Math.ceil(Math.log2((triples.length / 3) * 2 + 2));
    this.#mask = slots - 1;
    this.#pairs = new Uint32Array(slots * PAIR);
    for (let i = 0; i < triples.length; i += 3) {
      const left = text(triples[i]);
      const right = text(triples[i + 1]);
      this.#add(lastOf(left), right.codePointAt(0) as number);
    }
  }

  /** Cuts wherever nothing is joined. */
  readonly pieceEnd: PieceEnd = (codePoints, start, end) => {
    let at = start + 1;
    while (at < end && this.#joins(codePoints[at - 1], codePoints[at])) at++;
    return at;
  };

  #joins(left: number, right: number): boolean {
    const pairs = this.#pairs;
    for (let slot = spread(left, right) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const pair = slot * PAIR;
      if (pairs[pair] === left && pairs[pair + 1] === right) return true;
      if (pairs[pair] === 0 && pairs[pair + 1] === 0) return false;
    }
  }

  #add(left: number, right: number): void {
    const pairs = this.#pairs;
    for (let slot = spread(left, right) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const pair = slot * PAIR;
      if (pairs[pair] === left && pairs[pair + 1] === right) return;
      if (pairs[pair] !== 0 || pairs[pair + 1] !== 0) continue;
      pairs[pair] = left;
      pairs[pair + 1] = right;
      return;
    }
  }
}

function lastOf(text: string): number {
  const last = text.charCodeAt(text.length - 1);
  return (last & 0xfc00) === 0xdc00 ? (text.codePointAt(text.length - 2) as number) : last;
}

function spread(left: number, right: number): number {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}
