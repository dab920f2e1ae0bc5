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
import type { Identities } from './identities.ts';
import type { ServedModel } from './models.ts';
import type { Manners } from './patience.ts';
import { arrivalOf, type Prompt, saltOf } from './prompt.ts';
import type { Receipts } from './receipts.ts';
import type { Sessions } from './sessions/sessions.ts';

export interface AccountsParts {
  host: Host;
  clock: Clock;
  rng: Prng;
  receipts: Receipts;
  identities: Identities;
  sessions: Sessions;
  sink: Sink;
}

export class Accounts {
  readonly #host: Host;
  readonly #clock: Clock;
  readonly #rng: Prng;
  readonly #receipts: Receipts;
  readonly #identities: Identities;
  readonly #sessions: Sessions;
  readonly #sink: Sink;
  #requests = 0;

  constructor(parts: AccountsParts) {
    this.#host = parts.host;
    this.#clock = parts.clock;
    this.#rng = parts.rng;
    this.#receipts = parts.receipts;
    this.#identities = parts.identities;
    this.#sessions = parts.sessions;
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
    manners: Manners;
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
      notes: given.ask.hints.notes ?? [],
    });
    this.#receipts.open(account.receipt);
    const { retentionUs: retainUs } = given.ask.hints;
    this.#sessions.opened(account, { salt: saltOf(given.ask, given.who), retainUs });
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
    this.#identities.ended(account.who, { served: status === 'done', answer: account.answer });
    this.#sessions.closed(account);
    this.#receipts.close(receipt);
    this.#sink.note({
      kind: 'request',
      receipt,
      status: status === 'done' ? 200 : new GatewayError(error ?? 'client_closed', '').status,
      itlUs: account.itlUs(),
    });
  }
}
