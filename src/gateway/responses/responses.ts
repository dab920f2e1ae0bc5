/**
 * The Responses API with what is kept of it: each request is read as a turn of its conversation, walks
 * like any other, and what came of it is kept where the client did not say otherwise.
 *
 *   POST /v1/responses                    GET, DELETE /v1/responses/{id}
 *   POST /v1/responses/{id}/cancel        GET /v1/responses/{id}/input_items
 *   POST /v1/responses/compact            a conversation made shorter, nothing kept
 */
import { type Call, replyJson } from '../../http/call.ts';
import { jsonBody } from '../../http/json-body.ts';
import type { Route } from '../../http/router.ts';
import { GatewayError } from '../../model/error.ts';
import type { TenantId } from '../../model/ids.ts';
import type { Identity } from '../../model/session.ts';
import type { Clock } from '../../ports.ts';
import { type Json, object, wrong } from '../../wire/fields.ts';
import { openaiCompaction } from '../../wire/responses-compact.ts';
import type { Item, ResponseObject } from '../../wire/responses-items.ts';
import { unansweredResponse } from '../../wire/responses-object.ts';
import type { Ask } from '../../wire/wire.ts';
import type { Access } from '../access.ts';
import { pageOf } from '../paging.ts';
import type { Serve } from '../serve.ts';
import { Background, type BackgroundLimits, type Job } from './background.ts';
import { itemsOf } from './chain.ts';
import type { ChainRecord, ResponseRecord } from './chain-record.ts';
import { keptWire } from './kept-wire.ts';
import { chainKeyOf } from './response-ids.ts';
import type { ResponseStore } from './response-store.ts';
import { type Chains, readTurn, type Turn } from './turn.ts';

export interface ResponsesParts {
  access: Access;
  serve: Serve;
  /** Undefined where nothing is stored. */
  store: ResponseStore | undefined;
  clock: Clock;
  limits: BackgroundLimits;
}

const BASE = '/v1/responses/';

export class Responses {
  readonly #parts: ResponsesParts;
  readonly #background: Background;

  constructor(parts: ResponsesParts) {
    this.#parts = parts;
    this.#background = new Background(parts.limits);
  }

  routes(): Map<string, Route> {
    return new Map<string, Route>([
      ['POST /v1/responses', (call) => this.#create(call)],
      ['POST /v1/responses/compact', (call) => this.#compact(call)],
      [`GET ${BASE}*`, (call) => this.#get(call)],
      [`DELETE ${BASE}*`, (call) => this.#delete(call)],
      [`POST ${BASE}*`, (call) => this.#cancel(call)],
    ]);
  }

  /** `latest`: where the turn may go on from besides the store. */
  async read(call: Call, sent: unknown, latest?: Chains): Promise<Turn> {
    const { access, store } = this.#parts;
    const { tenant } = access.caller(call);
    return readTurn(object(sent, 'the body'), { tenant, store, latest });
  }

  /** Answers a turn, whatever comes. `keep` hears of its response with all of the conversation. */
  async answer(call: Call, turn: Turn, keep?: (record: ResponseRecord) => void): Promise<void> {
    let thread: string | undefined;
    const wire = keptWire(turn, (response) => {
      keep?.(wholeRecord(turn, response, thread));
      this.#keep(turn, response, thread);
    });
    const identified = (who: Identity) => {
      thread = who.thread;
    };
    await this.#parts.serve.handle(call, wire, { body: turn.body, identified });
  }

  /** Resolves when what runs in the background has ended. */
  close(): Promise<void> {
    return this.#background.close();
  }

  async #create(call: Call): Promise<void> {
    const turn = await this.read(call, await jsonBody(call));
    if (turn.inBackground) await this.#begin(call, turn);
    else await this.answer(call, turn);
  }

  async #compact(call: Call): Promise<void> {
    const { body } = await this.read(call, await jsonBody(call));
    await this.#parts.serve.handle(call, openaiCompaction, { body, identified: () => {} });
  }

  /** Runs on without its client, who follows it or asks again. */
  async #begin(call: Call, turn: Turn): Promise<void> {
    const { serve, clock } = this.#parts;
    const job = this.#background.begin(turn.tenant, turn.id);
    let thread: string | undefined;
    const opening = {
      id: turn.id,
      createdS: Math.floor(clock.wallMs() / 1000),
      model: String(turn.body.model),
      promptTokens: undefined,
    };
    const ended = (response: ResponseObject) => {
      job.response = job.isCancelled ? { ...response, status: 'cancelled', error: null } : response;
      this.#keep(turn, job.response, thread);
    };
    const wire = keptWire(turn, ended);
    const understood = new Promise<void>((resolve) => {
      const identified = (who: Identity) => {
        thread = who.thread;
        const ask = wire.ask as Ask;
        job.response = unansweredResponse(ask, opening, { status: 'queued', output: [] });
        resolve();
      };
      const background = { ...call, signal: job.stopping.signal, reply: job };
      const walked = serve.handle(background, wire, { body: turn.body, identified });
      void walked.finally(() => this.#settle(job, { wire, opening, ended }));
    });
    await Promise.race([understood, job.over]);
    if (job.response === undefined) {
      this.#background.forget(turn.id);
      return job.refuse(call.reply);
    }
    this.#keep(turn, job.response, thread);
    if (turn.streams) return job.follow(call, -1);
    replyJson(call.reply, 200, job.response, { 'x-request-id': call.requestId });
  }

  /** It ended before there was a response to tell of. */
  #settle(
    job: Job,
    given: {
      wire: { ask: Ask | undefined };
      opening: Parameters<typeof unansweredResponse>[1];
      ended: (response: ResponseObject) => void;
    },
  ): void {
    job.destroy();
    const { ask } = given.wire;
    if (job.response === undefined || ask === undefined || isFinal(job.response)) return;
    const error = errorIn(job.refusal?.body);
    const state = { status: 'failed' as const, output: [], error };
    given.ended(unansweredResponse(ask, given.opening, state));
  }

  async #get(call: Call): Promise<void> {
    const { tenant, id, rest } = this.#named(call);
    const job = this.#background.find(tenant, id);
    if (rest === 'input_items') return this.#listInput(call, tenant, id);
    if (rest !== undefined) throw nothingAt(call);
    if (call.query.get('stream') === 'true') return this.#follow(call, { tenant, id, job });
    const response = job?.response ?? (await this.#found(tenant, id)).response;
    replyJson(call.reply, 200, job === undefined ? asLeft(response) : response);
  }

  async #follow(
    call: Call,
    { tenant, id, job }: { tenant: TenantId; id: string; job: Job | undefined },
  ): Promise<void> {
    const after = call.query.get('starting_after') ?? '-1';
    if (!/^(-1|\d{1,9})$/.test(after)) throw wrong('starting_after', 'must be a sequence number');
    if (job?.hasAllEvents) return job.follow(call, Number(after));
    if (job === undefined) await this.#found(tenant, id);
    throw new GatewayError(
      'invalid_request',
      `The events of ${id.slice(0, 80)} are not kept (any more); ask for it without stream.`,
      { param: 'stream' },
    );
  }

  async #listInput(call: Call, tenant: TenantId, id: string): Promise<void> {
    const record = await this.#found(tenant, id);
    const chain = await this.#parts.store?.find(tenant, chainKeyOf(id) as string);
    const items = [...(chain?.contextOf(record) ?? []), ...record.input];
    replyJson(call.reply, 200, pageOf(items, call.query));
  }

  async #delete(call: Call): Promise<void> {
    const { tenant, id, rest } = this.#named(call);
    if (rest !== undefined) throw nothingAt(call);
    const job = this.#background.find(tenant, id);
    if (job !== undefined) {
      // To its end first: else that would be kept.
      job.stopping.abort();
      await job.over;
      this.#background.forget(id);
    }
    const key = chainKeyOf(id);
    const isOurs = id.startsWith('resp_') && key !== undefined;
    if (!isOurs || !(await this.#parts.store?.remove(tenant, key, id))) throw noSuchResponse(id);
    replyJson(call.reply, 200, { id, object: 'response', deleted: true });
  }

  async #cancel(call: Call): Promise<void> {
    const { tenant, id, rest } = this.#named(call);
    if (rest !== 'cancel') throw nothingAt(call);
    const { response } = await this.#found(tenant, id);
    if (response.background !== true) {
      const sentence =
        'Only a response that runs in the background can be cancelled; close the connection of any other.';
      throw new GatewayError('invalid_request', sentence, { param: 'response_id' });
    }
    const job = this.#background.find(tenant, id);
    if (job !== undefined && !job.isOver) {
      job.stopping.abort();
      await job.over;
    }
    replyJson(call.reply, 200, job?.response ?? asLeft(response));
  }

  async #found(tenant: TenantId, id: string): Promise<ResponseRecord> {
    const key = chainKeyOf(id);
    const chain = key === undefined ? undefined : await this.#parts.store?.find(tenant, key);
    const record = chain?.response(id);
    if (record === undefined) throw noSuchResponse(id);
    return record;
  }

  #named(call: Call): { tenant: TenantId; id: string; rest: string | undefined } {
    const { tenant } = this.#parts.access.caller(call);
    const [id, rest, more] = call.path.slice(BASE.length).split('/');
    if (more !== undefined) throw nothingAt(call);
    return { tenant, id, rest };
  }

  #keep(turn: Turn, response: ResponseObject, thread: string | undefined): void {
    const { store } = this.#parts;
    const { tenant, chainKey, input, previous, isStored } = turn;
    // A conversation holds what was said in it, not what was tried.
    const inConversation = turn.inConversation && wasSaid(response);
    if (store === undefined || !(isStored || inConversation)) return;
    const whole = wholeRecord(turn, response, thread);
    const linked = { ...whole, input, previous, inConversation };
    const isWhole = previous !== undefined && !turn.previousIsStored;
    const said: ChainRecord = { kind: 'items', items: itemsOf(linked) };
    void store.add(tenant, chainKey, [isStored ? (isWhole ? whole : linked) : said]);
  }
}

/** With all that was said before as input of its own. */
export function wholeRecord(turn: Turn, response: ResponseObject, thread?: string): ResponseRecord {
  const input = turn.body.input as Item[];
  return { kind: 'response', response, input, inConversation: false, thread };
}

function wasSaid({ status }: ResponseObject): boolean {
  return status === 'completed' || status === 'incomplete';
}

/** A response that nobody works on any more, whatever it says. */
function asLeft(response: ResponseObject): ResponseObject {
  if (isFinal(response)) return response;
  const message = 'The gateway was stopped while it ran.';
  return { ...response, status: 'failed', error: { code: 'server_error', message } };
}

function isFinal({ status }: ResponseObject): boolean {
  return status !== 'queued' && status !== 'in_progress';
}

function errorIn(body: string | undefined): GatewayError {
  const { error } = JSON.parse(body ?? '{}') as { error?: Json };
  const message = typeof error?.message === 'string' ? error.message : 'It was cut off.';
  return new GatewayError('engine_failed', message);
}

function noSuchResponse(id: string): GatewayError {
  const sentence = `The response ${id.slice(0, 80)} is not kept here (any more).`;
  return new GatewayError('not_found', sentence, { param: 'response_id' });
}

function nothingAt({ path }: Call): GatewayError {
  return new GatewayError('not_found', `There is nothing at ${path.slice(0, 200)}.`);
}
