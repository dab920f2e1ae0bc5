/** A request's prompt as the kernel and an engine need it: tokens where we know them, text where not. */
import { GatewayError } from '../model/error.ts';
import type { RequestId } from '../model/ids.ts';
import type { Arrival, WorkerWants } from '../model/kernel-io.ts';
import type { KvOutlook } from '../model/kv-control.ts';
import {
  type AnswerFrame,
  type EngineExtras,
  type Hints,
  IDLE_PRIORITY,
} from '../model/request.ts';
import type { Identity } from '../model/session.ts';
import type { EncodedPrompt, Job, PartParser, Tokens } from '../ports.ts';
import type { Ask } from '../wire/wire.ts';
import { DEFAULT_TENANT } from './access.ts';
import type { ServedModel } from './models.ts';
import type { Manners } from './patience.ts';

export interface Prompt {
  job: Job['prompt'];
  /** Chained hashes of its full blocks; none where tokens are unknown. */
  hashes: BigUint64Array;
  blockTokens: number;
  /** Exact, or a guess from the length of the text where the tokenizer is unknown. */
  promptTokens: number;
  /** One for each answer. */
  parser: (() => PartParser) | undefined;
  /** Where a grammar will have to know it. */
  frame: AnswerFrame;
}

export async function promptOf(ask: Ask, model: ServedModel, who: Identity): Promise<Prompt> {
  const { prompt } = ask;
  const { tokens, prompts } = model;
  const tokensMax = tokensMaxOf(ask, model);
  if (tokens === undefined || prompts === undefined) return passThrough(ask, tokensMax);
  const { hasher } = tokens;
  const root = hasher.root(saltOf(ask, who), adapterOf(ask, model));
  let encoded: EncodedPrompt;
  if (prompt.kind === 'tokens') {
    encoded = { ids: prompt.ids, hashes: hasher.blocks(root, prompt.ids) };
  } else {
    const text = prompt.kind === 'text' ? prompt.text : tokens.render(prompt.chat);
    if (tokensMax === undefined) refuseTooLong(text, tokens, model);
    encoded = await prompts.encode(text, { thread: who.thread ?? '', root });
  }
  if (tokensMax !== undefined && encoded.ids.length > tokensMax) {
    const ids = encoded.ids.slice(-tokensMax);
    encoded = { ids, hashes: hasher.blocks(root, ids) };
  }
  return {
    job: { kind: 'tokens', ids: encoded.ids },
    hashes: encoded.hashes,
    blockTokens: hasher.blockTokens,
    promptTokens: encoded.ids.length,
    parser: prompt.kind === 'chat' ? () => tokens.parser(prompt.chat) : undefined,
    frame:
      prompt.kind === 'chat' && ask.shape.format !== undefined
        ? tokens.frame(prompt.chat)
        : ask.shape.frame,
  };
}

/** Tokens of the prompt that count, its last ones; undefined: all. */
function tokensMaxOf({ extras, outputTokensMax }: Ask, model: ServedModel): number | undefined {
  const { promptTokensMax } = extras ?? {};
  if (promptTokensMax !== -1) return promptTokensMax;
  return Math.max(1, model.contextTokens - Math.max(1, outputTokensMax ?? 1));
}

/**
 * A message or a block of one takes a token at least. Told before anything is made of them: a million
 * empty ones fit into a body, and would hold up everybody for seconds.
 */
export function refuseTooMany({ prompt }: Ask, { contextTokens }: ServedModel): void {
  if (prompt.kind !== 'chat') return;
  const { messages, tools } = prompt.chat;
  const least = messages.reduce((sum, { content }) => sum + Math.max(1, content.length), 0);
  if (least + tools.length < contextTokens) return;
  throw new GatewayError(
    'context_length_exceeded',
    `This model's context is ${contextTokens} tokens, but the prompt has more messages and tools; shorten it.`,
  );
}

/** What cannot fit, however it is cut, is refused before anybody waits for it to be cut. */
function refuseTooLong(text: string, tokens: Tokens, { contextTokens }: ServedModel): void {
  const least = Math.ceil(text.length / tokens.charactersPerTokenMax);
  if (least < contextTokens) return;
  throw new GatewayError(
    'context_length_exceeded',
    `This model's context is ${contextTokens} tokens, but the prompt has at least ${least}; shorten it.`,
  );
}

export function arrivalOf(
  id: RequestId,
  given: {
    ask: Ask;
    model: ServedModel;
    who: Identity;
    prompt: Prompt;
    manners: Pick<Manners, 'patienceUs'>;
  },
): Arrival {
  const { ask, model, who, prompt, manners } = given;
  const { hints } = ask;
  return {
    id,
    tenant: who.tenant,
    model: model.name,
    // What runs when nothing else does keeps no place warm: it would be counted as live.
    ...(hints.whenIdle ? { thread: undefined } : { thread: who.thread, session: who.session }),
    parent: who.parent,
    promptTokens: prompt.promptTokens,
    hashes: prompt.hashes,
    blockTokens: prompt.blockTokens,
    outputTokensMax: ask.outputTokensMax ?? model.contextTokens,
    priority: hints.priority,
    strictPriority: hints.strictPriority,
    whenIdle: hints.whenIdle,
    patienceUs: manners.patienceUs,
    toolsRan: who.toolsRan,
    purpose: who.purpose.kind,
    relation: who.relation,
    isFinal: who.isFinal ? true : undefined,
    retainUs: hints.retentionUs,
    wants: wantsOf(ask, model),
  };
}

export function jobOf(
  id: RequestId,
  { ask, model, who, prompt }: { ask: Ask; model: ServedModel; who: Identity; prompt: Prompt },
): Job {
  return {
    id,
    tenant: who.tenant,
    model: model.name,
    prompt: prompt.job,
    sampling: ask.sampling,
    outputTokensMax: ask.outputTokensMax,
    stop: ask.stop,
    shape: { ...ask.shape, frame: prompt.frame },
    extras: extrasFor(ask, prompt.job.kind),
    adapter: adapterOf(ask, model),
    cacheSalt: saltOf(ask, who),
    priority: enginePriority(ask.hints),
    forcedOutput: ask.hints.forcedOutput,
    engineData: ask.hints.extraFields.includes('engine_data'),
    thread: who.thread,
    outlook: outlookOf(who, ask.hints),
  };
}

/**
 * What was cut here is not cut again, and where reasoning and calls are told apart here special tokens
 * are text; of a plain completion they are none, as in vLLM.
 */
function extrasFor({ prompt, extras }: Ask, kind: Job['prompt']['kind']): EngineExtras | undefined {
  if (kind !== 'tokens') return extras;
  const { promptTokensMax: _, skipSpecialTokens = true, ...rest } = extras ?? {};
  return prompt.kind === 'chat' ? rest : { ...rest, skipSpecialTokens };
}

/** Nobody goes on from a title, a summary or a last word. */
function outlookOf({ purpose, isFinal }: Identity, { retentionUs }: Hints): KvOutlook | undefined {
  const isLast = isFinal || purpose.kind === 'side' || purpose.kind === 'compaction';
  if (isLast) return { kind: 'release' };
  return retentionUs === undefined ? undefined : { kind: 'retain', us: retentionUs };
}

/** By whose name the model was asked for, or that is asked for beside it. */
function adapterOf({ hints }: Ask, { adapter }: ServedModel): string | undefined {
  return hints.wants?.adapter ?? adapter;
}

function wantsOf(ask: Ask, model: ServedModel): WorkerWants | undefined {
  const { wants } = ask.hints;
  const adapter = adapterOf(ask, model);
  if (adapter === wants?.adapter) return wants;
  return { tolerations: [], labels: [], ...wants, adapter };
}

/** One number for an engine: strict ones before all others, and those that nobody waits for behind. */
function enginePriority({ priority, strictPriority = 0, whenIdle }: Hints): number {
  if (whenIdle) return IDLE_PRIORITY;
  const plain = Math.max(-PLAIN_MAX, Math.min(PLAIN_MAX, priority));
  return plain + Math.min(STRICT_MAX, strictPriority) * 2 * (PLAIN_MAX + 1);
}

const PLAIN_MAX = 2 ** 20 - 1;
/** So that the sum is no larger than what engines read. */
const STRICT_MAX = 511;

/** Four bytes are taken for a token; without hashes the index knows such a worker by its load only. */
function passThrough({ prompt, shape }: Ask, tokensMax = Number.POSITIVE_INFINITY): Prompt {
  const allTokens =
    prompt.kind === 'tokens'
      ? prompt.ids.length
      : Math.ceil(JSON.stringify(prompt.kind === 'chat' ? prompt.chat : prompt.text).length / 4);
  const promptTokens = Math.min(allTokens, tokensMax);
  const hashes = new BigUint64Array(0);
  return {
    job: prompt,
    hashes,
    blockTokens: 1,
    promptTokens,
    parser: undefined,
    frame: shape.frame,
  };
}

/** The tenant is the default salt; what a client names is kept below its own tenant. */
export function saltOf(ask: Ask, who: Identity): string {
  const { cacheSalt } = ask.hints;
  const named = cacheSalt !== undefined && cacheSalt !== '';
  if (who.tenant === DEFAULT_TENANT && !named) return '';
  // As JSON, so that no tenant's name and no salt can be cut another way.
  return JSON.stringify(named ? [who.tenant, cacheSalt] : [who.tenant]);
}
