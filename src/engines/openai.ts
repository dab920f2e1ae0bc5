/**
 * Anybody who speaks OpenAI's chat completions: conversations pass through, and what of a request an
 * upstream does not take is learnt from its refusals. Nothing of our users' names goes there.
 */
import { createHash } from 'node:crypto';
import type { GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import type { Embedding, Job } from '../ports.ts';
import { readEmbedding } from '../wire/openai-embeddings.ts';
import { UpstreamReader } from '../wire/openai-upstream.ts';
import { HostedEngine, type HostedGiven } from './hosted.ts';
import {
  answerFields,
  chatRequest,
  embeddingInput,
  type Fields,
  refuseForced,
  refuseFormat,
} from './openai-request.ts';
import { PartStream } from './part-stream.ts';
import { RefusedFields } from './refused-fields.ts';
import { TaughtParts } from './taught-parts.ts';

/** Not here: what a request is about, and what its answer must look like. */
const OPTIONAL = [
  ...['max_tokens', 'temperature', 'top_p', 'top_k', 'min_p', 'repetition_penalty', 'seed'],
  ...['frequency_penalty', 'presence_penalty', 'stream_options', 'parallel_tool_calls'],
  ...['reasoning_effort', 'chat_template_kwargs', 'prompt_cache_key'],
];

const NAME = 'An OpenAI-compatible upstream';

/** What was learnt of an upstream: it outlives the connections to it. */
export class OpenaiManners {
  readonly refused = new RefusedFields(OPTIONAL);
  /** Newer models of OpenAI count the answer's tokens under another name. */
  hasNewLimit = false;
  /** Whether it wants to see the reasoning of earlier turns: some do, others refuse it. */
  seesReasoning = false;

  learn(refusal: GatewayError): boolean {
    if (/reasoning_content/.test(refusal.message)) {
      this.seesReasoning = !this.seesReasoning;
      return true;
    }
    if (!this.hasNewLimit && this.refused.named(refusal) === 'max_tokens') {
      this.hasNewLimit = true;
      return true;
    }
    return this.refused.learn(refusal);
  }
}

export class OpenaiEngine extends HostedEngine<HostedGiven<OpenaiManners>> {
  generate(job: Job, signal: AbortSignal): AsyncIterable<Part> {
    refuseForced(job, NAME);
    refuseFormat(job, NAME);
    const { http, manners } = this.given;
    const ask = () => {
      const { path, body } = this.#request(job);
      const reader = new UpstreamReader(job.shape.choices);
      const events = http.stream(path, body, signal);
      return new PartStream(events, ({ data }) => reader.read(data));
    };
    return new TaughtParts(ask, (refusal) => manners.learn(refusal));
  }

  async embed(job: Job, signal: AbortSignal): Promise<Embedding> {
    const { http, model } = this.given;
    const body = { model, input: embeddingInput(job), encoding_format: 'base64' };
    return readEmbedding(await http.json('POST', '/v1/embeddings', body, signal));
  }

  #request(job: Job): { path: string; body: Fields } {
    const { prompt } = job;
    const { model, manners } = this.given;
    if (prompt.kind === 'chat') {
      const { chat_template_kwargs: _, ...fields } = chatRequest(job, prompt.chat, model);
      const variables = prompt.chat.templateArguments;
      const body = this.#polite({
        ...fields,
        ...(variables !== undefined && { chat_template_kwargs: variables }),
        prompt_cache_key: cacheKeyOf(job),
      });
      if (!manners.seesReasoning) body.messages = withoutReasoning(body.messages);
      return { path: '/v1/chat/completions', body };
    }
    const fields = { ...answerFields(job, model), logprobs: job.shape.logprobs };
    const text = prompt.kind === 'text' ? prompt.text : Array.from(prompt.ids);
    return { path: '/v1/completions', body: { ...this.#polite(fields), prompt: text } };
  }

  #polite(fields: Fields): Fields {
    const { refused, hasNewLimit } = this.given.manners;
    const { max_tokens: asked, ...body } = refused.without(fields);
    // What is as it would be anyway need not be said: some take no other value, and no mention of it.
    if (body.temperature === 1) delete body.temperature;
    if (body.top_p === 1) delete body.top_p;
    if (typeof asked !== 'number') return body;
    const most = Math.min(asked, refused.outputTokensMax ?? asked);
    return { ...body, [hasNewLimit ? 'max_completion_tokens' : 'max_tokens']: most };
  }
}

/** Turns of a thread find the machine that has its prefix; the name says nothing of whose it is. */
function cacheKeyOf({ thread, cacheSalt }: Job): string | undefined {
  if (thread === undefined) return undefined;
  return createHash('sha256').update(`${cacheSalt}\n${thread}`).digest('hex').slice(0, 32);
}

function withoutReasoning(messages: unknown): unknown {
  if (!Array.isArray(messages)) return messages;
  return messages.map(({ reasoning_content: _, ...message }: Fields) => message);
}
