/**
 * The walk of one request, top to bottom.
 *
 *   parse (wire) ─► who is it ─► which model ─► normalise ─► tokens
 *     ─► admit and answer (failover) ─► relay
 */
import { AssertionError } from '../base/assert.ts';
import type { Prng } from '../base/prng.ts';
import { type Call, replyJson } from '../http/call.ts';
import { jsonBody } from '../http/json-body.ts';
import { errorHeaders, type Route } from '../http/router.ts';
import { asGatewayError, GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import type { Identity } from '../model/session.ts';
import type { Clock, Sink } from '../ports.ts';
import { anthropicMessages } from '../wire/anthropic-messages.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { openaiCompletions } from '../wire/openai-completions.ts';
import { parsed } from '../wire/parsed.ts';
import type { Ask, Wire } from '../wire/wire.ts';
import type { Access } from './access.ts';
import type { Account } from './account.ts';
import { Accounts } from './accounts.ts';
import { Embeddings } from './embeddings.ts';
import { extrasOf, headersOf, openingOf } from './envelope.ts';
import { answerOf, type Engines } from './failover.ts';
import type { Host } from './host.ts';
import { identify } from './identify.ts';
import type { Models, ServedModel } from './models.ts';
import type { Applied, Normalizer } from './normalize/normalizer.ts';
import { jobOf, type Prompt, promptOf } from './prompt.ts';
import type { Receipts } from './receipts.ts';
import { relay } from './relay.ts';

export interface ServeParts {
  access: Access;
  models: Models;
  normalizer: Normalizer;
  host: Host;
  engines: Engines;
  clock: Clock;
  rng: Prng;
  receipts: Receipts;
  sink: Sink;
}

/** A request as far as it was understood before anything was decided. */
interface Asked {
  wire: Wire;
  ask: Ask;
  who: Identity;
  model: ServedModel;
  prompt: Prompt;
  normalised: Applied;
}

/** Every API that generates, by its path. */
const WIRES: Record<string, Wire> = {
  '/v1/chat/completions': openaiChat,
  '/v1/completions': openaiCompletions,
  '/v1/messages': anthropicMessages,
};

export class Serve {
  readonly #parts: ServeParts;
  readonly #accounts: Accounts;
  readonly #embeddings: Embeddings;
  readonly #running = new Set<AbortController>();

  constructor(parts: ServeParts) {
    this.#parts = parts;
    this.#accounts = new Accounts(parts);
    this.#embeddings = new Embeddings(parts, this.#accounts);
  }

  routes(): Map<string, Route> {
    const entries = Object.entries(WIRES).map(([path, wire]): [string, Route] => [
      `POST ${path}`,
      (call) => this.handle(call, wire),
    ]);
    return new Map([
      ...entries,
      ['POST /v1/embeddings', (call: Call) => this.#embeddings.handle(call)],
    ]);
  }

  /** Answers the call, whatever comes: errors go out in the wire's own shape. */
  async handle(call: Call, wire: Wire): Promise<void> {
    // Ends with the call, however it ends: whatever still runs for it is stopped.
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    call.signal.addEventListener('abort', leave, { once: true });
    this.#running.add(leaving);
    const arrivedUs = this.#parts.clock.nowUs();
    let account: Account | undefined;
    try {
      const asked = await this.#understand(call, wire);
      const { requestId: request } = call;
      account = this.#accounts.open({ ...asked, request, wire: wire.name, arrivedUs });
      await this.#answer(call, asked, account, leaving.signal);
    } catch (thrown) {
      this.#refuse(call, wire, thrown);
    } finally {
      call.signal.removeEventListener('abort', leave);
      this.#running.delete(leaving);
      leaving.abort();
      if (account !== undefined) this.#accounts.close(account);
    }
  }

  /** Ends every answer that still runs, with one error that says why. */
  breakOff(): void {
    const reason = new GatewayError('shutting_down', 'Stator is stopping; try again soon.');
    for (const leaving of this.#running) leaving.abort(reason);
  }

  async #understand(call: Call, wire: Wire): Promise<Asked> {
    const { access, models, normalizer } = this.#parts;
    const { tenant } = access.caller(call);
    const body = await jsonBody(call);
    const ask = wire.parse(body);
    const who = identify(tenant, call.headers, ask.names);
    const model = models.find(ask.model);
    const { ask: plain, applied } = normalizer.normalise({ body, ask, model, who });
    const prompt = await promptOf(plain, model, who);
    return { wire, ask, who, model, prompt, normalised: applied };
  }

  async #answer(call: Call, asked: Asked, account: Account, signal: AbortSignal): Promise<void> {
    const { host, engines, clock } = this.#parts;
    const { wire, ask, prompt } = asked;
    const job = jobOf(account.arrival.id, asked);
    const answer: AsyncIterable<Part> = answerOf({
      ...{ host, engines, account, job, signal },
      ask: (engine) => engine.generate(job, signal),
    });
    await relay(prompt.parser === undefined ? answer : parsed(answer, prompt.parser), {
      host,
      clock,
      account,
      wire,
      ask,
      opening: openingOf(ask, wire.name, account.receipt, clock.wallMs()),
      reply: call.reply,
      signal,
      headers: () => headersOf(account.receipt),
      extras: () => extrasOf(ask, account.receipt, account.itlUs()),
    });
  }

  #refuse(call: Call, wire: Wire, thrown: unknown): void {
    const error = asGatewayError(thrown);
    if (error.code === 'internal') {
      this.#parts.sink.note({ kind: 'warning', sentence: `internal error: ${whereFrom(thrown)}` });
    }
    if (call.reply.headSent) return call.reply.end();
    replyJson(call.reply, error.status, wire.error(error), errorHeaders(call.requestId, error));
  }
}

/** Where an error of ours arose. Only our own claims are quoted: other words could hold a prompt. */
export function whereFrom(thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'something was thrown that is no error';
  if (thrown instanceof AssertionError) return thrown.stack ?? thrown.message;
  const frames = (thrown.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return [thrown.name, ...frames].join('\n');
}
