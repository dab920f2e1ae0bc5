/**
 * Who is tried again where a worker failed. A placement that brought its answer on does not count against
 * a request, nor does one that had to make room, met nobody or was turned away: what counts is failing
 * without a token. Whoever turned it away is not asked again.
 */
import type { Fact, Order } from '../../model/kernel-io.ts';
import type { Book } from '../book.ts';
import * as refusal from '../queue/refusal.ts';
import type { Waiter } from '../queue/waiting.ts';
import { RetryBudget } from './retry-budget.ts';

type Failed = Extract<Fact, { kind: 'failed' }>;

export class Retries {
  readonly #attemptsMax: number;
  readonly #book: Book;
  readonly #budget = new RetryBudget();

  constructor(given: { attemptsMax: number; book: Book }) {
    this.#attemptsMax = given.attemptsMax;
    this.#book = given.book;
  }

  arrived(): void {
    this.#budget.arrived();
  }

  /** It waits for its next place; undefined where it gets none, which was ordered then. */
  next(waiter: Waiter, fact: Failed, orders: Order[]): Waiter | undefined {
    const { saidTokens: told = 0 } = waiter;
    const saidTokens = Math.max(told, fact.saidTokens ?? 0);
    const attempt = waiter.attempt + 1;
    const isNew = fact.why === 'moved' || saidTokens > told;
    const isDenied = fact.why === 'denied';
    const isTry = fact.why !== 'unreached' && !isDenied;
    const inVain = isNew ? 0 : (waiter.inVain ?? 0) + (isTry ? 1 : 0);
    const { request } = waiter;
    if (inVain >= this.#attemptsMax) {
      orders.push(refusal.spent(request, inVain));
      return undefined;
    }
    if (inVain > 0 && !this.#budget.take(this.#book.size)) {
      orders.push(refusal.tooManyFail(request));
      return undefined;
    }
    const added = saidTokens - told;
    return {
      ...waiter,
      request: {
        ...request,
        promptTokens: request.promptTokens + added,
        outputTokensMax: Math.max(1, request.outputTokensMax - added),
        ...(isDenied && { deniedBy: [...(request.deniedBy ?? []), fact.worker] }),
      },
      ...{ attempt, inVain, saidTokens },
      excluded: new Set([...waiter.excluded, fact.worker]),
    };
  }
}
