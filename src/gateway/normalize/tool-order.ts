/**
 * Some clients list the same tools in another order in the next request (maps without an order, servers
 * that answer in turn). Tools stand near the start of a prompt, so one that moved costs all of it. An
 * order is only changed where it is seen to change within a thread: then the earlier one is kept.
 */
import type { Tool } from '../../model/request.ts';

export interface Reordered {
  tools: Tool[];
  /** The first place where both orders differ. */
  first: number;
}

/** Longer lists are taken as they come, and not remembered. */
const NAMES_MAX = 256;
const NAME_CHARACTERS_MAX = 128;

/**
 * Known tools in their known order, new ones behind them; undefined where those that are known come in
 * that order already, and where names repeat.
 */
export function reordered(tools: readonly Tool[], known: readonly string[]): Reordered | undefined {
  const places = new Map(known.map((name, place) => [name, place]));
  const names = new Set(tools.map(({ name }) => name));
  if (names.size < tools.length) return undefined;
  const old = tools.filter(({ name }) => places.has(name));
  const place = (tool: Tool) => places.get(tool.name) ?? 0;
  if (old.every((tool, i) => i === 0 || place(old[i - 1]) < place(tool))) return undefined;
  const added = tools.filter(({ name }) => !places.has(name));
  const result = [...old.sort((a, b) => place(a) - place(b)), ...added];
  return {
    tools: result,
    first: result.findIndex((tool, i) => tool !== tools[i]),
  };
}

/**
 * The order to keep after a request with `tools`, as they were rendered. A request with a part of the
 * tools (a title, a compaction) does not make the others forgotten.
 */
export function orderKept(tools: readonly Tool[], known: readonly string[]): readonly string[] {
  if (tools.length > NAMES_MAX) return known;
  const names = tools.map(({ name }) => name);
  if (names.some((name) => name.length > NAME_CHARACTERS_MAX)) return known;
  const isPart = names.every((name) => known.includes(name));
  return isPart ? known : names;
}
