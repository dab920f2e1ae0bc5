/** What a response object repeats of its request, with what the API says where the request does not. */
import { type AskedSampling, PLAIN } from '../model/request.ts';
import {
  type Json,
  optionalCount,
  optionalList,
  optionalObject,
  optionalString,
  wrong,
} from './fields.ts';

const METADATA_MAX = 16;

/**
 * `store`, `background` and references to what came before are told as this wire serves them: not at
 * all. Whoever does serve them says so with `echoing`.
 */
export function readEcho(body: Json, sampling: AskedSampling): Json {
  const reasoning = optionalObject(body.reasoning, 'reasoning');
  const retention = optionalString(body.prompt_cache_retention, 'prompt_cache_retention');
  const user = optionalString(body.user, 'user');
  const tier = optionalString(body.service_tier, 'service_tier') ?? 'auto';
  return {
    instructions: optionalString(body.instructions, 'instructions') ?? null,
    previous_response_id: null,
    tools: optionalList(body.tools, 'tools').map(echoTool),
    tool_choice: body.tool_choice ?? 'auto',
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    truncation: echoTruncation(body.truncation),
    text: echoText(body.text),
    temperature: sampling.temperature ?? PLAIN.temperature,
    top_p: sampling.topP ?? PLAIN.topP,
    presence_penalty: sampling.presencePenalty ?? PLAIN.presencePenalty,
    frequency_penalty: sampling.frequencyPenalty ?? PLAIN.frequencyPenalty,
    top_logprobs: body.top_logprobs ?? 0,
    reasoning: { effort: reasoning?.effort ?? null, summary: reasoning?.summary ?? null },
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: optionalCount(body.max_tool_calls, 'max_tool_calls', 1) ?? null,
    store: false,
    background: false,
    service_tier: tier === 'auto' ? 'default' : tier,
    metadata: echoMetadata(body.metadata),
    safety_identifier: optionalString(body.safety_identifier, 'safety_identifier') ?? null,
    prompt_cache_key: body.prompt_cache_key ?? null,
    ...(retention !== undefined && { prompt_cache_retention: retention }),
    ...(user !== undefined && { user }),
  };
}

/** Clients check their own tools against a schema in which these fields must be there. */
function echoTool(value: unknown): unknown {
  const tool = value as Json;
  if (tool.type !== 'function') return tool;
  const { description = null, parameters = null, strict = null } = tool;
  return { ...tool, description, parameters, strict };
}

/** Nothing is ever cut out of a prompt here: what is too long is refused, whatever was asked. */
function echoTruncation(value: unknown): string {
  const truncation = optionalString(value, 'truncation');
  if (truncation === undefined || truncation === 'auto' || truncation === 'disabled') {
    return 'disabled';
  }
  throw wrong('truncation', 'must be auto or disabled');
}

function echoText(value: unknown): Json {
  const text = optionalObject(value, 'text');
  const format = optionalObject(text?.format, 'text.format') ?? { type: 'text' };
  const verbosity = optionalString(text?.verbosity, 'text.verbosity') ?? 'medium';
  if (format.type !== 'json_schema') return { format, verbosity };
  const { description = null, strict = false } = format;
  return { format: { ...format, description, strict: strict ?? false }, verbosity };
}

function echoMetadata(value: unknown): Json {
  const metadata = optionalObject(value, 'metadata') ?? {};
  const entries = Object.entries(metadata);
  if (entries.length > METADATA_MAX) throw wrong('metadata', 'may hold at most 16 pairs');
  for (const [key, one] of entries) {
    if (typeof one !== 'string') throw wrong(`metadata.${key.slice(0, 64)}`, 'must be a string');
  }
  return metadata;
}
