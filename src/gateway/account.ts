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
      regret: null,
    };
  }

  get receipt(): Receipt {
    return this.#receipt;
  }

  placed({ worker, decision, atUs }: Placement): void {
    const { candidates, eligible, queuedUs } = decision;
    this.#placedUs = atUs;
    this.#receipt.worker = worker;
    this.#receipt.policy = decision.policy;
    this.#receipt.attempts.push({ worker, queuedUs, eligible, candidates });
    const chosen = candidates.find((candidate) => candidate.worker === worker);
    if (chosen === undefined) return;
    const { waiting, prefill, fetch } = chosen.terms;
    this.#receipt.predicted = {
      cachedTokens: chosen.matchedTokens,
      ttftUs: queuedUs + waiting + prefill + fetch,
    };
  }

  /** Returns whether it was the first. */
  token(nowUs: number, count: number): boolean {
    this.#receipt.actual.outputTokens += count;
    if (this.#firstUs !== undefined) return false;
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
    actual.cachedTokens = outcome.usage.cachedTokens ?? null;
    actual.outputTokens = outcome.usage.outputTokens;
    this.#receipt.regret = regretOf(this.#receipt);
  }

  /** Inter-token latency of the whole answer: (end − first) / (output tokens − 1). */
  itlUs(): number | undefined {
    const { outputTokens } = this.#receipt.actual;
    if (this.#firstUs === undefined || this.#endUs === undefined || outputTokens < 2)
      return undefined;
    return (this.#endUs - this.#firstUs) / (outputTokens - 1);
  }
}
