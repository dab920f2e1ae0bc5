/**
 * Rerank and score, as the engines that have such models answer them: the body goes to one of them as it
 * came, and its answer comes back. What is scored shares no prefix worth a route: the least busy gets it.
 */
import { type Call, replyJson } from '../http/call.ts';
import { jsonBody } from '../http/json-body.ts';
import { errorHeaders, type Route } from '../http/router.ts';
import { asGatewayError, GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import { FREE, GREEDY } from '../model/request.ts';
import type { Engine, Job } from '../ports.ts';
import { object, string } from '../wire/fields.ts';
import { readHints } from '../wire/hints.ts';
import { openaiError } from '../wire/openai-error.ts';
import type { Ask } from '../wire/wire.ts';
import type { Accounts } from './accounts.ts';
import type { EmbeddingParts } from './embeddings.ts';
import { headersOf } from './envelope.ts';
import { answerOf } from './failover.ts';
import { identify } from './identify.ts';
import { beside } from './identities.ts';
import { jobOf, type Prompt } from './prompt.ts';
import { Watch } from './relay.ts';

/** Cohere's and Jina's rerank, and vLLM's scores, as engines serve them. */
const PATHS = ['/v1/rerank', '/v2/rerank', '/rerank', '/v1/score', '/score'];
/** What is scored is not tokenized here. */
const BYTES_PER_TOKEN = 4;

export class Ranking {
  readonly #parts: EmbeddingParts;
  readonly #accounts: Accounts;

  constructor(parts: EmbeddingParts, accounts: Accounts) {
    this.#parts = parts;
    this.#accounts = accounts;
  }

  routes(): [string, Route][] {
    return PATHS.map((path) => [`POST ${path}`, (call) => this.#handle(call, path)]);
  }

  async #handle(call: Call, path: string): Promise<void> {
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    call.signal.addEventListener('abort', leave, { once: true });
    try {
      this.#parts.access.caller(call);
      const { answer, headers } = await this.#ranked(call, path, leaving.signal);
      replyJson(call.reply, 200, answer, headers);
    } catch (thrown) {
      const error = asGatewayError(thrown);
      if (call.reply.headSent) return call.reply.end();
      replyJson(call.reply, error.status, openaiError(error), errorHeaders(call.requestId, error));
    } finally {
      call.signal.removeEventListener('abort', leave);
      leaving.abort();
    }
  }

  async #ranked(call: Call, path: string, signal: AbortSignal) {
    const { access, models, host, engines, clock, patience } = this.#parts;
    const body = object(await jsonBody(call), 'the body');
    const model = models.find(string(body.model, 'model'));
    const ask = askOf(model.name, readHints(body));
    const who = beside(identify(access.caller(call).tenant, call.headers, []));
    const prompt = promptOf(body);
    const account = this.#accounts.open({
      ...{ request: call.requestId, wire: 'rerank', arrivedUs: clock.nowUs(), normalised: [] },
      ...{ ask, who, model, prompt, manners: patience.of(call.headers, false) },
    });
    const job = jobOf(account.arrival.id, { ask, model, who, prompt });
    let answer: unknown;
    const rank = async function* (engine: Engine, _: Job, stop: AbortSignal): AsyncGenerator<Part> {
      answer = await rankBy(engine, { path, body }, stop);
      const usage = { promptTokens: prompt.promptTokens, outputTokens: 0, cachedTokens: undefined };
      yield { kind: 'done', finish: { kind: 'stop' }, usage };
    };
    const watch = new Watch({ host, clock, account, signal });
    try {
      await answerOf({ host, engines, clock, account, job, signal, ask: rank }, (part) => {
        watch.saw(part);
        return undefined;
      });
    } catch (thrown) {
      watch.threw(thrown);
      throw thrown;
    } finally {
      this.#accounts.close(account);
    }
    return { answer, headers: headersOf(account.receipt) };
  }
}

function rankBy(
  engine: Engine,
  { path, body }: { path: string; body: object },
  signal: AbortSignal,
): Promise<unknown> {
  if (engine.rank !== undefined) return engine.rank(path, body, signal);
  const sentence = 'The engines of this model neither rerank nor score; ask one that does.';
  throw new GatewayError('invalid_request', sentence, { param: 'model' });
}

function promptOf(body: object): Prompt {
  return {
    job: { kind: 'text', text: '' },
    hashes: new BigUint64Array(0),
    blockTokens: 1,
    promptTokens: Math.ceil(JSON.stringify(body).length / BYTES_PER_TOKEN),
    parser: undefined,
    frame: FREE.frame,
  };
}

function askOf(model: string, hints: Ask['hints']): Ask {
  return {
    ...{ model, prompt: { kind: 'text', text: '' }, sampling: GREEDY, outputTokensMax: 1 },
    ...{ stop: [], shape: FREE, hints, stream: false, includeUsage: false, names: [] },
  };
}
