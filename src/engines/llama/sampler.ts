/**
 * Chooses the tokens of one sequence: llama.cpp's samplers, in the order its own server has them, and a
 * grammar in front where one was asked for. What the model likes best is tried first; only where the
 * grammar forbids it is the whole vocabulary held against the grammar.
 *
 * Each token is drawn by a seed of its own, made of the request's and its place in the answer: how often
 * the tokens before it were drawn (twice where a grammar forbade the first, not at all where one candidate
 * was left) is in nobody's memory when an answer goes on elsewhere.
 */
import { createHash } from 'node:crypto';
import { Prng } from '../../base/prng.ts';
import type { Sampling } from '../../model/request.ts';
import {
  PENALTY_TOKENS,
  type Sample,
  type SampleLogprobs,
  type SequenceId,
  type Wants,
} from '../../model/step.ts';
import { argmax } from './argmax.ts';
import { type Llama, type Pointer, takeComplaints } from './binding.ts';
import { Candidates } from './candidates.ts';

/** What the samplers of one context share. */
export class Samplers {
  readonly #llama: Llama;
  readonly #context: Pointer;
  readonly #vocab: Pointer;
  readonly #vocabularySize: number;
  readonly #sequences = new Map<SequenceId, SequenceSampler>();
  #candidates: Candidates | undefined;
  #controls: number[] | undefined;

  constructor(given: { llama: Llama; context: Pointer; vocab: Pointer; vocabularySize: number }) {
    this.#llama = given.llama;
    this.#context = given.context;
    this.#vocab = given.vocab;
    this.#vocabularySize = given.vocabularySize;
  }

  open(sequence: SequenceId, sampling: Sampling, wants: Wants): void {
    const sampler = new SequenceSampler({
      llama: this.#llama,
      context: this.#context,
      vocab: this.#vocab,
      vocabularySize: this.#vocabularySize,
      candidates: () => {
        this.#candidates ??= new Candidates(this.#llama, this.#vocabularySize);
        return this.#candidates;
      },
      controls: () => {
        this.#controls ??= this.#controlTokens();
        return this.#controls;
      },
      sampling,
      wants,
    });
    this.#sequences.set(sequence, sampler);
  }

  get(sequence: SequenceId): SequenceSampler | undefined {
    return this.#sequences.get(sequence);
  }

  close(sequence: SequenceId): void {
    this.#sequences.get(sequence)?.free();
    this.#sequences.delete(sequence);
  }

  free(): void {
    for (const sequence of [...this.#sequences.keys()]) this.close(sequence);
  }

  /** They stand for no text, but a grammar would read their names as some. */
  #controlTokens(): number[] {
    const controls: number[] = [];
    for (let id = 0; id < this.#vocabularySize; id++) {
      const isControl = this.#llama.vocab_is_control(this.#vocab, id);
      if (isControl || this.#llama.vocab_is_eog(this.#vocab, id)) controls.push(id);
    }
    return controls;
  }
}

interface SamplerParts {
  llama: Llama;
  context: Pointer;
  vocab: Pointer;
  vocabularySize: number;
  candidates: () => Candidates;
  controls: () => readonly number[];
  sampling: Sampling;
  wants: Wants;
}

export class SequenceSampler {
  readonly #parts: SamplerParts;
  readonly #chain: Pointer;
  /** Where in the chain tokens are drawn; undefined: greedily, or by no seed. */
  readonly #drawAt: number | undefined;
  /** Tokens of the answer so far. */
  #place: number;
  readonly #grammar: Pointer | undefined;
  readonly #banned: readonly number[];
  #refused: string | undefined;

  constructor(parts: SamplerParts) {
    const { llama, vocab, wants } = parts;
    this.#parts = parts;
    const { chain, drawAt } = chainOf(parts);
    this.#chain = chain;
    this.#drawAt = drawAt;
    this.#place = wants.said.length;
    for (const id of wants.recent) llama.sampler_accept(this.#chain, id);
    this.#banned = wants.banned;
    if (wants.grammar === undefined) return;
    this.#banned = [...wants.banned, ...parts.controls().filter((id) => !wants.endTokens.has(id))];
    takeComplaints();
    const grammar = llama.sampler_init_grammar(vocab, wants.grammar, 'root');
    if (grammar === null) {
      this.#refused = `llama.cpp does not take the grammar: ${reason()}.`;
      return;
    }
    this.#grammar = grammar;
    for (const id of wants.said) {
      // One that the grammar forbids would end the process.
      if (!this.#allows(id)) {
        this.#refused = 'What was said before does not follow the grammar.';
        return;
      }
      llama.sampler_accept(grammar, id);
    }
  }

  /** Nothing but the logits decides. */
  get #isGreedy(): boolean {
    const { sampling } = this.#parts;
    return sampling.temperature === 0 && !hasPenalties(sampling);
  }

  get isEmbedding(): boolean {
    return this.#parts.wants.embedding;
  }

  /** The next token after the output at `index`, whose logits these are. */
  sample(index: number, logits: () => Float32Array): Omit<Sample, 'sequence'> {
    const { llama, context, wants } = this.#parts;
    if (this.#refused !== undefined) return { token: 0, refused: this.#refused };
    this.#seed();
    const isFree = this.#grammar === undefined && this.#banned.length === 0;
    let token: number | undefined;
    if (!isFree) token = this.#constrained(logits());
    else if (this.#isGreedy) token = argmax(logits());
    else token = llama.sampler_sample(this.#chain, context, index);
    if (token === undefined) return { token: 0, refused: DEAD_END };
    const sample: Omit<Sample, 'sequence'> = { token };
    if (wants.digests) sample.logitsDigest = digest(logits());
    if (wants.logprobs !== undefined) {
      sample.logprobs = logprobsOf(logits(), token, wants.logprobs);
    }
    return sample;
  }

  free(): void {
    this.#parts.llama.sampler_free(this.#chain);
    if (this.#grammar !== undefined) this.#parts.llama.sampler_free(this.#grammar);
  }

  #seed(): void {
    const { llama, sampling } = this.#parts;
    const place = this.#place++;
    if (this.#drawAt === undefined || sampling.seed === undefined) return;
    llama.sampler_free(llama.sampler_chain_remove(this.#chain, this.#drawAt));
    llama.sampler_chain_add(this.#chain, llama.sampler_init_dist(seedAt(sampling.seed, place)));
  }

  #constrained(logits: Float32Array): number | undefined {
    const { llama } = this.#parts;
    const candidates = this.#parts.candidates();
    candidates.fill(logits, this.#banned);
    candidates.apply(this.#chain);
    let { token } = candidates;
    if (this.#grammar !== undefined && !this.#allows(token)) {
      candidates.fill(logits, this.#banned);
      candidates.apply(this.#grammar);
      if (!candidates.hasAny) return undefined;
      candidates.apply(this.#chain);
      token = candidates.token;
      // It is accepted below, where one that the grammar forbids would end the process.
      if (!this.#allows(token)) return undefined;
    }
    llama.sampler_accept(this.#chain, token);
    if (this.#grammar !== undefined) llama.sampler_accept(this.#grammar, token);
    return token;
  }

  #allows(token: number): boolean {
    const grammar = this.#grammar;
    if (grammar === undefined) return true;
    return !this.#banned.includes(token) && this.#parts.candidates().allows(grammar, token);
  }
}

const DEAD_END = 'No token of this model goes on as the grammar asks; make the grammar wider.';

/** Penalties, then what cuts off, then temperature and last the draw. */
function chainOf({ llama, vocabularySize, sampling }: SamplerParts): {
  chain: Pointer;
  drawAt: number | undefined;
} {
  const chain = llama.sampler_chain_init(llama.sampler_chain_default_params());
  let length = 0;
  const add = (sampler: Pointer) => {
    llama.sampler_chain_add(chain, sampler);
    length++;
  };
  const { repetitionPenalty, frequencyPenalty, presencePenalty, temperature } = sampling;
  if (hasPenalties(sampling)) {
    const penalties = [repetitionPenalty, frequencyPenalty, presencePenalty] as const;
    add(llama.sampler_init_penalties(vocabularySize, PENALTY_TOKENS, ...penalties));
  }
  if (temperature === 0) {
    add(llama.sampler_init_greedy());
    return { chain, drawAt: undefined };
  }
  if (sampling.topK > 0) add(llama.sampler_init_top_k(sampling.topK));
  if (sampling.topP < 1) add(llama.sampler_init_top_p(sampling.topP, 1));
  if (sampling.minP > 0) add(llama.sampler_init_min_p(sampling.minP, 1));
  add(llama.sampler_init_temp(temperature));
  add(llama.sampler_init_dist(Math.floor(Math.random() * 2 ** 32)));
  return { chain, drawAt: sampling.seed === undefined ? undefined : length - 1 };
}

/** Where anybody may know the seed, draws at two places have nothing to do with each other. */
function seedAt(seed: number, place: number): number {
  return new Prng(seed + Math.imul(place, PLACES)).below(RANDOM);
}

/** Stands for a seed that nobody knows. */
const RANDOM = 0xffff_ffff;

/** Answers of one request, whose seeds differ by one, do not meet at other places. */
const PLACES = 0x9e3779b1;

function hasPenalties(given: Sampling): boolean {
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = given;
  return repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
}

/** Log-softmax of the raw logits, at the token and at the `count` highest. */
export function logprobsOf(logits: Float32Array, token: number, count: number): SampleLogprobs {
  const highest: number[] = [];
  let max = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id];
    if (logit > max) max = logit;
    if (count === 0) continue;
    if (highest.length === count && !(logit > logits[highest[count - 1]])) continue;
    let at = highest.length;
    while (at > 0 && logit > logits[highest[at - 1]]) at--;
    highest.splice(at, 0, id);
    if (highest.length > count) highest.pop();
  }
  let sum = 0;
  for (let id = 0; id < logits.length; id++) sum += Math.exp(logits[id] - max);
  const all = max + Math.log(sum);
  return {
    logprob: logits[token] - all,
    top: highest.map((id) => ({ token: id, logprob: logits[id] - all })),
  };
}

/** Equal digests mean bit-equal logits. */
function digest(logits: Float32Array): string {
  const bytes = new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength);
  return createHash('sha256').update(bytes).digest('hex').slice(0, 32);
}

function reason(): string {
  return takeComplaints()[0]?.replace(/\.$/, '') ?? 'it gave no reason';
}
