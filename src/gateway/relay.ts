/**
 * Hands an answer to its client, framed in the client's own wire, and tells the kernel how far it is.
 * Exactly one of finished, failed or cancelled is told for each request that was placed.
 */

import { type Reply, replyJson } from '../http/call.ts';
import { asGatewayError, GatewayError } from '../model/error.ts';
import type { ToolCalled, TurnEnd } from '../model/kernel-io.ts';
import type { Part } from '../model/part.ts';
import type { Clock } from '../ports.ts';
import { AnswerFold } from '../wire/answer.ts';
import type { Parsing } from '../wire/parsed.ts';
import type { Ask, Opening, Wire } from '../wire/wire.ts';
import type { Account } from './account.ts';
import type { Take } from './failover.ts';
import type { Host } from './host.ts';
import { Outlet } from './outlet.ts';
import type { Manners } from './patience.ts';

/** The kernel hears of every so many tokens. */
const PROGRESS_TOKENS = 16;
/** Of the tools that an answer calls; more say nothing new about when its thread returns. */
const CALLED_MAX = 32;

export interface Delivery {
  host: Host;
  clock: Clock;
  account: Account;
  wire: Wire;
  ask: Ask;
  opening: Opening;
  reply: Reply;
  signal: AbortSignal;
  manners: Manners;
  arrivedUs: number;
  /** Response headers: which worker it is, once the request was placed. */
  headers: () => Record<string, string>;
  /** What the answer's `nvext` holds. */
  extras: () => Record<string, unknown> | undefined;
}

/** Hands over the parts of an answer, and resolves when there are no more. */
type Answer = (take: Take) => Promise<void>;

/** Sends what `answer` gives; throws only before anything was sent. */
export async function relay(
  answer: Answer,
  parsing: Pick<Parsing, 'push'>,
  to: Delivery,
): Promise<void> {
  const watch = new Watch(to);
  const taken = (part: Part, on: (part: Part) => void) => {
    for (const one of parsing.push(part)) {
      watch.saw(one);
      if (one.kind === 'done') on({ ...one, usage: to.account.usageOf(one.usage) });
      else on(one);
    }
  };
  const outlet = to.ask.stream ? outletOf(to) : undefined;
  try {
    await (outlet === undefined ? whole(answer, taken, to) : stream(answer, taken, outlet, to));
  } catch (thrown) {
    watch.threw(thrown);
    if (outlet?.isOpen !== true) throw thrown;
    outlet.send({ kind: 'error', error: asGatewayError(thrown) });
  } finally {
    outlet?.end();
  }
}

/** Takes a part apart, tells what it means, and gives each piece on. */
type Taken = (part: Part, on: (part: Part) => void) => void;

async function stream(answer: Answer, taken: Taken, outlet: Outlet, to: Delivery): Promise<void> {
  const say = (part: Part) => outlet.send(part, part.kind === 'done' ? to.extras() : undefined);
  await answer((part) => {
    taken(part, say);
    return outlet.isBlocked ? outlet.room() : undefined;
  });
}

async function whole(answer: Answer, taken: Taken, to: Delivery): Promise<void> {
  const fold = new AnswerFold();
  const add = (part: Part) => fold.add(part);
  await answer((part) => {
    taken(part, add);
    return undefined;
  });
  if (fold.error !== undefined) throw fold.error;
  const said = fold.answer(to.extras());
  if (said === undefined) throw new GatewayError('engine_lost', 'The engine gave no whole answer.');
  replyJson(to.reply, 200, to.wire.whole(to.ask, to.opening, said), to.headers());
}

function outletOf(to: Delivery): Outlet {
  const { reply, clock, manners } = to;
  return new Outlet({
    ...{ reply, clock, manners },
    waitedUs: clock.nowUs() - to.arrivedUs,
    open: () => ({ framer: to.wire.framer(to.ask, to.opening), headers: to.headers() }),
  });
}

/** Tells kernel and account what the parts of an answer mean, and how it ended: once. */
export class Watch {
  readonly #of: Pick<Delivery, 'host' | 'clock' | 'account' | 'signal'>;
  readonly #called: ToolCalled[] = [];
  #outputTokens = 0;
  #toldTokens = 0;
  #ended = false;

  constructor(of: Pick<Delivery, 'host' | 'clock' | 'account' | 'signal'>) {
    this.#of = of;
  }

  saw(part: Part): void {
    const { clock, account, signal } = this.#of;
    if (part.kind === 'done') {
      this.#done(part);
    } else if (part.kind === 'error') {
      this.#ended = true;
      const status = signal.aborted ? 'cancelled' : 'failed';
      account.ended(clock.nowUs(), { status, error: part.error });
    } else if (part.kind !== 'ended') {
      account.answer.add(part);
      if (part.kind === 'toolCall' && this.#called.length < CALLED_MAX) {
        this.#called.push({ tool: part.name });
      }
      this.#tokens(part.kind === 'toolCall' ? 0 : part.tokens);
    }
  }

  /** Before the end: the client left, no place was found, or what was said could not be sent. */
  threw(thrown: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    const { host, clock, account, signal } = this.#of;
    // Where it was told of the end already, this says nothing new.
    host.tell({ kind: 'cancelled', request: account.arrival.id });
    const error = asGatewayError(thrown);
    account.ended(clock.nowUs(), { status: statusOf(error, account, signal), error });
  }

  #done({ finish, usage }: Extract<Part, { kind: 'done' }>): void {
    const { host, clock, account } = this.#of;
    this.#ended = true;
    account.ended(clock.nowUs(), { status: 'done', usage });
    const outputTokens = usage.outputTokens - account.carriedTokens;
    const { cachedTokens } = usage;
    // What was cut off goes on by itself, or not at all: nobody knows when.
    const isCut = finish.kind === 'length' && this.#called.length === 0;
    const turn = isCut ? undefined : turnEnd(this.#called);
    host.tell({ kind: 'finished', request: account.arrival.id, outputTokens, cachedTokens, turn });
  }

  #tokens(count: number): void {
    const { host, clock, account } = this.#of;
    const request = account.arrival.id;
    this.#outputTokens += count;
    if (account.token(clock.nowUs(), count)) host.tell({ kind: 'firstTokenSent', request });
    if (this.#outputTokens - this.#toldTokens < PROGRESS_TOKENS) return;
    this.#toldTokens = this.#outputTokens;
    const outputTokens = this.#outputTokens - account.carriedTokens;
    host.tell({ kind: 'progressed', request, outputTokens });
  }
}

function turnEnd(tools: readonly ToolCalled[]): TurnEnd {
  return tools.length === 0 ? { kind: 'answered' } : { kind: 'tools', tools };
}

function statusOf(
  error: GatewayError,
  account: Account,
  signal: AbortSignal,
): 'rejected' | 'failed' | 'cancelled' {
  const left = error.code === 'client_closed' || error.code === 'request_timeout';
  if (signal.aborted || left) return 'cancelled';
  return account.receipt.worker === null ? 'rejected' : 'failed';
}
