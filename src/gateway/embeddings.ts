/**
 * POST /v1/embeddings. Each text is a request of its own to the kernel: it is placed where its
 * beginning is cached, and tried elsewhere where a worker fails.
 */
import { type Call, replyJson } from '../http/call.ts';
import { jsonBody } from '../http/json-body.ts';
import { errorHeaders } from '../http/router.ts';
import { asGatewayError, GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import { FREE, GREEDY } from '../model/request.ts';
import type { Clock, Embedding, Engine, Job } from '../ports.ts';
import { type EmbeddingAsk, embeddingsWhole, parseEmbeddings } from '../wire/openai-embeddings.ts';
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
import { jobOf, promptOf } from './prompt.ts';
import { Watch } from './relay.ts';

/** So many texts of one request wait for their vectors at once. */
const TOGETHER = 8;

export interface EmbeddingParts {
  access: Access;
  models: Models;
  host: Host;
  engines: Engines;
  clock: Clock;
  patience: Patience;
}

export class Embeddings {
  readonly #parts: EmbeddingParts;
  readonly #accounts: Accounts;

  constructor(parts: EmbeddingParts, accounts: Accounts) {
    this.#parts = parts;
    this.#accounts = accounts;
  }

  async handle(call: Call): Promise<void> {
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    call.signal.addEventListener('abort', leave, { once: true });
    try {
      this.#parts.access.caller(call);
      const ask = parseEmbeddings(await jsonBody(call));
      const found: Vector[] = [];
      for (let i = 0; i < ask.inputs.length; i += TOGETHER) {
        const some = ask.inputs.slice(i, i + TOGETHER);
        found.push(
          ...(await Promise.all(some.map((one) => this.#one(call, ask, one, leaving.signal)))),
        );
      }
      const answer = {
        vectors: found.map(({ vector }) => vector),
        promptTokens: found.reduce((sum, { usage }) => sum + usage.promptTokens, 0),
        note: found[0].note,
      };
      replyJson(call.reply, 200, embeddingsWhole(ask, answer), found[0].headers);
    } catch (thrown) {
      const error = asGatewayError(thrown);
      if (call.reply.headSent) return call.reply.end();
      replyJson(call.reply, error.status, openaiError(error), errorHeaders(call.requestId, error));
    } finally {
      call.signal.removeEventListener('abort', leave);
      leaving.abort();
    }
  }

  async #one(
    call: Call,
    { model: name, hints }: EmbeddingAsk,
    input: EmbeddingAsk['inputs'][number],
    signal: AbortSignal,
  ): Promise<Vector> {
    const { access, models, host, engines, clock, patience } = this.#parts;
    const { tenant } = access.caller(call);
    const who = beside(identify(tenant, call.headers, []));
    const model = models.find(name);
    const asked = askOf(name, input, hints);
    const prompt = await promptOf(asked, model, who);
    const account = this.#accounts.open({
      ...{ request: call.requestId, wire: 'openai-embeddings', arrivedUs: clock.nowUs() },
      ...{ ask: asked, who, model, prompt, normalised: [] },
      manners: patience.of(call.headers, false),
    });
    const job = jobOf(account.arrival.id, { ask: asked, model, who, prompt });
    let found: Embedding | undefined;
    const ask = (engine: Engine, _job: Job, stop: AbortSignal) =>
      vectorParts(engine, job, stop, (embedding) => {
        found = embedding;
      });
    const watch = new Watch({ host, clock, account, signal });
    try {
      await answerOf({ host, engines, clock, account, job, signal, ask }, (part) => {
        watch.saw(part);
        return undefined;
      });
    } catch (thrown) {
      watch.threw(thrown);
      throw thrown;
    } finally {
      this.#accounts.close(account);
    }
    if (found === undefined) throw new GatewayError('engine_lost', 'The engine gave no vector.');
    return { ...found, headers: headersOf(account.receipt) };
  }
}

type Vector = Embedding & { headers: Record<string, string> };

/** A vector comes as an answer without words, so that placing, failing over and accounts are alike. */
async function* vectorParts(
  engine: Engine,
  job: Job,
  signal: AbortSignal,
  on: (embedding: Embedding) => void,
): AsyncGenerator<Part> {
  const embedding = await engine.embed(job, signal);
  on(embedding);
  yield { kind: 'done', finish: { kind: 'stop' }, usage: embedding.usage };
}

function askOf(model: string, prompt: EmbeddingAsk['inputs'][number], hints: Ask['hints']): Ask {
  return {
    model,
    prompt,
    sampling: GREEDY,
    outputTokensMax: 1,
    stop: [],
    shape: FREE,
    hints,
    stream: false,
    includeUsage: false,
    names: [],
  };
}
