/** A job as a vLLM server wants to be asked: token ids or text as a completion, else as a chat. */
import { GatewayError } from '../model/error.ts';
import type { AnswerFrame, Format } from '../model/request.ts';
import type { Job } from '../ports.ts';
import { extraFields } from '../wire/extras.ts';
import { ticketFields } from '../wire/handoff.ts';
import { kvHints } from '../wire/kv-hints.ts';
import { chatFields } from '../wire/openai-upstream.ts';
import { formatFields } from '../wire/shape.ts';
import { constraintOf } from './grammar/constraint.ts';
import { jsonWithIds } from './id-list.ts';
import { samplingFields } from './openai-request.ts';

export interface VllmDialect {
  /** Its name of the model. */
  model: string;
  /** Whether it schedules by priority; an older one refuses requests that have any. */
  takesPriority: boolean;
  takesKvHints: boolean;
  /** Before 0.11 formats are `guided_json` and so on. */
  hasStructuredOutputs: boolean;
}

export interface VllmRequest {
  path: string;
  /** JSON already where it is bytes. */
  body: Record<string, unknown> | Uint8Array;
}

/** Throws a `GatewayError` for what no vLLM does. */
export function vllmRequest(job: Job, dialect: VllmDialect): VllmRequest {
  if (job.forcedOutput !== undefined) {
    throw new GatewayError('invalid_request', 'vLLM cannot be made to say a given text.', {
      param: 'nvext.forced_output',
    });
  }
  const { prompt, shape, extras } = job;
  const truncated = { truncate_prompt_tokens: extras?.promptTokensMax };
  if (prompt.kind === 'chat') {
    const { logprobs } = shape;
    const likely = logprobs === undefined ? {} : { logprobs: true, top_logprobs: logprobs };
    const format = renamed(formatFields(shape.format), dialect);
    const own = { ...truncated, skip_special_tokens: extras?.skipSpecialTokens };
    const chat = { ...chatFields(prompt.chat), ...format, ...own };
    return {
      path: '/v1/chat/completions',
      body: { ...fieldsOf(job, dialect), ...likely, ...chat },
    };
  }
  const path = '/v1/completions';
  const completion = {
    ...fieldsOf(job, dialect),
    // Absent would mean 16.
    max_tokens: job.outputTokensMax ?? null,
    logprobs: shape.logprobs,
    return_token_ids: true,
    // Reasoning and calls are told apart here, by tokens that some models have as special ones.
    skip_special_tokens: extras?.skipSpecialTokens ?? false,
    spaces_between_special_tokens: false,
    ...renamed(completionFormat(shape.format, shape.frame), dialect),
  };
  if (prompt.kind === 'text') {
    return { path, body: { ...completion, ...truncated, prompt: prompt.text } };
  }
  return { path, body: jsonWithIds(completion, 'prompt', idsOf(job, prompt.ids)) };
}

/** With what was said already: the answer goes on behind it. */
function idsOf({ said }: Job, ids: Uint32Array): Uint32Array {
  if (said?.ids === undefined) return ids;
  const all = new Uint32Array(ids.length + said.ids.length);
  all.set(ids);
  all.set(said.ids, ids.length);
  return all;
}

function fieldsOf(job: Job, dialect: VllmDialect): Record<string, unknown> {
  const { model, takesPriority, takesKvHints } = dialect;
  const { id, sampling, shape, thread, outlook } = job;
  const isTold = takesKvHints && thread !== undefined && outlook !== undefined;
  return {
    // To vLLM an adapter is one more model.
    model: job.adapter ?? model,
    stream: true,
    stream_options: { include_usage: true },
    ...samplingFields(sampling),
    max_tokens: job.outputTokensMax,
    stop: job.stop.length > 0 ? job.stop : undefined,
    ...extraFields(job.extras),
    cache_salt: job.cacheSalt === '' ? undefined : job.cacheSalt,
    // vLLM's falls with importance.
    priority: takesPriority && job.priority !== 0 ? -job.priority : undefined,
    kv_hints: isTold ? kvHints({ id, thread }, outlook) : undefined,
    n: shape.choices > 1 ? shape.choices : undefined,
    ...ticketFields(job.ticket),
  };
}

/**
 * A completion knows nothing of tools, and nothing of reasoning that goes before what was asked for:
 * then the whole answer is written as one grammar.
 */
function completionFormat(format: Format | undefined, frame: AnswerFrame): Record<string, unknown> {
  if (format === undefined || format.kind === 'noCalls') return {};
  const isPlain = format.kind !== 'calls' && frame.reasoning === undefined;
  if (isPlain || format.kind === 'grammar') return formatFields(format);
  const constraint = constraintOf(format, frame, { isNoise: false });
  return constraint === undefined ? {} : { structured_outputs: { grammar: constraint.gbnf } };
}

function renamed(
  fields: Record<string, unknown>,
  { hasStructuredOutputs }: VllmDialect,
): Record<string, unknown> {
  const { structured_outputs: outputs, ...rest } = fields;
  if (hasStructuredOutputs || outputs === undefined) return fields;
  const { json_object: isJson, ...named } = outputs as Record<string, unknown>;
  const guided = Object.entries(named).map(([name, value]) => [`guided_${name}`, value]);
  if (isJson === true) guided.push(['response_format', { type: 'json_object' }]);
  return { ...rest, ...Object.fromEntries(guided) };
}
