/** The account of one request while it runs; its receipt says what was predicted, chosen and came of it. */

import type { GatewayError } from '../model/error.ts';
import type { Arrival } from '../model/kernel-io.ts';
import type { Usage } from '../model/part.ts';
import type { Receipt } from '../model/receipt.ts';
import type { Identity } from '../model/session.ts';
import type { Placement } from './host.ts';
import { AnswerSketch } from './lineage/answer-sketch.ts';
import { regretOf } from './regret.ts';

type Status = Receipt['actual']['status'];

export class Account {
  readonly arrival: Arrival;
  readonly who: Identity;
  readonly answer = new AnswerSketch();
  readonly #receipt: Receipt;
  readonly #arrivedUs: number;
  #placedUs: number | undefined;
  /** Whether its present worker has given a token, and what those before it gave. */
  #hasToken = false;
  #carriedTokens = 0;
  /** Of its prompt, where another worker computed that: tokens which that one had. */
  #prefilled: { cachedTokens: number | undefined } | undefined;
  #firstUs: number | undefined;
  #endUs: number | undefined;

  constructor(given: {
    id: string;
    requestId: string;
    atIso: string;
    arrivedUs: number;
    wire: string;
    policy: string;
    who: Identity;
    arrival: Arrival;
    tokensKnown: boolean;
    normalised: Receipt['normalised'];
    /** What contradicted itself in its hints. */
    notes: readonly string[];
  }) {
    const { who, arrival } = given;
    this.arrival = arrival;
    this.who = who;
    this.#arrivedUs = given.arrivedUs;
    this.#receipt = {
      id: given.id,
      request: given.requestId,
      at: given.atIso,
      wire: given.wire,
      model: arrival.model,
      tenant: who.tenant,
      session: who.session ?? null,
      thread: who.thread ?? null,
      parent: who.parent ?? null,
      knownBy: who.knownBy,
      purpose: who.purpose,
      relation: who.relation,
      notes: [...who.notes, ...given.notes],
      policy: given.policy,
      promptTokens: given.tokensKnown ? arrival.promptTokens : null,
      normalised: given.normalised,
      worker: null,
      attempts: [],
      predicted: null,
      actual: {
        status: 'running',
        cachedTokens: null,
        outputTokens: 0,
        ttftUs: null,
        prefillUs: null,
        e2eUs: null,
        error: null,
      },
      prefetched: null,
      kvActions: [],
      regret: null,
    };
  }

  get receipt(): Receipt {
    return this.#receipt;
  }

  placed({ worker, decision, atUs }: Placement): void {
    const { candidates, eligible, queuedUs } = decision;
    const { stage } = decision;
    this.#placedUs = atUs;
    if (stage?.kind !== 'decode') this.#prefilled = undefined;
    this.#hasToken = false;
    this.#carriedTokens = this.#receipt.actual.outputTokens;
    this.#receipt.worker = worker;
    this.#receipt.policy = decision.policy;
    const staged = stage === undefined ? {} : { stage: stage.kind };
    this.#receipt.attempts.push({ worker, queuedUs, eligible, candidates, ...staged });
    const chosen = candidates.find((candidate) => candidate.worker === worker);
    if (chosen === undefined) return;
    const { waiting, prefill, fetch } = chosen.terms;
    const computed = stage?.kind === 'decode' ? this.#receipt.predicted : null;
    this.#receipt.predicted = {
      cachedTokens: computed?.cachedTokens ?? chosen.matchedTokens,
      ttftUs: queuedUs + waiting + prefill + fetch,
    };
  }

  /** The worker it was placed on has computed its prompt, for another to answer. */
  prefilled(cachedTokens: number | undefined): void {
    this.#prefilled = { cachedTokens };
  }

  /** As its request had it: what was brought to whoever answered was computed for it elsewhere. */
  usageOf(usage: Usage): Usage {
    // An engine that claims more than there was is not to make anybody's bill negative.
    const there =
      usage.cachedTokens && Math.min(Math.max(0, usage.cachedTokens), usage.promptTokens);
    if (this.#prefilled === undefined) return { ...usage, cachedTokens: there };
    const { cachedTokens } = this.#prefilled;
    const isKnown = cachedTokens !== undefined && there !== undefined;
    return { ...usage, cachedTokens: isKnown ? Math.min(cachedTokens, there) : undefined };
  }

  /** Tokens that the client had before its present worker went on. */
  get carriedTokens(): number {
    return this.#carriedTokens;
  }

  /** Returns whether it was the first of its worker. */
  token(nowUs: number, count: number): boolean {
    this.#receipt.actual.outputTokens += count;
    if (this.#hasToken) return false;
    this.#hasToken = true;
    if (this.#firstUs !== undefined) return true;
    this.#firstUs = nowUs;
    this.#receipt.actual.ttftUs = nowUs - this.#arrivedUs;
    this.#receipt.actual.prefillUs = nowUs - (this.#placedUs ?? this.#arrivedUs);
    return true;
  }

  ended(nowUs: number, outcome: { status: Status; usage?: Usage; error?: GatewayError }): void {
    const { actual } = this.#receipt;
    this.#endUs = nowUs;
    actual.status = outcome.status;
    actual.e2eUs = nowUs - this.#arrivedUs;
    actual.error = outcome.error?.code ?? null;
    if (outcome.usage === undefined) return;
    const { cachedTokens, outputTokens } = this.usageOf(outcome.usage);
    actual.cachedTokens = cachedTokens ?? null;
    actual.outputTokens = outputTokens;
    // Of two stages no other place says what both would have cost there.
    if (this.#prefilled === undefined) this.#receipt.regret = regretOf(this.#receipt);
  }

  /** Of its prompt so much was computed ahead for it. */
  prefetched(prefetched: NonNullable<Receipt['prefetched']>): void {
    this.#receipt.prefetched = prefetched;
  }

  /** Inter-token latency of the whole answer: (end − first) / (output tokens − 1). */
  itlUs(): number | undefined {
    const { outputTokens } = this.#receipt.actual;
    if (this.#firstUs === undefined || this.#endUs === undefined || outputTokens < 2)
      return undefined;
    return (this.#endUs - this.#firstUs) / (outputTokens - 1);
  }
}
