/**
 * Anybody who speaks Anthropic's Messages: conversations pass through, marked where they are worth being
 * cached. What a model does not take is learnt from its refusals: those of one vendor differ.
 */
import { Lru } from '../base/lru.ts';
import { GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import type { Chat } from '../model/request.ts';
import type { Embedding, Job } from '../ports.ts';
import { type Block, messagesFields, type ThinkingStyle } from '../wire/anthropic-upstream.ts';
import { AnthropicReader } from '../wire/anthropic-upstream-reader.ts';
import { HostedEngine, type HostedGiven } from './hosted.ts';
import { type Fields, refuseForced } from './openai-request.ts';
import { PartStream } from './part-stream.ts';
import { RefusedFields } from './refused-fields.ts';
import { TaughtParts } from './taught-parts.ts';

const OPTIONAL = ['temperature', 'top_p', 'top_k', 'output_config'];

/** Calls whose thinking is remembered: an agent's last few hundred turns. */
const THOUGHTS_MAX = 4096;

const NAME = 'An Anthropic-compatible upstream';

/** What was learnt of an upstream: it outlives the connections to it. */
export class AnthropicManners {
  readonly refused = new RefusedFields(OPTIONAL);
  /** Newer models think as they see fit, and older ones know only budgets. */
  thinking: ThinkingStyle = 'adaptive';
  /** By the call that followed it. */
  readonly thoughts = new Lru<string, readonly Block[]>(THOUGHTS_MAX);

  learn(refusal: GatewayError): boolean {
    const { message } = refusal;
    if (/\bsignature\b/.test(message) && this.thoughts.size > 0) {
      this.thoughts.clear();
      return true;
    }
    if (/\bthinking\b|\badaptive\b|budget_tokens/.test(message) && this.thinking !== 'none') {
      this.thinking = this.thinking === 'adaptive' ? 'budget' : 'none';
      return true;
    }
    return this.refused.learn(refusal);
  }
}

interface AnthropicGiven extends HostedGiven<AnthropicManners> {
  /** Asked for where a client says nothing: the API wants a number. */
  outputTokensMax: number;
}

export class AnthropicEngine extends HostedEngine<AnthropicGiven> {
  generate(job: Job, signal: AbortSignal): AsyncIterable<Part> {
    const chat = chatOf(job);
    const { http, manners } = this.given;
    const { thoughts } = manners;
    const ask = () => {
      const reader = new AnthropicReader((id, blocks) => thoughts.set(id, blocks));
      const events = http.stream('/v1/messages', this.#body(job, chat), signal);
      return new PartStream(events, ({ data }) => reader.read(data));
    };
    return new TaughtParts(ask, (refusal) => manners.learn(refusal));
  }

  async embed(): Promise<Embedding> {
    throw new GatewayError('invalid_request', `${NAME} makes no embeddings.`, { param: 'model' });
  }

  #body(job: Job, chat: Chat): Fields {
    const { sampling, stop, shape } = job;
    const { temperature = 1, topP = 1, topK = 0 } = sampling;
    const { model, manners } = this.given;
    const { refused, thinking, thoughts } = manners;
    const asked = job.outputTokensMax ?? this.given.outputTokensMax;
    const outputTokensMax = Math.min(asked, refused.outputTokensMax ?? asked);
    const isOne = shape.oneCall === true || (shape.format?.kind === 'calls' && !shape.format.many);
    const { output_config: effort, ...fields } = messagesFields(chat, {
      ...{ outputTokensMax, thinking },
      thoughts: (callId) => thoughts.get(callId),
      oneCall: isOne,
    });
    const format = formatOf(job);
    const body = {
      model,
      max_tokens: outputTokensMax,
      stream: true,
      ...fields,
      ...((effort || format) && { output_config: { ...(effort as Fields), ...format } }),
      ...(stop.length > 0 && { stop_sequences: stop }),
      // Beside thinking a model takes none of these.
      ...(fields.thinking === undefined && {
        // Theirs ends at 1, and goes with no other.
        ...(temperature !== 1 && { temperature: Math.min(1, temperature) }),
        ...(topP !== 1 && temperature === 1 && { top_p: topP }),
        ...(topK > 0 && { top_k: topK }),
      }),
    };
    return refused.without(body);
  }
}

/** Throws where the API has nothing that means the same. */
function chatOf(job: Job): Chat {
  refuseForced(job, NAME);
  const { prompt, shape, model } = job;
  const nope = (claim: string, param: string) =>
    new GatewayError('invalid_request', `${NAME} ${claim}.`, { param });
  if (shape.choices > 1) throw nope('gives one answer to a prompt', 'n');
  if (shape.logprobs !== undefined) throw nope('tells no log probabilities', 'logprobs');
  if (shape.format !== undefined && !['schema', 'calls', 'noCalls'].includes(shape.format.kind)) {
    throw nope('enforces JSON Schema only', 'response_format');
  }
  if (prompt.kind === 'tokens') throw nope('takes no token ids', 'prompt');
  if (prompt.kind === 'chat') return prompt.chat;
  return {
    model,
    messages: [{ role: 'user', content: [{ kind: 'text', text: prompt.text }] }],
    tools: [],
    toolChoice: { kind: 'auto' },
    thinking: undefined,
  };
}

function formatOf({ shape }: Job): Fields | undefined {
  if (shape.format?.kind !== 'schema') return undefined;
  return { format: { type: 'json_schema', schema: shape.format.schema } };
}
