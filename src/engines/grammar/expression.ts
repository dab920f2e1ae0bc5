/**
 * Grammars as data: what GBNF can say, before it is written down. `NOTHING` matches no text at all;
 * the constructors carry it through, so that what cannot be satisfied shows as what it is.
 */

/** Code points, both ends included. */
export type Range = readonly [number, number];

export type Expression =
  | { kind: 'text'; text: string }
  /** One character in any of the ranges, which ascend and do not touch. */
  | { kind: 'class'; ranges: readonly Range[] }
  | { kind: 'sequence'; of: readonly Expression[] }
  | { kind: 'either'; of: readonly Expression[] }
  | { kind: 'repeat'; of: Expression; min: number; max: number | undefined }
  | { kind: 'rule'; name: string };

/** Rules by name; the text is a `root`. */
export type Grammar = ReadonlyMap<string, Expression>;

export const ROOT = 'root';
export const NOTHING: Expression = { kind: 'either', of: [] };
export const EMPTY: Expression = { kind: 'text', text: '' };
export const CODE_POINT_MAX = 0x10ffff;

export function text(value: string): Expression {
  return { kind: 'text', text: value };
}

export function rule(name: string): Expression {
  return { kind: 'rule', name };
}

export function isNothing(expression: Expression): boolean {
  return expression.kind === 'either' && expression.of.length === 0;
}

export function oneOf(ranges: readonly Range[]): Expression {
  return ranges.length === 0 ? NOTHING : { kind: 'class', ranges };
}

/** The characters of `of`, each for itself. */
export function anyOf(of: string): Expression {
  return oneOf(union(Array.from(of, (c): Range => [codeOf(c), codeOf(c)])));
}

export function sequence(...of: readonly Expression[]): Expression {
  const parts: Expression[] = [];
  for (const part of of) {
    if (isNothing(part)) return NOTHING;
    const last = parts[parts.length - 1];
    if (part.kind === 'sequence') parts.push(...part.of);
    else if (part.kind !== 'text' || last?.kind !== 'text') parts.push(part);
    else parts[parts.length - 1] = text(last.text + part.text);
  }
  const full = parts.filter((part) => part.kind !== 'text' || part.text !== '');
  if (full.length === 0) return EMPTY;
  return full.length === 1 ? full[0] : { kind: 'sequence', of: full };
}

export function either(...of: readonly Expression[]): Expression {
  const branches = of.flatMap((branch) => (branch.kind === 'either' ? branch.of : [branch]));
  return branches.length === 1 ? branches[0] : { kind: 'either', of: branches };
}

/** `max` undefined: without end. */
export function repeat(of: Expression, min: number, max: number | undefined): Expression {
  if (max !== undefined && max < min) return NOTHING;
  if (max === 0) return EMPTY;
  if (isNothing(of)) return min === 0 ? EMPTY : NOTHING;
  if (min === 1 && max === 1) return of;
  return { kind: 'repeat', of, min, max };
}

export function optional(of: Expression): Expression {
  return repeat(of, 0, 1);
}

/** Sorted, and merged where they touch. */
export function union(ranges: readonly Range[]): Range[] {
  const merged: [number, number][] = [];
  for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = merged[merged.length - 1];
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

export function complement(ranges: readonly Range[]): Range[] {
  const rest: Range[] = [];
  let from = 0;
  for (const [start, end] of union(ranges)) {
    if (start > from) rest.push([from, start - 1]);
    from = end + 1;
  }
  if (from <= CODE_POINT_MAX) rest.push([from, CODE_POINT_MAX]);
  return rest;
}

export function intersection(a: readonly Range[], b: readonly Range[]): Range[] {
  return complement([...complement(a), ...complement(b)]);
}

function codeOf(character: string): number {
  return character.codePointAt(0) ?? 0;
}
