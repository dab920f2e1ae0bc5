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
import type { Identity } from '../model/session.ts';
import type { Clock, Engine, Job, Sink } from '../ports.ts';
import { anthropicMessages } from '../wire/anthropic-messages.ts';
import type { Headers } from '../wire/headers.ts';
import { headedHints } from '../wire/hints.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { openaiCompletions } from '../wire/openai-completions.ts';
import { Parsing } from '../wire/parsed.ts';
import type { Ask, Wire } from '../wire/wire.ts';
import type { Access, Caller } from './access.ts';
import type { Account } from './account.ts';
import { Accounts } from './accounts.ts';
import { PrefillAhead, type PrefillAheadParts } from './ahead/prefill-ahead.ts';
import { Embeddings } from './embeddings.ts';
import { extrasOf, headersOf, openingOf } from './envelope.ts';
import { answerOf, type Engines, type Take } from './failover.ts';
import { FallbackTurns } from './fallback-turns.ts';
import type { HandoverParts } from './handover.ts';
import type { Host } from './host.ts';
import type { Identities } from './identities.ts';
import type { Models, ServedModel } from './models.ts';
import { CallTexts } from './normalize/call-texts.ts';
import type { Applied, Normalizer } from './normalize/normalizer.ts';
import { type Manners, type Patience, statusFor } from './patience.ts';
import { jobOf, type Prompt, promptOf, refuseTooMany } from './prompt.ts';
import { Ranking } from './ranking.ts';
import type { Receipts } from './receipts.ts';
import { relay } from './relay.ts';
import type { Runaway } from './runaway.ts';
import type { Sessions } from './sessions/sessions.ts';

export interface ServeParts {
  access: Access;
  models: Models;
  normalizer: Normalizer;
  host: Host;
  engines: Engines;
  clock: Clock;
  rng: Prng;
  receipts: Receipts;
  identities: Identities;
  sessions: Sessions;
  patience: Patience;
  runaway: Runaway;
  sink: Sink;
  speculation: PrefillAheadParts['speculation'];
  /** A model that has fallbacks is waited for so long. */
  fallbackUs: number;
  /** For requests in two stages; undefined where the kernel makes none. */
  handovers?: HandoverParts;
}

/** A request as far as it was understood before anything was decided. */
interface Asked {
  wire: Wire;
  ask: Ask;
  /** As it is rendered. */
  rendered: Ask;
  who: Identity;
  model: ServedModel;
  prompt: Prompt;
  normalised: Applied;
  manners: Manners;
}

/** A call as it came. */
interface Read {
  caller: Caller;
  wire: Wire;
  body: unknown;
  ask: Ask;
  manners: Manners;
  identified: Known['identified'] | undefined;
}

/** Of a call that somebody read before, because something is kept of it. */
export interface Known {
  /** In place of the call's own. */
  body: unknown;
  /** Hears whose it is. */
  identified: (who: Identity) => void;
}

/** APIs that generate and keep nothing, by their paths. */
const WIRES: Record<string, Wire> = {
  '/v1/chat/completions': openaiChat,
  '/v1/completions': openaiCompletions,
  '/v1/messages': anthropicMessages,
};

/** Of all tenants together. */
const CALL_TEXTS_CHARACTERS_MAX = 16 * 1024 * 1024;

export class Serve {
  readonly #callTexts = new CallTexts(CALL_TEXTS_CHARACTERS_MAX);
  readonly #parts: ServeParts;
  readonly #accounts: Accounts;
  readonly #embeddings: Embeddings;
  readonly #ranking: Ranking;
  readonly #ahead: PrefillAhead;
  readonly #running = new Set<AbortController>();

  constructor(parts: ServeParts) {
    this.#parts = parts;
    this.#accounts = new Accounts(parts);
    this.#embeddings = new Embeddings(parts, this.#accounts);
    this.#ranking = new Ranking(parts, this.#accounts);
    this.#ahead = new PrefillAhead(parts);
  }

  routes(): Map<string, Route> {
    const entries = Object.entries(WIRES).map(([path, wire]): [string, Route] => [
      `POST ${path}`,
      (call) => this.handle(call, wire),
    ]);
    return new Map([
      ...entries,
      ['POST /v1/embeddings', (call: Call) => this.#embeddings.handle(call)],
      ...this.#ranking.routes(),
    ]);
  }

  /** Answers the call, whatever comes: errors go out in the wire's own shape. */
  async handle(call: Call, wire: Wire, known?: Known): Promise<void> {
    // Ends with the call, however it ends: whatever still runs for it is stopped.
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    call.signal.addEventListener('abort', leave, { once: true });
    this.#running.add(leaving);
    const arrivedUs = this.#parts.clock.nowUs();
    try {
      const read = await this.#read(call, wire, known);
      await this.#walk(call, { ...read, arrivedUs }, leaving.signal);
    } catch (thrown) {
      this.#refuse(call, wire, thrown);
    } finally {
      call.signal.removeEventListener('abort', leave);
      this.#running.delete(leaving);
      leaving.abort();
    }
  }

  /** Ends every answer that still runs, with one error that says why. */
  breakOff(): void {
    const reason = new GatewayError('shutting_down', 'Stator is stopping; try again soon.');
    for (const leaving of this.#running) leaving.abort(reason);
  }

  async #read(call: Call, wire: Wire, known?: Known): Promise<Read> {
    const { access, patience } = this.#parts;
    const caller = access.caller(call);
    const body = known === undefined ? await jsonBody(call) : known.body;
    const ask = headed(wire.parse(body), call.headers);
    const manners = patience.of(call.headers, ask.stream);
    return { caller, wire, body, ask, manners, identified: known?.identified };
  }

  /** By the model that is asked for, or by one of its fallbacks while nothing was said. */
  async #walk(call: Call, read: Read & { arrivedUs: number }, signal: AbortSignal): Promise<void> {
    const { requestId: request } = call;
    const { arrivedUs } = read;
    const turns = new FallbackTurns(this.#parts.models, this.#parts.fallbackUs, read);
    for (;;) {
      let account: Account | undefined;
      try {
        const asked = await this.#understand(call, read, turns);
        account = this.#accounts.open({ ...asked, request, wire: read.wire.name, arrivedUs });
        return await this.#answer(call, { ...asked, arrivedUs }, account, signal);
      } catch (thrown) {
        if (call.reply.headSent || signal.aborted || !turns.next(thrown)) throw thrown;
      } finally {
        if (account !== undefined) this.#accounts.close(account);
      }
    }
  }

  async #understand(call: Call, read: Read, turns: FallbackTurns): Promise<Asked> {
    const { models, normalizer, identities } = this.#parts;
    const { caller, wire, body } = read;
    refuseTooMany(read.ask, models.find(turns.name));
    const who = identities.of(caller, call.headers, read.ask);
    if (turns.isFirst) read.identified?.(who);
    try {
      const { ask, manners } = turns.asked(who.session ?? call.requestId);
      const model = models.find(ask.model);
      const { ask: plain, applied } = normalizer.normalise({ body, ask, model, who });
      const rendered = this.#restored(plain, scopeOf(model, who));
      const prompt = await promptOf(rendered, model, who);
      return { wire, ask, rendered, who, model, prompt, normalised: applied, manners };
    } catch (thrown) {
      identities.ended(who, { served: false, answer: undefined });
      throw thrown;
    }
  }

  async #answer(
    call: Call,
    asked: Asked & { arrivedUs: number },
    account: Account,
    signal: AbortSignal,
  ): Promise<void> {
    const { host, engines, clock, sessions } = this.#parts;
    const { wire, ask, prompt, manners, arrivedUs } = asked;
    const job = jobOf(account.arrival.id, asked);
    const { handovers } = this.#parts;
    const given = { host, engines, clock, account, job, signal, handovers };
    const generate = (engine: Engine, rest: Job, stop: AbortSignal) => engine.generate(rest, stop);
    const scope = scopeOf(asked.model, asked.who);
    const heard = (id: string, argumentsJson: string) =>
      this.#callTexts.keep(scope, { id, argumentsJson });
    const parsing = new Parsing({ parser: prompt.parser, heard, oneCall: ask.shape.oneCall });
    const turn = this.#ahead.hearing({ ...asked, ask: asked.rendered, wire: wire.name }, parsing);
    const answer = (take: Take) => {
      this.#parts.runaway.check({ who: asked.who, prompt: ask.prompt, headers: call.headers });
      return answerOf({ ...given, ask: generate }, take);
    };
    await relay(answer, turn, {
      host,
      clock,
      account,
      wire,
      ask,
      opening: openingOf(ask, wire.name, account.receipt, () => clock.wallMs()),
      reply: call.reply,
      signal,
      ...{ manners, arrivedUs },
      headers: () => headersOf(account.receipt),
      extras: () => extrasOf(ask, account, () => sessions.stateAfter(account)),
    }).finally(() => turn.over(account));
  }

  /** With calls in the history as the model wrote them. */
  #restored(ask: Ask, scope: string): Ask {
    const { prompt } = ask;
    if (prompt.kind !== 'chat') return ask;
    return { ...ask, prompt: { kind: 'chat', chat: this.#callTexts.restored(prompt.chat, scope) } };
  }

  #refuse(call: Call, wire: Wire, thrown: unknown): void {
    const error = asGatewayError(thrown);
    if (error.code === 'internal') {
      this.#parts.sink.note({ kind: 'warning', sentence: `internal error: ${whereFrom(thrown)}` });
    }
    if (call.reply.headSent) return call.reply.end();
    const status = statusFor(error, call.headers, wire.name);
    replyJson(call.reply, status, wire.error(error), errorHeaders(call.requestId, error));
  }
}

/** With what its headers say of it. */
function headed(ask: Ask, headers: Headers): Ask {
  return { ...ask, hints: headedHints(ask.hints, headers) };
}

function scopeOf(model: ServedModel, who: Identity): string {
  return JSON.stringify([who.tenant, model.name]);
}

/** Where an error of ours arose. Only our own claims are quoted: other words could hold a prompt. */
export function whereFrom(thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'something was thrown that is no error';
  if (thrown instanceof AssertionError) return thrown.stack ?? thrown.message;
  const frames = (thrown.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return [thrown.name, ...frames].join('\n');
}
