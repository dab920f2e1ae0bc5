/**
 * Counting without generating: prompts go the way they go when they are served, up to the tokens.
 *
 *   /tokenize, /detokenize        vLLM's shapes, ids and all
 *   /v1/messages/count_tokens     Anthropic's
 *   /v1/responses/input_tokens    OpenAI's
 *
 * Models whose prompts pass through have no tokenizer here: they are refused in a sentence.
 */
import { must } from '../base/assert.ts';
import { type Call, replyJson } from '../http/call.ts';
import { jsonBody } from '../http/json-body.ts';
import type { Route } from '../http/router.ts';
import { asGatewayError, GatewayError } from '../model/error.ts';
import { FREE, GREEDY, NO_HINTS } from '../model/request.ts';
import type { Sink, Tokens } from '../ports.ts';
import { anthropicMessages } from '../wire/anthropic-messages.ts';
import { type Json, list, object, optionalBoolean, string, wrong } from '../wire/fields.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { openaiResponses } from '../wire/responses.ts';
import type { Ask, Prompt } from '../wire/wire.ts';
import type { Access } from './access.ts';
import { identify } from './identify.ts';
import type { Models, ServedModel } from './models.ts';
import type { Normalizer } from './normalize/normalizer.ts';
import { promptOf, refuseTooMany } from './prompt.ts';
import { whereFrom } from './serve.ts';

export interface TokenParts {
  access: Access;
  models: Models;
  normalizer: Normalizer;
  sink: Sink;
}

interface Counted {
  ids: Uint32Array;
  model: ServedModel;
}

type Read = (body: Json, models: Models) => Ask;

export function tokenRoutes(parts: TokenParts): Map<string, Route> {
  const counting = (read: Read, shape: (counted: Counted) => unknown): Route => {
    return async (call) => {
      const counted = await count(call, read, parts).catch((thrown: unknown) => {
        if (asGatewayError(thrown).code === 'internal') {
          const sentence = `internal error: ${whereFrom(thrown)}`;
          parts.sink.note({ kind: 'warning', sentence });
        }
        throw thrown;
      });
      replyJson(call.reply, 200, shape(counted));
    };
  };
  return new Map<string, Route>([
    ['POST /tokenize', counting(readTokenize, tokenized)],
    ['POST /detokenize', (call) => detokenize(call, parts)],
    [
      'POST /v1/messages/count_tokens',
      counting(readMessages, ({ ids }) => ({ input_tokens: ids.length })),
    ],
    [
      'POST /v1/responses/input_tokens',
      counting(openaiResponses.parse, ({ ids }) => ({
        object: 'response.input_tokens',
        input_tokens: ids.length,
      })),
    ],
  ]);
}

async function count(call: Call, read: Read, parts: TokenParts): Promise<Counted> {
  const { access, models, normalizer } = parts;
  const { tenant } = access.caller(call);
  const ask = read(object(await jsonBody(call), 'the body'), models);
  const model = models.find(ask.model);
  refuseTooMany(ask, model);
  tokensOf(model);
  const who = identify(tenant, call.headers, ask.names);
  const { job } = await promptOf(normalizer.counted(ask), model, who);
  if (job.kind === 'tokens') return { ids: job.ids, model };
  throw unknownTokens(model);
}

/** Without a bound on the answer, which nobody asked for. */
function readMessages(body: Json): Ask {
  return anthropicMessages.parse({ ...body, max_tokens: 1 });
}

/**
 * `add_special_tokens` changes nothing: as when they are served, conversations get what their template
 * writes, and texts get none.
 */
function readTokenize(body: Json, models: Models): Ask {
  const model = modelName(body, models);
  optionalBoolean(body.add_special_tokens, 'add_special_tokens');
  for (const field of ['return_token_strs', 'continue_final_message']) {
    if (optionalBoolean(body[field], field)) throw wrong(field, 'is not served');
  }
  if (body.chat_template != null) throw wrong('chat_template', 'is not taken from a request');
  if (body.prompt === undefined && body.messages !== undefined) {
    const ask = openaiChat.parse({ ...body, model });
    const opens = optionalBoolean(body.add_generation_prompt, 'add_generation_prompt') ?? true;
    if (ask.prompt.kind !== 'chat' || opens) return ask;
    const chat = { ...ask.prompt.chat, generationPrompt: false };
    return { ...ask, prompt: { kind: 'chat', chat } };
  }
  if (body.prompt === undefined) throw wrong('prompt', 'or messages must be given');
  return askOf(model, { kind: 'text', text: string(body.prompt, 'prompt') });
}

function tokenized({ ids, model }: Counted): unknown {
  return {
    count: ids.length,
    max_model_len: model.contextTokens,
    tokens: Array.from(ids),
    token_strs: null,
  };
}

async function detokenize(call: Call, { access, models }: TokenParts): Promise<void> {
  access.caller(call);
  const body = object(await jsonBody(call), 'the body');
  const model = models.find(modelName(body, models));
  const tokens = tokensOf(model);
  const ids = list(body.tokens, 'tokens');
  if (ids.length > model.contextTokens) {
    throw new GatewayError(
      'context_length_exceeded',
      `This model's context is ${model.contextTokens} tokens, but tokens has ${ids.length}.`,
      { param: 'tokens' },
    );
  }
  const decoder = tokens.decoder();
  let prompt = '';
  ids.forEach((id, i) => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= tokens.vocabularySize) {
      throw wrong(`tokens[${i}]`, `must be a token id below ${tokens.vocabularySize}`);
    }
    // Answers leave special tokens out; here all that was encoded comes back, as from vLLM.
    const special = tokens.specials.get(id);
    prompt += special === undefined ? decoder.push(id) : decoder.flush() + special;
  });
  replyJson(call.reply, 200, { prompt: prompt + decoder.flush() });
}

/** vLLM's clients may leave the model out: where there is one, it is meant. */
function modelName(body: Json, models: Models): string {
  if (body.model !== undefined && body.model !== null) return string(body.model, 'model');
  const names = models.up().map(({ name }) => name);
  if (names.length === 1) return must(names[0], 'one model is up');
  throw wrong('model', `must name one of the ${names.length} models that are served`);
}

function askOf(model: string, prompt: Prompt): Ask {
  return {
    model,
    prompt,
    sampling: GREEDY,
    outputTokensMax: undefined,
    stop: [],
    shape: FREE,
    hints: NO_HINTS,
    stream: false,
    includeUsage: false,
    names: [],
  };
}

function tokensOf(model: ServedModel): Tokens {
  if (model.tokens === undefined) throw unknownTokens(model);
  return model.tokens;
}

function unknownTokens({ name }: ServedModel): GatewayError {
  return new GatewayError(
    'invalid_request',
    `Prompts of ${JSON.stringify(name)} pass through as they come, so its tokens are not known here; ask its engine.`,
    { param: 'model' },
  );
}
