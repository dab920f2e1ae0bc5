/**
 * POST /v1/embeddings. Each text is a request of its own to the kernel: it is placed where its
 * beginning is cached, and tried elsewhere where a worker fails.
 */
import type { Call } from '../http/call.ts';
import { jsonBody } from '../http/json-body.ts';
import { GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import type { Embedding, Engine, Job } from '../ports.ts';
import { type EmbeddingAsk, embeddingsWhole, parseEmbeddings } from '../wire/openai-embeddings.ts';
import type { Accounts } from './accounts.ts';
import { callerOf, inOnePiece, type OnePieceParts, replyWhole, wordlessAsk } from './one-piece.ts';
import { promptOf } from './prompt.ts';

/** So many texts of one request wait for their vectors at once. */
const TOGETHER = 8;

export class Embeddings {
  readonly #parts: OnePieceParts;
  readonly #accounts: Accounts;

  constructor(parts: OnePieceParts, accounts: Accounts) {
    this.#parts = parts;
    this.#accounts = accounts;
  }

  async handle(call: Call): Promise<void> {
    await replyWhole(call, async (signal) => {
      this.#parts.access.caller(call);
      const ask = parseEmbeddings(await jsonBody(call));
      const found: Vector[] = [];
      for (let i = 0; i < ask.inputs.length; i += TOGETHER) {
        const some = ask.inputs.slice(i, i + TOGETHER);
        found.push(...(await Promise.all(some.map((one) => this.#one(call, ask, one, signal)))));
      }
      const body = embeddingsWhole(ask, {
        vectors: found.map(({ vector }) => vector),
        promptTokens: found.reduce((sum, { usage }) => sum + usage.promptTokens, 0),
        note: found[0].note,
      });
      return { body, headers: found[0].headers };
    });
  }

  async #one(
    call: Call,
    { model, hints }: EmbeddingAsk,
    input: EmbeddingAsk['inputs'][number],
    signal: AbortSignal,
  ): Promise<Vector> {
    const parts = this.#parts;
    const who = callerOf(parts, call);
    const ask = wordlessAsk(model, input, hints);
    const prompt = await promptOf(ask, parts.models.find(model), who);
    let found: Embedding | undefined;
    const by = (engine: Engine, job: Job, stop: AbortSignal) =>
      vectorParts(engine, job, stop, (embedding) => {
        found = embedding;
      });
    const wire = 'openai-embeddings';
    const headers = await inOnePiece(parts, this.#accounts, {
      ...{ call, wire, ask, who, prompt, by, signal },
    });
    if (found === undefined) throw new GatewayError('engine_lost', 'The engine gave no vector.');
    return { ...found, headers };
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
