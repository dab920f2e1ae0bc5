/**
 * Hands KV over as engines of other makers do it among themselves: the prompt is one more request, and
 * what it is answered, or what both requests say, is the ticket.
 */
import { GatewayError } from '../model/error.ts';
import { FREE, GREEDY } from '../model/request.ts';
import type { Ticket } from '../model/ticket.ts';
import type { Handoff, Job, Prefilled } from '../ports.ts';
import { prefillFields, readTicket, ticketFields } from '../wire/handoff.ts';
import type { EngineHttp } from './http.ts';

export interface RequestHandoffGiven {
  /** Where both SGLang engines meet: the host and bootstrap port of the one that computes the prompt. */
  way: { kind: 'vllm' | 'trtllm' } | { kind: 'sglang'; host: string; port: number | undefined };
  http: EngineHttp;
  /** A job as this engine is asked; JSON already where it is bytes. */
  request: (job: Job) => { path: string; body: object };
}

/** Rooms are 63 bits wide, of which JSON's numbers hold so many. */
const ROOMS = Number.MAX_SAFE_INTEGER;

export class RequestHandoff implements Handoff {
  readonly #given: RequestHandoffGiven;

  constructor(given: RequestHandoffGiven) {
    this.#given = given;
  }

  async prefill(job: Job, signal: AbortSignal): Promise<Prefilled> {
    const { way } = this.#given;
    if (way.kind === 'sglang') {
      const room = Math.floor(Math.random() * ROOMS);
      const ticket: Ticket = { kind: 'sglang', host: way.host, port: way.port, room };
      // It ends when the other engine has its KV: nobody may wait for it before that is asked.
      const done = this.#ask(job, ticketFields(ticket), signal).then(() => undefined);
      const usage = { promptTokens: 0, outputTokens: 0, cachedTokens: undefined };
      return { ticket, usage, done };
    }
    const answer = await this.#ask(job, prefillFields(way.kind), signal);
    const ticket = readTicket(way.kind, answer);
    if (ticket === undefined) {
      const sentence = `The engine computed a prompt and hands nothing over: ${MENDS[way.kind]}.`;
      throw new GatewayError('engine_failed', sentence);
    }
    return { ticket, usage: usageOf(answer), done: Promise.resolve() };
  }

  /** As a whole: parameters do not come with every stream. */
  async #ask(job: Job, fields: object, signal: AbortSignal): Promise<unknown> {
    const alone = { ...job, stop: [], shape: FREE, sampling: GREEDY, outputTokensMax: 1 };
    const bare = { ...alone, extras: undefined, ticket: undefined, said: undefined };
    const { path, body } = this.#given.request(bare);
    const plain = body instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(body)) : body;
    const asked = { ...plain, ...fields, stream: false, stream_options: undefined };
    return await this.#given.http.json('POST', path, asked, signal);
  }
}

const MENDS = {
  vllm: 'vLLM does with --kv-transfer-config',
  trtllm: 'trtllm-serve does with a cache_transceiver_config',
} as const;

function usageOf(answer: unknown): Prefilled['usage'] {
  const { usage } = (answer ?? {}) as {
    usage?: {
      prompt_tokens?: number;
      prompt_tokens_details?: { cached_tokens?: number | null } | null;
    };
  };
  return {
    promptTokens: usage?.prompt_tokens ?? 0,
    outputTokens: 0,
    cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? undefined,
  };
}
