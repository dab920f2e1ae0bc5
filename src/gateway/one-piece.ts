/**
 * Calls that engines answer in one piece and without words: vectors, ranks, scores. They are placed,
 * failed over and accounted for as answers are, by an answer that is nothing but its end.
 */
import { type Call, replyJson } from '../http/call.ts';
import { errorHeaders } from '../http/router.ts';
import { asGatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import { FREE, GREEDY } from '../model/request.ts';
import type { Identity } from '../model/session.ts';
import type { Clock, Engine, Job } from '../ports.ts';
import { openaiError } from '../wire/openai-error.ts';
import type { Ask } from '../wire/wire.ts';
import type { Access } from './access.ts';
import type { Accounts } from './accounts.ts';
import { headersOf } from './envelope.ts';
import { answerOf, type Engines } from './failover.ts';
import type { Host } from './host.ts';
import { identify } from './identify.ts';
import { beside } from './identities.ts';
import type { Models } from './models.ts';
import type { Patience } from './patience.ts';
import { jobOf, type Prompt } from './prompt.ts';
import { Watch } from './relay.ts';

export interface OnePieceParts {
  access: Access;
  models: Models;
  host: Host;
  engines: Engines;
  clock: Clock;
  patience: Patience;
}

/** Refusals are said as OpenAI's clients read them; who leaves ends what runs for it. */
export async function replyWhole(
  call: Call,
  answer: (signal: AbortSignal) => Promise<{ body: unknown; headers: Record<string, string> }>,
): Promise<void> {
  const leaving = new AbortController();
  const leave = () => leaving.abort();
  call.signal.addEventListener('abort', leave, { once: true });
  try {
    const { body, headers } = await answer(leaving.signal);
    replyJson(call.reply, 200, body, headers);
  } catch (thrown) {
    const error = asGatewayError(thrown);
    if (call.reply.headSent) return call.reply.end();
    replyJson(call.reply, error.status, openaiError(error), errorHeaders(call.requestId, error));
  } finally {
    call.signal.removeEventListener('abort', leave);
    leaving.abort();
  }
}

/** Whose call it is; nobody goes on from what it asks. */
export function callerOf({ access }: OnePieceParts, call: Call): Identity {
  return beside(identify(access.caller(call).tenant, call.headers, []));
}

/** Resolves with the headers of the answer, once an engine gave it to `ask`. */
export async function inOnePiece(
  parts: OnePieceParts,
  accounts: Accounts,
  given: {
    call: Call;
    wire: string;
    ask: Ask;
    who: Identity;
    prompt: Prompt;
    by: (engine: Engine, job: Job, signal: AbortSignal) => AsyncIterable<Part>;
    signal: AbortSignal;
  },
): Promise<Record<string, string>> {
  const { models, host, engines, clock, patience } = parts;
  const { call, wire, ask, who, prompt, by, signal } = given;
  const model = models.find(ask.model);
  const account = accounts.open({
    ...{ request: call.requestId, wire, arrivedUs: clock.nowUs(), normalised: [] },
    ...{ ask, who, model, prompt, manners: patience.of(call.headers, false) },
  });
  const job = jobOf(account.arrival.id, { ask, model, who, prompt });
  const watch = new Watch({ host, clock, account, signal });
  try {
    await answerOf({ host, engines, clock, account, job, signal, ask: by }, (part) => {
      watch.saw(part);
      return undefined;
    });
  } catch (thrown) {
    watch.threw(thrown);
    throw thrown;
  } finally {
    accounts.close(account);
  }
  return headersOf(account.receipt);
}

/** What the kernel and accounts hear of such a call. */
export function wordlessAsk(model: string, prompt: Ask['prompt'], hints: Ask['hints']): Ask {
  return {
    ...{ model, prompt, sampling: GREEDY, outputTokensMax: 1, stop: [], shape: FREE },
    ...{ hints, stream: false, includeUsage: false, names: [] },
  };
}
