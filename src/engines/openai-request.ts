/** A job as OpenAI's chat completions take it, with what nearly every engine beside OpenAI takes too. */
import { GatewayError } from '../model/error.ts';
import type { AskedSampling, Chat, Format } from '../model/request.ts';
import type { Job } from '../ports.ts';
import { chatFields } from '../wire/openai-upstream.ts';

export type Fields = Record<string, unknown>;

/** What was asked for, and no more: the rest is as the server, or its model's configuration, has it. */
export function samplingFields(sampling: AskedSampling): Fields {
  return {
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK,
    min_p: sampling.minP,
    repetition_penalty: sampling.repetitionPenalty,
    frequency_penalty: sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty,
    seed: sampling.seed,
  };
}

/** Of any prompt; `undefined` fields are left out. */
export function answerFields(job: Job, model: string): Fields {
  const { sampling, stop, shape } = job;
  return {
    model,
    stream: true,
    stream_options: { include_usage: true },
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK === 0 ? undefined : sampling.topK,
    min_p: sampling.minP === 0 ? undefined : sampling.minP,
    repetition_penalty: sampling.repetitionPenalty === 1 ? undefined : sampling.repetitionPenalty,
    frequency_penalty: sampling.frequencyPenalty === 0 ? undefined : sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty === 0 ? undefined : sampling.presencePenalty,
    seed: sampling.seed,
    max_tokens: job.outputTokensMax,
    stop: stop.length > 0 ? stop : undefined,
    n: shape.choices > 1 ? shape.choices : undefined,
  };
}

/** Of a conversation that the engine renders itself. */
export function chatRequest(job: Job, chat: Chat, model: string): Fields {
  const { format, logprobs, oneCall } = job.shape;
  const isOne = oneCall === true || (format?.kind === 'calls' && !format.many);
  return {
    ...answerFields(job, model),
    ...(logprobs !== undefined && { logprobs: true, top_logprobs: logprobs }),
    ...chatFields(withoutNames(chat)),
    response_format: responseFormat(format),
    ...(isOne && chat.tools.length > 0 && { parallel_tool_calls: false }),
  };
}

/** Calls are asked for by `tool_choice`; what few engines enforce is theirs to add. */
export function responseFormat(format: Format | undefined): unknown {
  if (format?.kind === 'json') return { type: 'json_object' };
  if (format?.kind !== 'schema') return undefined;
  return { type: 'json_schema', json_schema: { name: 'answer', schema: format.schema } };
}

/** A choice of some of the tools becomes one of all there are: few engines know the former. */
function withoutNames(chat: Chat): Chat {
  const { toolChoice, tools } = chat;
  if (toolChoice.kind !== 'required' || toolChoice.names === undefined) return chat;
  const { names } = toolChoice;
  const some = tools.filter(({ name }) => names.includes(name));
  return { ...chat, tools: some, toolChoice: { kind: 'required' } };
}

/** Throws where a job asks for what only workers of ours do. */
export function refuseForced({ forcedOutput }: Job, engine: string): void {
  if (forcedOutput === undefined) return;
  throw new GatewayError('invalid_request', `${engine} cannot be made to say a given text.`, {
    param: 'nvext.forced_output',
  });
}

/** Throws where a format is one that the engine does not enforce. */
export function refuseFormat({ shape }: Job, engine: string): void {
  const kind = shape.format?.kind;
  if (kind !== 'regex' && kind !== 'choice' && kind !== 'grammar') return;
  throw new GatewayError(
    'invalid_request',
    `${engine} enforces JSON and JSON Schema only; ask for response_format json_schema.`,
    { param: 'response_format' },
  );
}

/** The prompt's ids, with what was said of the answer already: it goes on behind that. */
export function promptIds({ said }: Job, ids: Uint32Array): Uint32Array {
  if (said?.ids === undefined) return ids;
  const all = new Uint32Array(ids.length + said.ids.length);
  all.set(ids);
  all.set(said.ids, ids.length);
  return all;
}

/** What can be embedded: text, or ids. */
export function embeddingInput({ prompt }: Job): string | number[] {
  if (prompt.kind === 'tokens') return Array.from(prompt.ids);
  if (prompt.kind === 'text') return prompt.text;
  throw new GatewayError('invalid_request', 'Only text or token ids can be embedded.');
}
