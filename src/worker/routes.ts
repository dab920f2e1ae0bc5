/**
 * What a worker answers: the routes of a vLLM server, and Stator's own. It renders and tokenizes by
 * itself, so that it also serves behind anybody else's router.
 */
import { type Call, replyJson } from '../http/call.ts';
import { jsonBody } from '../http/json-body.ts';
import { errorHeaders, type Route } from '../http/router.ts';
import { asGatewayError, GatewayError } from '../model/error.ts';
import type { RequestId, TenantId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Chat, Hints } from '../model/request.ts';
import type { WorkerCard } from '../model/worker-card.ts';
import type { Engine, Job, PartParser, Said, Tokens } from '../ports.ts';
import { AnswerFold } from '../wire/answer.ts';
import { object } from '../wire/fields.ts';
import type { KvEventLog } from '../wire/kv-event-log.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { openaiCompletions } from '../wire/openai-completions.ts';
import { parsed } from '../wire/parsed.ts';
import type { Ask, Opening, Wire } from '../wire/wire.ts';
import { embeddings } from './embeddings.ts';
import { kvEvents } from './kv-events.ts';
import { workerMetrics } from './metrics.ts';
import { RequestMetrics } from './request-metrics.ts';
import { checkSecret } from './secret.ts';

export interface WorkerParts {
  engine: Engine;
  tokens: Tokens;
  card: () => WorkerCard;
  /** A conversation as text, where the model's own template could not be compiled. */
  foreignRender: ((chat: Chat) => Promise<string>) | undefined;
  kvSecret: string | undefined;
  /** What was told of its KV blocks. */
  events: KvEventLog;
}

/** With what is counted while it serves. */
type Served = WorkerParts & { requests: RequestMetrics };

export function workerRoutes(parts: WorkerParts): Map<string, Route> {
  const { engine, tokens, card } = parts;
  const model = () => card().model;
  const requests = new RequestMetrics(() => performance.now());
  const served = { ...parts, requests };
  return new Map<string, Route>([
    ['POST /v1/completions', (call) => generate(call, openaiCompletions, served)],
    ['POST /v1/chat/completions', (call) => generate(call, openaiChat, served)],
    ['POST /v1/embeddings', (call) => embeddings(call, { engine, model: model().name })],
    ['GET /v1/models', (call) => replyJson(call.reply, 200, modelList(model()))],
    ['POST /tokenize', (call) => tokenize(call, tokens)],
    ['POST /detokenize', (call) => detokenize(call, tokens)],
    ['GET /health', (call) => health(call, engine)],
    ['GET /version', (call) => replyJson(call.reply, 200, { version: card().stator })],
    ['GET /metrics', (call) => metrics(call, served)],
    ['GET /stator/v1/card', (call) => replyJson(call.reply, 200, card())],
    ['GET /stator/v1/report', async (call) => replyJson(call.reply, 200, await engine.report())],
    ['GET /stator/v1/kv-events', (call) => told(call, parts)],
    ['POST /reset_prefix_cache', (call) => reset(call, parts)],
  ]);
}

/** Events hold the ids of prompts: they are for whoever started this worker. */
async function told(call: Call, { kvSecret, events }: WorkerParts): Promise<void> {
  if (kvSecret !== undefined) checkSecret(call, kvSecret);
  await kvEvents(call, events);
}

async function generate(call: Call, wire: Wire, parts: Served): Promise<void> {
  const leaving = new AbortController();
  const leave = () => leaving.abort();
  call.signal.addEventListener('abort', leave, { once: true });
  try {
    const ask = wire.parse(await jsonBody(call));
    const { name } = parts.card().model;
    if (ask.model !== name) {
      throw new GatewayError('model_not_found', `This worker serves ${JSON.stringify(name)} only.`);
    }
    const { job, parser } = await jobOf(call, ask, parts);
    const answer = parts.requests.watch(job, parts.engine.generate(job, leaving.signal));
    const { oneCall } = ask.shape;
    const isWhole = parser === undefined && oneCall !== true;
    await send(call, wire, ask, isWhole ? answer : parsed(answer, { parser, oneCall }));
  } catch (thrown) {
    // A stream that broke off must not look like one that ended.
    if (call.reply.headSent) return call.reply.destroy();
    const error = asGatewayError(thrown);
    replyJson(call.reply, error.status, wire.error(error), errorHeaders(call.requestId, error));
  } finally {
    call.signal.removeEventListener('abort', leave);
    leaving.abort();
  }
}

async function send(call: Call, wire: Wire, ask: Ask, parts: AsyncIterable<Part>): Promise<void> {
  const opening: Opening = {
    id: `cmpl-${call.requestId}`,
    createdS: Math.floor(Date.now() / 1000),
    model: ask.model,
    promptTokens: undefined,
  };
  if (!ask.stream) {
    const fold = new AnswerFold();
    for await (const part of parts) fold.add(part);
    if (fold.error !== undefined) throw fold.error;
    const answer = fold.answer(undefined);
    if (answer === undefined) throw new GatewayError('engine_failed', 'The answer broke off.');
    return replyJson(call.reply, 200, wire.whole(ask, opening, answer));
  }
  const framer = wire.framer(ask, opening);
  let begun = false;
  for await (const part of parts) {
    let text = framer.part(part);
    if (!begun) {
      begun = true;
      if (part.kind === 'error') throw part.error;
      call.reply.head(200, { 'content-type': 'text/event-stream; charset=utf-8' });
      text = framer.open() + text;
    }
    if (text !== '') await call.reply.write(text);
  }
  call.reply.end();
}

async function jobOf(
  call: Call,
  ask: Ask,
  { tokens, foreignRender }: WorkerParts,
): Promise<{ job: Job; parser: (() => PartParser) | undefined }> {
  const { prompt, hints } = ask;
  let input: Job['prompt'];
  let parser: (() => PartParser) | undefined;
  let { shape } = ask;
  let said: Said | undefined;
  if (prompt.kind === 'tokens') {
    ({ input, said } = asked(prompt.ids, hints));
  } else if (prompt.kind === 'text') {
    input = { kind: 'tokens', ids: tokens.encode(prompt.text) };
  } else if (foreignRender !== undefined) {
    input = { kind: 'tokens', ids: tokens.encode(await foreignRender(prompt.chat)) };
  } else {
    input = { kind: 'tokens', ids: tokens.encode(tokens.render(prompt.chat)) };
    parser = () => tokens.parser(prompt.chat);
    if (shape.format !== undefined) shape = { ...shape, frame: tokens.frame(prompt.chat) };
  }
  const job: Job = {
    id: call.requestId as RequestId,
    tenant: '' as TenantId,
    model: ask.model,
    prompt: input,
    sampling: ask.sampling,
    outputTokensMax: ask.outputTokensMax,
    stop: ask.stop,
    shape,
    cacheSalt: hints.cacheSalt ?? '',
    priority: hints.priority,
    forcedOutput: hints.forcedOutput,
    engineData: hints.extraFields.includes('engine_data'),
    ...(hints.thread !== undefined && { thread: hints.thread }),
    ...(said !== undefined && { said }),
  };
  return { job, parser };
}

/** What was asked, and behind it what another worker had answered. */
function asked(
  ids: Uint32Array,
  { saidTokens = 0, saidCharacters: characters = 0 }: Hints,
): { input: Job['prompt']; said?: Said } {
  if (saidTokens === 0) return { input: { kind: 'tokens', ids } };
  const promptTokens = ids.length - saidTokens;
  if (promptTokens < 1) {
    throw new GatewayError(
      'invalid_request',
      'nvext.said_tokens must leave a prompt before them.',
      {
        param: 'nvext.said_tokens',
      },
    );
  }
  return {
    input: { kind: 'tokens', ids: ids.subarray(0, promptTokens) },
    said: {
      ids: ids.subarray(promptTokens),
      text: '',
      characters,
      tokens: saidTokens,
      isPlain: true,
    },
  };
}

async function health(call: Call, engine: Engine): Promise<void> {
  const healthy = await engine.healthy();
  replyJson(call.reply, healthy ? 200 : 503, { status: healthy ? 'ok' : 'the engine failed' });
}

async function metrics(call: Call, { engine, card, requests }: Served): Promise<void> {
  const report = await engine.report();
  call.reply.head(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  call.reply.end(report === undefined ? '' : workerMetrics(card(), report, requests));
}

/** Only whoever started this worker may empty its cache. */
async function reset(call: Call, { engine, kvSecret }: WorkerParts): Promise<void> {
  if (kvSecret !== undefined) checkSecret(call, kvSecret);
  await engine.resetCache();
  replyJson(call.reply, 200, { reset: true });
}

async function tokenize(call: Call, tokens: Tokens): Promise<void> {
  const body = object(await jsonBody(call), 'body');
  let ids: Uint32Array;
  if (typeof body.prompt === 'string') {
    ids = tokens.encode(body.prompt);
  } else {
    const { prompt } = openaiChat.parse(body);
    if (prompt.kind !== 'chat')
      throw new GatewayError('invalid_request', 'Send prompt or messages.');
    ids = tokens.encode(tokens.render(prompt.chat));
  }
  replyJson(call.reply, 200, { tokens: Array.from(ids), count: ids.length });
}

async function detokenize(call: Call, tokens: Tokens): Promise<void> {
  const { tokens: ids } = object(await jsonBody(call), 'body');
  if (!Array.isArray(ids) || !ids.every((id) => Number.isInteger(id) && id >= 0)) {
    throw new GatewayError('invalid_request', 'tokens must be a list of token ids.', {
      param: 'tokens',
    });
  }
  const beyond = ids.find((id: number) => id >= tokens.vocabularySize);
  if (beyond !== undefined) {
    throw new GatewayError('invalid_request', `Token id ${beyond} is not in the vocabulary.`);
  }
  const decoder = tokens.decoder();
  const prompt = ids.map((id: number) => decoder.push(id)).join('') + decoder.flush();
  replyJson(call.reply, 200, { prompt });
}

function modelList(model: WorkerCard['model']) {
  const { name, contextTokens } = model;
  const entry = { id: name, object: 'model', owned_by: 'stator', max_model_len: contextTokens };
  return { object: 'list', data: [entry] };
}
