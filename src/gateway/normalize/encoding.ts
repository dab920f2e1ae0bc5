/**
 * Same content, two encodings. Clients move `cache_control` from block to block, and write a text now
 * as a string, now as a list of one block. The wires read both alike and neither is ever rendered; here
 * is only counted what prompts made of the raw JSON would have lost.
 *
 *   turn n     user "…"   system [{text, cache_control}]
 *   turn n+1   user "…"   system "…"                        assistant …   user [{text, cache_control}]
 *                         └─ from here on, the raw JSON is another one
 */

/** How system and messages were written, one entry each: characters · 4 + marked · 2 + string. */
export type Encoding = Uint32Array;

export interface EncodingSaved {
  /** Characters of the last request behind the first marker that moved. */
  cacheControl: number;
  /** Behind the first text that changed between string and block. */
  textBlock: number;
}

const STRING = 1;
const MARKED = 2;
const CHARACTERS = 4;
const CHARACTERS_MAX = 2 ** 30 - 1;
/** Longer conversations are compared this far. */
const ENTRIES_MAX = 4096;

/** Of a body in any wire's shape; what has no messages has an empty one. */
export function encodingOf(body: unknown): Encoding {
  const { system, messages } = fieldsOf(body);
  if (!Array.isArray(messages)) return new Uint32Array(0);
  const contents = [system, ...messages.slice(0, ENTRIES_MAX).map((one) => fieldsOf(one).content)];
  return Uint32Array.from(contents, entryOf);
}

/** Compares as far as the texts are as long as they were: from there on, history is another one. */
export function encodingSaved(before: Encoding, now: Encoding): EncodingSaved {
  const saved = { cacheControl: 0, textBlock: 0 };
  let differs = 0;
  for (let i = 0; i < before.length && i < now.length; i++) {
    const characters = Math.floor(before[i] / CHARACTERS);
    if (characters !== Math.floor(now[i] / CHARACTERS)) break;
    // A marker stands behind its text, which is shared yet; brackets stand in front of theirs.
    if ((differs & MARKED) !== 0) saved.cacheControl += characters;
    differs |= before[i] ^ now[i];
    if ((differs & STRING) !== 0) saved.textBlock += characters;
  }
  return saved;
}

/** Of all messages, the system prompt in its own field not counted. */
export function messageCharacters(encoding: Encoding): number {
  return encoding.subarray(1).reduce((sum, entry) => sum + Math.floor(entry / CHARACTERS), 0);
}

function entryOf(content: unknown): number {
  const characters = Math.min(CHARACTERS_MAX, textCharacters(content));
  const isMarked =
    Array.isArray(content) && content.some((block) => fieldsOf(block).cache_control != null);
  const isString = typeof content === 'string';
  return characters * CHARACTERS + (isMarked ? MARKED : 0) + (isString ? STRING : 0);
}

/** Texts, reasoning and tool results; what a tool is called with is left out, for it costs a rewrite. */
function textCharacters(content: unknown): number {
  if (typeof content === 'string') return content.length;
  if (!Array.isArray(content)) return 0;
  let sum = 0;
  for (const block of content) {
    const { text, thinking, content: result } = fieldsOf(block);
    if (typeof text === 'string') sum += text.length;
    else if (typeof thinking === 'string') sum += thinking.length;
    else if (typeof result === 'string') sum += result.length;
    else if (Array.isArray(result)) {
      for (const part of result) {
        const inner = fieldsOf(part).text;
        if (typeof inner === 'string') sum += inner.length;
      }
    }
  }
  return sum;
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
