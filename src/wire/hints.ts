/** What the OpenAI wires share beside messages: sampling and the `nvext` extension. */
import type { WorkerId } from '../model/ids.ts';
import type { WorkerWants } from '../model/kernel-io.ts';
import type { AskedSampling, Hints } from '../model/request.ts';
import {
  type Json,
  optionalBoolean,
  optionalCount,
  optionalList,
  optionalNumber,
  optionalObject,
  optionalString,
  string,
  tokenIds,
  wrong,
} from './fields.ts';
import type { Headers } from './headers.ts';
import { headedPriority, isForIdle, type Priority, readPriority } from './priority.ts';
import { readRetention } from './retention.ts';

/** What a request leaves out is left to its engine: vLLM has its model's `generation_config`. */
export function readSampling(body: Json): AskedSampling {
  const seed = body.seed;
  if (seed !== undefined && seed !== null && !Number.isSafeInteger(seed)) {
    throw wrong('seed', 'must be an integer');
  }
  return {
    temperature: optionalNumber(body.temperature, 'temperature', { min: 0, max: 2 }),
    topP: optionalNumber(body.top_p, 'top_p', { min: 0, max: 1 }),
    topK: readTopK(body),
    minP: optionalNumber(body.min_p, 'min_p', { min: 0, max: 1 }),
    repetitionPenalty: optionalNumber(body.repetition_penalty, 'repetition_penalty', {
      min: 0.01,
      max: 10,
    }),
    frequencyPenalty: optionalNumber(body.frequency_penalty, 'frequency_penalty', {
      min: -2,
      max: 2,
    }),
    presencePenalty: optionalNumber(body.presence_penalty, 'presence_penalty', {
      min: -2,
      max: 2,
    }),
    seed: typeof seed === 'number' ? seed >>> 0 : undefined,
  };
}

/** -1 and 0 mean off. */
function readTopK(body: Json): number | undefined {
  const topK = optionalNumber(body.top_k, 'top_k', { min: -1, max: 2 ** 31 - 1 });
  if (topK === undefined) return undefined;
  if (!Number.isInteger(topK)) throw wrong('top_k', 'must be an integer');
  return Math.max(0, topK);
}

/** `nvext` as Dynamo's frontend reads it, and what others mean the same by. Fields we do not know do not count. */
export function readHints(body: Json): Hints {
  const nvext = optionalObject(body.nvext, 'nvext') ?? {};
  const agent = optionalObject(nvext.agent_hints, 'nvext.agent_hints') ?? {};
  const control = optionalObject(nvext.session_control, 'nvext.session_control');
  const thread = optionalString(nvext.thread, 'nvext.thread');
  const said = optionalCount(nvext.said_tokens, 'nvext.said_tokens', 0);
  const characters = optionalCount(nvext.said_characters, 'nvext.said_characters', 0) ?? 0;
  const speculates = optionalBoolean(
    agent.speculative_prefill,
    'nvext.agent_hints.speculative_prefill',
  );
  const session = optionalString(control?.session_id, SESSION_CONTROL);
  const priority = readPriority(body, agent);
  const retention = readRetention(body, control);
  const salt = readSalt(body, nvext);
  const notes = [...priority.notes, ...retention.notes, ...salt.notes];
  return {
    ...prioritised(priority),
    ...(isForIdle(body) && { whenIdle: true as const }),
    outputTokensExpected: optionalCount(agent.osl, 'nvext.agent_hints.osl', 0),
    cacheSalt: salt.value,
    forcedOutput: Array.isArray(nvext.forced_output)
      ? tokenIds(nvext.forced_output, 'nvext.forced_output')
      : optionalString(nvext.forced_output, 'nvext.forced_output'),
    wants: readWants(optionalObject(nvext.routing, 'nvext.routing')),
    extraFields: optionalList(nvext.extra_fields, 'nvext.extra_fields').map((field, i) =>
      string(field, `nvext.extra_fields[${i}]`),
    ),
    ...(thread !== undefined && { thread }),
    ...(said !== undefined && { saidTokens: said, saidCharacters: characters }),
    ...(speculates !== undefined && { speculativePrefill: speculates }),
    ...(retention.us !== undefined && { retentionUs: retention.us }),
    ...(session !== undefined && session !== '' && { session }),
    ...(control?.action === 'close' && { endsSession: true as const }),
    ...(notes.length > 0 && { notes }),
  };
}

/** The field in which Dynamo's clients used to open, bind and close sessions. */
export const SESSION_CONTROL = 'nvext.session_control.session_id';

/** What headers say counts before the body. */
export function headedHints(hints: Hints, headers: Headers): Hints {
  const { priority: value, strictPriority: strict = 0, priorityBy: by } = hints;
  const said = headedPriority({ value, strict, by, notes: [] }, headers);
  const notes = [...(hints.notes ?? []), ...said.notes];
  return { ...hints, ...prioritised(said), ...(notes.length > 0 && { notes }) };
}

function prioritised({ value, strict, by }: Priority) {
  return {
    priority: value,
    ...(strict > 0 && { strictPriority: strict }),
    ...(by !== undefined && { priorityBy: by }),
  };
}

/** Ours and Dynamo's, or vLLM's at the root. */
function readSalt(body: Json, nvext: Json): { value: string | undefined; notes: string[] } {
  const inner = optionalString(nvext.cache_salt, 'nvext.cache_salt');
  const outer = optionalString(body.cache_salt, 'cache_salt');
  const differ = inner !== undefined && outer !== undefined && inner !== outer;
  const notes = differ ? ['cache_salt differs from nvext.cache_salt, which counts.'] : [];
  return { value: inner ?? outer, notes };
}

/** `nvext.routing`: what the request asks of the worker that serves it. */
function readWants(routing: Json | undefined): WorkerWants | undefined {
  if (routing === undefined) return undefined;
  const labels = optionalObject(routing.labels, 'nvext.routing.labels') ?? {};
  const tolerations = optionalList(routing.tolerations, 'nvext.routing.tolerations');
  return {
    worker: optionalString(routing.worker, 'nvext.routing.worker') as WorkerId | undefined,
    adapter: optionalString(routing.adapter, 'nvext.routing.adapter'),
    tolerations: tolerations.map((taint, i) => string(taint, `nvext.routing.tolerations[${i}]`)),
    labels: Object.entries(labels).map(([name, value]): [string, string] => [
      name,
      string(value, `nvext.routing.labels.${name}`),
    ]),
  };
}
