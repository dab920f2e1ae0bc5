/**
 * Reads fields of a client's JSON by hand: each mistake is one sentence that names the field. Absent
 * and null mean the same, as they do to the APIs we speak.
 */
import { GatewayError } from '../model/error.ts';

export type Json = Record<string, unknown>;

export function wrong(where: string, claim: string): GatewayError {
  return new GatewayError('invalid_request', `${where} ${claim}.`, { param: where });
}

export function object(value: unknown, where: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrong(where, 'must be an object');
  }
  return value as Json;
}

export function optionalObject(value: unknown, where: string): Json | undefined {
  return value === undefined || value === null ? undefined : object(value, where);
}

export function list(value: unknown, where: string): unknown[] {
  if (!Array.isArray(value)) throw wrong(where, 'must be a list');
  return value;
}

export function optionalList(value: unknown, where: string): unknown[] {
  return value === undefined || value === null ? [] : list(value, where);
}

export function string(value: unknown, where: string): string {
  if (typeof value !== 'string') throw wrong(where, 'must be a string');
  return value;
}

export function optionalString(value: unknown, where: string): string | undefined {
  return value === undefined || value === null ? undefined : string(value, where);
}

export function optionalBoolean(value: unknown, where: string): boolean | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw wrong(where, 'must be true or false');
  return value;
}

export function optionalNumber(
  value: unknown,
  where: string,
  range: { min: number; max: number },
): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(where, 'must be a number');
  if (value < range.min || value > range.max) {
    throw wrong(where, `must be between ${range.min} and ${range.max}, but is ${value}`);
  }
  return value;
}

/** A count of at least `min`; what is too large for any engine is as good as no bound. */
export function optionalCount(value: unknown, where: string, min: number): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value))
    throw wrong(where, 'must be an integer');
  if (value < min) throw wrong(where, `must be at least ${min}, but is ${value}`);
  return Math.min(value, 2 ** 31 - 1);
}

/** Token ids, as OpenAI's completions take them for a prompt. */
export function tokenIds(value: unknown, where: string): Uint32Array {
  const input = list(value, where);
  const ids = new Uint32Array(input.length);
  for (let i = 0; i < input.length; i++) {
    const id = input[i];
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > 0xffff_ffff) {
      throw wrong(`${where}[${i}]`, 'must be a token id');
    }
    ids[i] = id;
  }
  return ids;
}

/** `stop`: absent, one string, or up to 16 of them; empty strings are refused. */
export function stopStrings(value: unknown, where: string): string[] {
  if (value === undefined || value === null) return [];
  const stops = typeof value === 'string' ? [value] : list(value, where);
  if (stops.length > 16) throw wrong(where, 'may hold at most 16 strings');
  return stops.map((stop, i) => {
    const text = string(stop, `${where}[${i}]`);
    if (text === '') throw wrong(`${where}[${i}]`, 'must not be empty');
    return text;
  });
}
