/** Opens an account for each request, and tells what came of it when it closes. */
import type { Prng } from '../base/prng.ts';
import { GatewayError } from '../model/error.ts';
import type { RequestId } from '../model/ids.ts';
import type { Receipt } from '../model/receipt.ts';
import type { Identity } from '../model/session.ts';
import type { Clock, Sink } from '../ports.ts';
import type { Ask } from '../wire/wire.ts';
import { Account } from './account.ts';
import type { Host } from './host.ts';
import type { ServedModel } from './models.ts';
import { arrivalOf, type Prompt } from './prompt.ts';
import type { Receipts } from './receipts.ts';

export class Accounts {
  readonly #host: Host;
  readonly #clock: Clock;
  readonly #rng: Prng;
  readonly #receipts: Receipts;
  readonly #sink: Sink;
  #requests = 0;

  constructor(parts: { host: Host; clock: Clock; rng: Prng; receipts: Receipts; sink: Sink }) {
    this.#host = parts.host;
    this.#clock = parts.clock;
    this.#rng = parts.rng;
    this.#receipts = parts.receipts;
    this.#sink = parts.sink;
  }

  /** `request` is the id the client knows; several may be opened for one. */
  open(given: {
    request: string;
    wire: string;
    arrivedUs: number;
    ask: Ask;
    who: Identity;
    model: ServedModel;
    prompt: Prompt;
    normalised: Receipt['normalised'];
  }): Account {
    const suffix = this.#rng.uint32().toString(36).padStart(7, '0');
    const id = `r${(this.#requests++).toString(36)}-${suffix}`;
    const account = new Account({
      id,
      requestId: given.request,
      atIso: new Date(this.#clock.wallMs()).toISOString(),
      arrivedUs: given.arrivedUs,
      wire: given.wire,
      policy: this.#host.policy,
      who: given.who,
      arrival: arrivalOf(id as RequestId, given),
      tokensKnown: given.prompt.job.kind === 'tokens',
      normalised: given.normalised,
    });
    this.#receipts.open(account.receipt);
    const { arrivedUs, wire, who, model, prompt } = given;
    const { hashes, blockTokens, promptTokens } = prompt;
    const asked = { hashes, blockTokens, promptTokens, prompt: given.ask.prompt };
    this.#sink.note({
      kind: 'asked',
      asked: { id, arrivedUs, wire, who, model: model.name, ...asked },
    });
    return account;
  }

  close(account: Account): void {
    const { receipt } = account;
    const { status, error } = receipt.actual;
    this.#receipts.close(receipt);
    this.#sink.note({
      kind: 'request',
      receipt,
      status: status === 'done' ? 200 : new GatewayError(error ?? 'client_closed', '').status,
      itlUs: account.itlUs(),
    });
  }
}
