/** A job as a local engine's scheduler takes it: forced output and grammars are made of it here. */
import { Prng } from '../base/prng.ts';
import type { Spec } from '../kernel/cache/sequence.ts';
import { GatewayError } from '../model/error.ts';
import { GREEDY, type Sampling } from '../model/request.ts';
import { A_TOKEN, PENALTY_TOKENS } from '../model/step.ts';
import type { Job, Tokens } from '../ports.ts';
import { constraintOf } from './grammar/constraint.ts';
import { derive } from './grammar/derivation.ts';

export interface AnswerSettings {
  allowForcedOutput: boolean;
  /** Length of an answer of a model that never ends by itself; undefined where it does. */
  answerTokens: ((prompt: Uint32Array) => number) | undefined;
  /** Whether answers follow grammars because tokens are sampled so, or because they are drawn so. */
  grammars: 'sampled' | 'derived';
}

/** Throws a `GatewayError` that says what of it cannot be had. */
export function specOf(
  job: Job,
  ids: Uint32Array,
  given: AnswerSettings & { tokens: Tokens },
): Spec {
  const { tokens, answerTokens, grammars } = given;
  const { shape, prompt, sampling } = job;
  const { format } = shape;
  const frame = prompt.kind === 'chat' ? tokens.frame(prompt.chat) : shape.frame;
  const isNoise = answerTokens !== undefined || grammars === 'derived';
  const constraint = format === undefined ? undefined : constraintOf(format, frame, { isNoise });
  let forced = forcedIds(job, given);
  if (grammars === 'derived' && constraint !== undefined && forced === undefined) {
    const prng = new Prng(ids.reduce((sum, id) => Math.imul(sum, 31) + id, sampling.seed ?? 0));
    forced = tokens.encode(derive(constraint.grammar, prng));
  }
  const isBarred = format?.kind === 'noCalls' && frame.calls !== undefined;
  return {
    ...promptOf(job, ids, tokens),
    sampling,
    outputTokensMax: job.outputTokensMax ?? Number.MAX_SAFE_INTEGER,
    endTokens: tokens.endTokens,
    forced,
    // A grammar knows better where an answer ends.
    answerTokens: constraint === undefined ? answerTokens?.(ids) : undefined,
    wants: {
      digests: job.engineData,
      logprobs: shape.logprobs,
      grammar: forced === undefined ? constraint?.gbnf : undefined,
      endTokens: tokens.endTokens,
      banned: isBarred ? idsOf(frame.calls?.marker ?? '', tokens) : [],
      recent: looksBack(sampling) ? ids.slice(-PENALTY_TOKENS) : A_TOKEN.recent,
      embedding: false,
    },
  };
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

function looksBack({ repetitionPenalty, frequencyPenalty, presencePenalty }: Sampling): boolean {
  return repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
}

/** Of a special token; none where the text is no token of its own. */
function idsOf(special: string, { specials }: Tokens): number[] {
  for (const [id, text] of specials) if (text === special) return [id];
  return [];
}
