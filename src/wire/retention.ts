/**
 * How long a client wants the KV of its prompt kept, where it names a time. It is a wish within bounds,
 * not an order: memory is everybody's.
 *
 *   cache_control {ttl}          Anthropic: '5m', '1h', on blocks, tools and the whole; the longest counts.
 *                                Without a ttl it asks for what every prompt gets.
 *   prompt_cache_retention       OpenAI: '24h'; 'in_memory' is what every prompt gets
 *   nvext.session_control        Dynamo, before it had headers: {timeout} in seconds
 */
import { TTL_S_MAX } from '../model/kv-control.ts';
import type { Json } from './fields.ts';

export interface Retention {
  /** Microseconds; undefined: no wish. */
  us: number | undefined;
  /** Where wishes contradict each other. */
  notes: string[];
}

export function readRetention(body: Json, sessionControl: Json | undefined): Retention {
  const wishes = [
    { field: 'cache_control', s: longestTtl(body) },
    { field: 'prompt_cache_retention', s: secondsOf(body.prompt_cache_retention) },
    { field: 'nvext.session_control.timeout', s: secondsOf(sessionControl?.timeout) },
  ].filter((wish): wish is { field: string; s: number } => wish.s !== undefined);
  const [first, ...others] = wishes.sort((a, b) => b.s - a.s);
  return {
    us: first === undefined ? undefined : Math.min(first.s, TTL_S_MAX) * 1e6,
    notes: others
      .filter(({ s }) => s !== first.s)
      .map(
        ({ field, s }) =>
          `${field} asks to keep KV for ${s} s and ${first.field} for ${first.s} s: the longer counts.`,
      ),
  };
}

function longestTtl(body: Json): number | undefined {
  let longest: number | undefined;
  const see = (value: unknown) => {
    const marker = (value as { cache_control?: unknown } | null)?.cache_control;
    const s = secondsOf((marker as { ttl?: unknown } | null | undefined)?.ttl);
    if (s !== undefined && (longest === undefined || s > longest)) longest = s;
  };
  see(body);
  for (const list of [body.system, body.tools, body.messages, body.input]) {
    for (const item of listOf(list)) {
      see(item);
      for (const block of listOf((item as { content?: unknown } | null)?.content)) see(block);
    }
  }
  return longest;
}

/** Malformed lists are the wire's to refuse. */
function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** `90`, `'90s'`, `'5m'`, `'1h'`, `'2d'`; what is no time is no wish. */
function secondsOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value > 0 && value < 1e9 ? value : undefined;
  const [, count, unit] = (typeof value === 'string' && /^(\d{1,6})([smhd])$/.exec(value)) || [];
  return count === undefined || Number(count) === 0 ? undefined : Number(count) * UNITS[unit];
}
