/**
 * Computes what sessions will begin with before they do: a system prompt with its tools, a repository's
 * context. It walks like any other request, as a thread that is named by what it says: so asking again
 * finds it in cache, and only keeps it for longer.
 */
import { createHash } from 'node:crypto';
import type { Call } from '../../http/call.ts';
import { GatewayError } from '../../model/error.ts';
import type { TenantId } from '../../model/ids.ts';
import type { KvAnswer } from '../../model/kv-control.ts';
import type { Clock } from '../../ports.ts';
import { type Json, optionalList } from '../../wire/fields.ts';
import { type Answer, ownCall } from '../batches/own-call.ts';
import type { Keeping } from './keeping.ts';
import type { Sessions } from './sessions.ts';

export interface WarmingParts {
  clock: Clock;
  handler: (call: Call) => Promise<void>;
  keeping: Keeping;
  sessions: Sessions;
}

export interface Warmed {
  session: string;
  worker: string | null;
  /** Null where the engine does not report it. */
  cachedTokens: number | null;
  computedTokens: number | null;
  /** What its worker answered to the wish to keep it; null: it takes no such wishes. */
  answer: KvAnswer | null;
  keptUntil: string | null;
}

/** How a body of each API asks for one token, and where its conversation stands. */
interface Shape {
  path: string;
  conversation: 'messages' | 'input';
  fields: Json;
}

const CHAT: Shape = {
  path: '/v1/chat/completions',
  conversation: 'messages',
  fields: { max_tokens: 1 },
};
const MESSAGES: Shape = {
  path: '/v1/messages',
  conversation: 'messages',
  fields: { max_tokens: 1 },
};
const RESPONSES: Shape = {
  path: '/v1/responses',
  conversation: 'input',
  fields: { max_output_tokens: 1, store: false },
};

/** Of an answer that nobody reads, and what would outlive it. */
const LEFT_OUT = ['background', 'conversation', 'max_completion_tokens', 'n', 'stream_options'];

export class Warming {
  readonly #parts: WarmingParts;

  constructor(parts: WarmingParts) {
    this.#parts = parts;
  }

  /**
   * `body` is a request of Chat Completions, of Messages (with `system`) or of Responses (with `input` or
   * `instructions`). Throws what the API answered where it did not answer.
   */
  async warm(
    tenant: TenantId,
    body: Json,
    given: { ttlUs: number; requestId: string; signal: AbortSignal },
  ): Promise<Warmed | { refused: Answer }> {
    const { handler, sessions } = this.#parts;
    const shape = shapeOf(body);
    const asked = askedOf(body, shape);
    const session = `warm-${digestOf(asked)}`;
    const answer = await ownCall(handler, {
      ...{ path: shape.path, body: asked, tenant },
      requestId: given.requestId,
      headers: { 'x-stator-session-id': session, 'x-stator-purpose': 'prewarm' },
      signal: given.signal,
    });
    if (answer.status !== 200) return { refused: answer };
    const record = sessions.records(tenant, session)?.[0];
    if (record === undefined) {
      throw new GatewayError('queue_full', 'More sessions are remembered than there is room for.');
    }
    const { cachedTokens, computedTokens } = sessions.stateOf(record);
    const worker = record.worker ?? null;
    const kept = await this.#keep(record, given.ttlUs);
    return { session, worker, cachedTokens, computedTokens, ...kept };
  }

  async #keep(
    record: NonNullable<ReturnType<Sessions['record']>>,
    ttlUs: number,
  ): Promise<Pick<Warmed, 'answer' | 'keptUntil'>> {
    const { clock, keeping, sessions } = this.#parts;
    const untilMs = clock.wallMs() + ttlUs / 1000;
    const told = record.worker && (await keeping.retain(record, record.worker, ttlUs));
    const answer = told?.answer ?? null;
    if (answer !== 'accepted' && answer !== 'clipped') return { answer, keptUntil: null };
    record.retainedUntilMs = record.heldUntilMs = untilMs;
    sessions.changed(record);
    return { answer, keptUntil: new Date(untilMs).toISOString() };
  }
}

function shapeOf({ system, input, instructions }: Json): Shape {
  if (input !== undefined || instructions !== undefined) return RESPONSES;
  return system === undefined ? CHAT : MESSAGES;
}

/**
 * With something that a user says at its end, where nobody does: templates expect it, some write the
 * system prompt there, and what sessions share ends before it anyway.
 */
function askedOf(body: Json, { conversation, fields }: Shape): Json {
  const said = body[conversation];
  const turns = typeof said === 'string' ? [user(said)] : optionalList(said, conversation);
  const { system, instructions, tools } = body;
  if (turns.length === 0 && [system, instructions, tools].every((one) => one === undefined)) {
    const sentence = 'There is nothing to compute ahead: give messages, a system prompt or tools.';
    throw new GatewayError('invalid_request', sentence, { param: conversation });
  }
  const last = turns.at(-1) as { role?: unknown } | undefined;
  const ends = last?.role === 'user' || last?.role === 'tool';
  const kept = Object.entries(body).filter(([name]) => !LEFT_OUT.includes(name));
  return {
    ...Object.fromEntries(kept),
    ...fields,
    stream: false,
    [conversation]: ends ? turns : [...turns, user('.')],
  };
}

function user(content: string): Json {
  return { role: 'user', content };
}

/** Fields of a body stand in any order, and that changes nothing of the prompt. */
function digestOf(body: Json): string {
  const sorted = Object.entries(body).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex').slice(0, 24);
}
