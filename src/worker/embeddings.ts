/** POST /v1/embeddings of one worker. */
import { type Call, replyJson } from '../http/call.ts';
import { jsonBody } from '../http/json-body.ts';
import { GatewayError } from '../model/error.ts';
import type { RequestId, TenantId } from '../model/ids.ts';
import { FREE, GREEDY } from '../model/request.ts';
import type { Embedding, Engine, Job } from '../ports.ts';
import { type EmbeddingAsk, embeddingsWhole, parseEmbeddings } from '../wire/openai-embeddings.ts';

/** So many texts of one request are given to the engine at once. */
const TOGETHER = 8;

export async function embeddings(
  call: Call,
  { engine, model }: { engine: Engine; model: string },
): Promise<void> {
  const ask = parseEmbeddings(await jsonBody(call));
  if (ask.model !== model) {
    throw new GatewayError('model_not_found', `This worker serves ${JSON.stringify(model)} only.`);
  }
  const found: Embedding[] = [];
  for (let i = 0; i < ask.inputs.length; i += TOGETHER) {
    const some = ask.inputs.slice(i, i + TOGETHER);
    const jobs = some.map((prompt) => jobOf(call.requestId, ask, prompt));
    found.push(...(await Promise.all(jobs.map((job) => engine.embed(job, call.signal)))));
  }
  const answer = {
    vectors: found.map(({ vector }) => vector),
    promptTokens: found.reduce((sum, { usage }) => sum + usage.promptTokens, 0),
    note: found[0].note,
  };
  replyJson(call.reply, 200, embeddingsWhole(ask, answer));
}

function jobOf(id: string, ask: EmbeddingAsk, prompt: Job['prompt']): Job {
  return {
    id: id as RequestId,
    tenant: '' as TenantId,
    model: ask.model,
    prompt,
    sampling: GREEDY,
    outputTokensMax: 1,
    stop: [],
    shape: FREE,
    cacheSalt: ask.hints.cacheSalt ?? '',
    priority: ask.hints.priority,
    forcedOutput: undefined,
    engineData: false,
  };
}
