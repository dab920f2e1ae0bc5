/** Reads what engines send: lenient, since engines may leave out what we do not need. */
import { GatewayError } from '../model/error.ts';

/** A value of which nothing is known yet; every field may be anything. */
export type Loose = Readonly<Record<string, unknown>>;

/** One event of a stream. Throws where it is no JSON object: nothing after it can be trusted. */
export function eventObject(data: string): Loose {
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Loose;
  } catch {
    // Falls through: no JSON, or none that is an object.
  }
  throw new GatewayError('engine_failed', 'The engine sent an event that is no JSON object.');
}

/** Empty where it is none. */
export function looseObject(value: unknown): Loose {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as Loose) : {};
}

/** Empty where it is none. */
export function looseList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Empty where it is none. */
export function looseText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Undefined where it is no finite number of at least 0. */
export function looseCount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
}

/** Token ids; undefined where some are none. */
export function looseIds(value: unknown): readonly number[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.every((id) => typeof id === 'number' && id >>> 0 === id) ? value : undefined;
}
