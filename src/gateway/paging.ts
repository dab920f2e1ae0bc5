/** Lists of items, a page at a time, as OpenAI's clients ask for them. */
import type { Call } from '../http/call.ts';
import { wrong } from '../wire/fields.ts';

const LIMIT = 20;
const LIMIT_MAX = 100;

interface Item {
  id?: unknown;
}

/**
 * `items` oldest first; `?limit` (at most `limitMax`), `?order` (newest first unless `asc`), `?after`,
 * `?before` an item.
 */
export function pageOf(
  items: readonly Item[],
  query: Call['query'],
  limitMax: number = LIMIT_MAX,
): unknown {
  const ordered = query.get('order') === 'asc' ? [...items] : [...items].reverse();
  const from = placeOf(ordered, query.get('after'), 'after');
  const to = placeOf(ordered, query.get('before'), 'before');
  const asked = ordered.slice(from === undefined ? 0 : from + 1, to);
  const data = asked.slice(0, limitOf(query, limitMax));
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: data.length < asked.length,
  };
}

function limitOf(query: Call['query'], limitMax: number): number {
  const asked = query.get('limit');
  if (asked === null) return LIMIT;
  const limit = /^\d{1,6}$/.test(asked) ? Number(asked) : 0;
  if (limit >= 1 && limit <= limitMax) return limit;
  throw wrong('limit', `must be a whole number from 1 to ${limitMax}`);
}

function placeOf(items: readonly Item[], id: string | null, field: string): number | undefined {
  if (id === null) return undefined;
  const place = items.findIndex((item) => item.id === id);
  if (place < 0) throw wrong(field, 'names no item of this list');
  return place;
}
