/** A job as a local engine's scheduler takes it: forced output and grammars are made of it here. */
import { Prng } from '../base/prng.ts';
import type { Spec } from '../kernel/cache/sequence.ts';
import { GatewayError } from '../model/error.ts';
import { type AskedSampling, GREEDY, PLAIN, type Sampling } from '../model/request.ts';
import { A_TOKEN, PENALTY_TOKENS } from '../model/step.ts';
import type { Job, Tokens } from '../ports.ts';
import { constraintOf } from './grammar/constraint.ts';
import { derive } from './grammar/derivation.ts';
import type { Grammar } from './grammar/expression.ts';

export interface AnswerSettings {
  allowForcedOutput: boolean;
  /** Length of an answer of a model that never ends by itself; undefined where it does. */
  answerTokens: ((prompt: Uint32Array) => number) | undefined;
  /** Whether answers follow grammars because tokens are sampled so, or because they are drawn so. */
  grammars: 'sampled' | 'derived';
}

/**
 * One for each answer asked for: answer i is what a request for one answer gives that asks for seed + i.
 * `ids`: the prompt, and behind it what was said already. Throws a `GatewayError` that says what of it
 * cannot be had.
 */
export function specsOf(
  job: Job,
  ids: Uint32Array,
  given: AnswerSettings & { tokens: Tokens },
): Spec[] {
  const { tokens, answerTokens, grammars } = given;
  const { shape, prompt } = job;
  const sampling = whole(job.sampling);
  const { format } = shape;
  const frame = prompt.kind === 'chat' ? tokens.frame(prompt.chat) : shape.frame;
  const said = saidOf(job);
  const asked = ids.subarray(0, ids.length - said.length);
  const isNoise = answerTokens !== undefined || grammars === 'derived';
  const constraint = format === undefined ? undefined : constraintOf(format, frame, { isNoise });
  const forced = forcedIds(job, given);
  const derived = grammars === 'derived' && forced === undefined ? constraint?.grammar : undefined;
  const length = constraint === undefined ? answerTokens?.(asked) : undefined;
  const isBarred = format?.kind === 'noCalls' && frame.calls !== undefined;
  const common = {
    ...promptOf(job, ids, tokens),
    outputTokensMax: job.outputTokensMax ?? Number.MAX_SAFE_INTEGER,
    endTokens: tokens.endTokens,
    // A grammar knows better where an answer ends.
    answerTokens: length === undefined ? undefined : length - said.length,
    wants: {
      digests: job.engineData,
      logprobs: shape.logprobs,
      grammar: forced === undefined && derived === undefined ? constraint?.gbnf : undefined,
      endTokens: tokens.endTokens,
      banned: isBarred ? idsOf(frame.calls?.marker ?? '', tokens) : [],
      recent: looksBack(sampling) ? ids.slice(-PENALTY_TOKENS) : A_TOKEN.recent,
      said,
      embedding: false,
    },
  };
  return Array.from({ length: shape.choices }, (_, choice) => {
    const seed = sampling.seed === undefined ? undefined : (sampling.seed + choice) >>> 0;
    const text = forced ?? (derived && derivedIds(derived, asked, { seed, tokens }));
    return { ...common, sampling: { ...sampling, seed }, forced: text?.subarray(said.length) };
  });
}

/** Ids the answer begins with; none where it begins here. */
export function saidOf({ said }: Job): Uint32Array {
  if (said === undefined) return A_TOKEN.said;
  if (said.ids !== undefined) return said.ids;
  throw new GatewayError('invalid_request', 'An answer goes on behind token ids only.');
}

/** For the vector of its prompt. */
export function vectorSpecOf(job: Job, ids: Uint32Array, tokens: Tokens): Spec {
  return {
    ...promptOf(job, ids, tokens),
    sampling: GREEDY,
    outputTokensMax: 1,
    endTokens: new Set(),
    forced: undefined,
    answerTokens: undefined,
    wants: { ...A_TOKEN, embedding: true },
  };
}

/** A thread's name among those of all salts. */
export function threadKey(thread: string, salt: string): string {
  return `${salt.length}:${salt}${thread}`;
}

export function forcedOutputForbidden(): GatewayError {
  return new GatewayError(
    'forbidden',
    'nvext.forced_output needs a worker started with --allow-forced-output.',
  );
}

function promptOf(job: Job, ids: Uint32Array, { hasher }: Tokens) {
  const root = hasher.root(job.cacheSalt);
  const hashes = hasher.blocks(root, ids);
  const thread = job.thread === undefined ? undefined : threadKey(job.thread, job.cacheSalt);
  return { ids, hashes, root, salt: job.cacheSalt, thread, priority: job.priority };
}

function forcedIds(
  { forcedOutput }: Job,
  { tokens, allowForcedOutput }: AnswerSettings & { tokens: Tokens },
): Uint32Array | undefined {
  if (forcedOutput === undefined) return undefined;
  if (!allowForcedOutput) throw forcedOutputForbidden();
  if (typeof forcedOutput === 'string') return tokens.encode(forcedOutput);
  const stranger = forcedOutput.find((id) => id >= tokens.vocabularySize);
  if (stranger === undefined) return forcedOutput;
  throw new GatewayError('invalid_request', `Token id ${stranger} is not in the vocabulary.`);
}

/** The same for the same prompt and seed. */
function derivedIds(
  grammar: Grammar,
  prompt: Uint32Array,
  { seed = 0, tokens }: { seed: number | undefined; tokens: Tokens },
): Uint32Array {
  const prng = new Prng(prompt.reduce((sum, id) => Math.imul(sum, 31) + id, seed));
  return tokens.encode(derive(grammar, prng));
}

/** A model file says nothing of how it is to be sampled. */
function whole(asked: AskedSampling): Sampling {
  const said = Object.entries(asked).filter(([, value]) => value !== undefined);
  return { ...PLAIN, ...Object.fromEntries(said) };
}

function looksBack({ repetitionPenalty, frequencyPenalty, presencePenalty }: Sampling): boolean {
  return repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
}

/** Of a special token; none where the text is no token of its own. */
function idsOf(special: string, { specials }: Tokens): number[] {
  for (const [id, text] of specials) if (text === special) return [id];
  return [];
}
