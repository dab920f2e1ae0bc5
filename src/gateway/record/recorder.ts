/**
 * Requests as rows of a recording (traces/formats/recording.ts): hashes, counts and times, no text unless it was
 * asked for. Names and blocks go through a key that is drawn at the start and never leaves the process, so that
 * what is in the file can be compared with nothing but itself.
 */
import { createCipheriv, randomBytes } from 'node:crypto';
import type { Receipt } from '../../model/receipt.ts';
import type { Asked, Clock } from '../../ports.ts';
import { chatFields } from '../../wire/openai-upstream.ts';
import {
  type RecordedThread,
  RecordedThreads,
  type RecordedWait,
  type ThreadLimits,
  type TurnMark,
} from './recorded-threads.ts';

/** Of a recording; prompts whose tokens we do not know are cut by characters. */
export const RECORDED_BLOCK_TOKENS = 16;
const CHARACTERS_PER_TOKEN = 4;

/** Base64 of nine bytes: two blocks of a million share an id once in ten billion recordings. */
const BLOCK_BYTES = 9;

interface OpenTurn {
  asked: Asked;
  thread: RecordedThread | undefined;
  mark: TurnMark;
  waits: RecordedWait[];
}

export class Recorder {
  readonly #clock: Clock;
  readonly #write: (row: string) => boolean;
  readonly #text: boolean;
  readonly #threads: RecordedThreads;
  readonly #key = randomBytes(32);
  readonly #prefix = randomBytes(3).toString('base64url');
  readonly #open = new Map<string, OpenTurn>();
  /** The recording's first moment on our clock; negative where another process began it. */
  readonly #zeroUs: number;
  #turns = 0;

  /**
   * `write` takes a row or, where there is no room for it, refuses it. `beganMs`: since 1970, of a recording that
   * goes on; undefined begins one, with a header.
   */
  constructor(given: {
    clock: Clock;
    text: boolean;
    limits: ThreadLimits;
    beganMs: number | undefined;
    write: (row: string) => boolean;
  }) {
    const { clock, text, limits, beganMs, write } = given;
    this.#clock = clock;
    this.#text = text;
    this.#write = write;
    this.#threads = new RecordedThreads(randomBytes(32), limits);
    const wallMs = clock.wallMs();
    this.#zeroUs = clock.nowUs() - 1000 * Math.max(0, wallMs - (beganMs ?? wallMs));
    if (beganMs === undefined) write(headerOf(wallMs));
  }

  arrived(asked: Asked): void {
    const mark: TurnMark = {
      id: `${this.#prefix}${(this.#turns++).toString(36)}`,
      startUs: asked.arrivedUs,
      endUs: undefined,
      isLeftOut: false,
    };
    const thread = this.#threads.of(asked.who);
    const waits = thread === undefined ? [] : this.#threads.begin(asked.who, thread, mark);
    this.#open.set(asked.id, { asked, thread, mark, waits });
  }

  ended({ id, actual }: Receipt): void {
    const turn = this.#open.get(id);
    if (turn === undefined) return;
    this.#open.delete(id);
    const { mark, thread } = turn;
    mark.endUs = this.#clock.nowUs();
    const wasServed = actual.status === 'done' || actual.outputTokens > 0;
    const isWritten = wasServed && this.#row(turn, actual.outputTokens);
    if (!isWritten) this.#threads.leftOut(thread, mark);
  }

  #row({ asked, thread, mark, waits }: OpenTurn, outputTokens: number): boolean {
    const { who } = asked;
    const { hashes, promptTokens, isEstimated } = blocksOf(asked);
    const keep = thread === undefined ? 0 : sharedLength(hashes, thread.row.path);
    const text = this.#text ? textOf(asked, thread) : undefined;
    const counted = waits.filter(({ on }) => !on.isLeftOut);
    const taken = this.#write(
      JSON.stringify({
        id: mark.id,
        session: thread?.session ?? this.#threads.named('session', [asked.id]),
        thread: thread?.name ?? 'main',
        tenant: this.#threads.named('tenant', [who.tenant]),
        model: asked.model,
        startMs: Math.max(0, Math.round((mark.startUs - this.#zeroUs) / 1000)),
        serviceMs: Math.round(((mark.endUs ?? mark.startUs) - mark.startUs) / 1000),
        promptTokens,
        outputTokens,
        ...(isEstimated && { estimated: true }),
        keep,
        blocks: this.#ids(hashes.subarray(keep)),
        ...(counted.length > 0 && { waits: counted.map(rowOf) }),
        ...(text !== undefined && { prompt: text.row }),
      }),
    );
    if (!taken || thread === undefined) return taken;
    const { messages, tools } = text ?? { messages: [], tools: '' };
    this.#threads.wrote(thread, { path: hashes, messages, tools });
    return true;
  }

  /** One pass of the cipher over all of them: the same block is the same id, and only here. */
  #ids(hashes: BigUint64Array): string[] {
    const cipher = createCipheriv('aes-256-ecb', this.#key, null).setAutoPadding(false);
    const plain = new BigUint64Array(2 * hashes.length);
    hashes.forEach((hash, i) => {
      plain[2 * i] = hash;
    });
    const sealed = cipher.update(new Uint8Array(plain.buffer));
    return Array.from(hashes, (_, i) => sealed.toString('base64url', 16 * i, 16 * i + BLOCK_BYTES));
  }
}

function headerOf(wallMs: number): string {
  const began = new Date(wallMs).toISOString();
  const blockTokens = RECORDED_BLOCK_TOKENS;
  return JSON.stringify({
    schema: 'stator.recording',
    version: 1,
    blockTokens,
    clock: 'trace',
    began,
  });
}

function rowOf({ on, delayMs, relation, trigger }: RecordedWait) {
  return { on: on.id, delayMs, relation, trigger };
}

function blocksOf({ prompt, hashes, blockTokens, promptTokens }: Asked) {
  if (blockTokens % RECORDED_BLOCK_TOKENS === 0) {
    const whole = splitBlocks(hashes, blockTokens / RECORDED_BLOCK_TOKENS);
    return { hashes: whole, promptTokens, isEstimated: false };
  }
  if (prompt.kind === 'tokens') {
    const pieces = piecesOf(prompt.ids.length, RECORDED_BLOCK_TOKENS, (i) => prompt.ids[i]);
    return { hashes: pieces, promptTokens, isEstimated: false };
  }
  const text = prompt.kind === 'text' ? prompt.text : inOrder(prompt.chat);
  const length = RECORDED_BLOCK_TOKENS * CHARACTERS_PER_TOKEN;
  return {
    hashes: piecesOf(text.length, length, (i) => text.charCodeAt(i)),
    promptTokens: Math.ceil(text.length / CHARACTERS_PER_TOKEN),
    isEstimated: true,
  };
}

/** Engines with larger blocks: prompts share whole ones of theirs, so `count` of ours for each say as much. */
function splitBlocks(hashes: BigUint64Array, count: number): BigUint64Array {
  if (count === 1) return hashes;
  const split = new BigUint64Array(count * hashes.length);
  const words = new Uint32Array(split.buffer);
  hashes.forEach((hash, i) => {
    split.fill(hash, count * i, count * (i + 1));
    for (let k = 1; k < count; k++) words[2 * (count * i + k)] ^= Math.imul(k, 0x9e3779b1);
  });
  return split;
}

/** Tools first, then message after message: what is said later comes later. */
function inOrder({ tools, messages }: { tools: unknown[]; messages: unknown[] }): string {
  return [JSON.stringify(tools), ...messages.map((one) => JSON.stringify(one))].join('\n');
}

/**
 * Chained names of full pieces of `length`, by two lanes of a multiplicative hash (Fowler, Noll and Vo's, with
 * another prime for the second); they are encrypted before anybody sees them.
 */
function piecesOf(count: number, length: number, at: (i: number) => number): BigUint64Array {
  const found = new BigUint64Array(Math.floor(count / length));
  const words = new Uint32Array(found.buffer);
  let [low, high] = [0x811c9dc5, 0x9e3779b1];
  for (let i = 0; i < found.length * length; i++) {
    const value = at(i);
    low = Math.imul(low ^ value, 0x01000193);
    high = Math.imul(high ^ (value + (low >>> 15)), 0x85ebca6b);
    high ^= high >>> 13;
    if ((i + 1) % length > 0) continue;
    const piece = (i + 1) / length - 1;
    words[2 * piece] = low;
    words[2 * piece + 1] = high;
  }
  return found;
}

function sharedLength(a: BigUint64Array, b: BigUint64Array): number {
  const least = Math.min(a.length, b.length);
  for (let i = 0; i < least; i++) if (a[i] !== b[i]) return i;
  return least;
}

/** What a client sent, as OpenAI's fields; of a conversation what the thread's row before does not say. */
function textOf({ prompt }: Asked, thread: RecordedThread | undefined) {
  if (prompt.kind === 'tokens') return undefined;
  if (prompt.kind === 'text') return { row: { text: prompt.text }, messages: [], tools: '' };
  const fields = chatFields(prompt.chat) as { messages: unknown[]; tools?: unknown[] };
  const messages = fields.messages.map((message) => JSON.stringify(message));
  const tools = JSON.stringify(fields.tools ?? []);
  const before = thread?.row.messages ?? [];
  let keep = 0;
  while (keep < Math.min(messages.length, before.length) && messages[keep] === before[keep]) keep++;
  const sameTools = thread !== undefined && thread.row.tools === tools;
  const row = { keep, messages: fields.messages.slice(keep) };
  return { row: sameTools ? row : { ...row, tools: fields.tools ?? [] }, messages, tools };
}
