/**
 * Rerank and score, as the engines that have such models answer them: the body goes to one of them as it
 * came, and its answer comes back. What is scored shares no prefix worth a route: the least busy gets it.
 */
import type { Call } from '../http/call.ts';
import { jsonBody } from '../http/json-body.ts';
import type { Route } from '../http/router.ts';
import { GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import { FREE } from '../model/request.ts';
import type { Engine, Job } from '../ports.ts';
import { object, string } from '../wire/fields.ts';
import { readHints } from '../wire/hints.ts';
import type { Accounts } from './accounts.ts';
import { callerOf, inOnePiece, type OnePieceParts, replyWhole, wordlessAsk } from './one-piece.ts';
import type { Prompt } from './prompt.ts';

/** Cohere's and Jina's rerank, and vLLM's scores, as engines serve them. */
const PATHS = ['/v1/rerank', '/v2/rerank', '/rerank', '/v1/score', '/score'];
/** What is scored is not tokenized here. */
const BYTES_PER_TOKEN = 4;

export class Ranking {
  readonly #parts: OnePieceParts;
  readonly #accounts: Accounts;

  constructor(parts: OnePieceParts, accounts: Accounts) {
    this.#parts = parts;
    this.#accounts = accounts;
  }

  routes(): [string, Route][] {
    return PATHS.map((path) => [
      `POST ${path}`,
      (call) => replyWhole(call, (signal) => this.#ranked(call, path, signal)),
    ]);
  }

  async #ranked(call: Call, path: string, signal: AbortSignal) {
    const parts = this.#parts;
    const who = callerOf(parts, call);
    const given = object(await jsonBody(call), 'the body');
    const model = parts.models.find(string(given.model, 'model'));
    const ask = wordlessAsk(model.name, { kind: 'text', text: '' }, readHints(given));
    const prompt = promptOf(given);
    const usage = { promptTokens: prompt.promptTokens, outputTokens: 0, cachedTokens: undefined };
    let body: unknown;
    const by = async function* (engine: Engine, _: Job, stop: AbortSignal): AsyncGenerator<Part> {
      body = await rankBy(engine, { path, body: given }, stop);
      yield { kind: 'done', finish: { kind: 'stop' }, usage };
    };
    const wire = 'rerank';
    const headers = await inOnePiece(parts, this.#accounts, {
      ...{ call, wire, ask, who, prompt, by, signal },
    });
    return { body, headers };
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
