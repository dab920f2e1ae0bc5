/** What kernel and engine are told of a prompt that is computed ahead: as its thread's turns, but for one token. */
import type { RequestId, ThreadId } from '../../model/ids.ts';
import type { Arrival } from '../../model/kernel-io.ts';
import { type Chat, FREE, GREEDY, IDLE_PRIORITY } from '../../model/request.ts';
import type { EncodedPrompt, Job, PromptEncoder, Tokens } from '../../ports.ts';
import { saltOf } from '../prompt.ts';
import type { TurnAsked } from './prefill-ahead.ts';

/** A turn of a conversation that this gateway renders itself, in a thread. */
export interface Spoken {
  asked: TurnAsked;
  chat: Chat;
  ids: Uint32Array;
  thread: ThreadId;
  tokens: Tokens;
  prompts: PromptEncoder;
}

/** Undefined for all that is no turn an agent or a person goes on from. */
export function spokenOf(asked: TurnAsked): Spoken | undefined {
  const { ask, who, model, prompt } = asked;
  const { tokens, prompts } = model;
  const { thread, purpose, isFinal } = who;
  if (ask.prompt.kind !== 'chat' || prompt.job.kind !== 'tokens') return undefined;
  if (tokens === undefined || prompts === undefined || thread === undefined) return undefined;
  if (purpose.kind !== 'turn' || isFinal || ask.hints.whenIdle || ask.shape.choices > 1) {
    return undefined;
  }
  return { asked, chat: ask.prompt.chat, ids: prompt.job.ids, thread, tokens, prompts };
}

export function aheadArrival(id: RequestId, spoken: Spoken, encoded: EncodedPrompt): Arrival {
  const { asked, tokens } = spoken;
  const { ask, who, model } = asked;
  return {
    id,
    tenant: who.tenant,
    model: model.name,
    thread: undefined,
    promptTokens: encoded.ids.length,
    hashes: encoded.hashes,
    blockTokens: tokens.hasher.blockTokens,
    outputTokensMax: 1,
    priority: ask.hints.priority,
    whenIdle: true,
    wants: ask.hints.wants,
  };
}

export function aheadJob(id: RequestId, spoken: Spoken, ids: Uint32Array): Job {
  const { ask, who, model } = spoken.asked;
  return {
    id,
    tenant: who.tenant,
    model: model.name,
    prompt: { kind: 'tokens', ids },
    sampling: GREEDY,
    outputTokensMax: 1,
    stop: [],
    shape: FREE,
    cacheSalt: saltOf(ask, who),
    priority: IDLE_PRIORITY,
    forcedOutput: undefined,
    engineData: false,
    thread: spoken.thread,
  };
}

/** Leading ids of `next` that a turn has computed: those of its prompt, then of its answer. */
export function heldTokens(
  next: Uint32Array,
  prompt: Uint32Array,
  output: readonly number[],
): number {
  const most = Math.min(next.length, prompt.length + output.length);
  let held = 0;
  while (held < most) {
    const id = held < prompt.length ? prompt[held] : output[held - prompt.length];
    if (next[held] !== id) break;
    held++;
  }
  return held;
}
