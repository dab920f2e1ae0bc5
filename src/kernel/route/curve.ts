/**
 * How long workers of one class take, learned from what they did: two linear models with weights that
 * are never negative, fitted online by relative error (base/fit.ts). What a worker says of itself is
 * the prior; answers that took far longer than expected bend a curve little.
 *
 *   prefill µs = base + a·u + b·u² / 2 + c·u·(context − u) + host·h + disk·d + e·u·decoding
 *   step µs    = base + s·sequences + p·(prefill time beside it, per token)
 *
 * u: tokens that are computed; h, d: tokens brought up from host memory and disk; decoding: sequences
 * that ride along with the prompt's chunks.
 */
import { LinearFit } from '../../base/fit.ts';
import type { Worker } from '../../model/worker.ts';

export interface PrefillWork {
  uncachedTokens: number;
  /** Of the whole prompt. */
  contextTokens: number;
  /** Cached tokens that come from lower tiers. */
  hostTokens: number;
  diskTokens: number;
  /** Sequences that decode meanwhile. */
  decoding: number;
}

export interface DecodeWork {
  /** Mean number of sequences that decode, this one included. */
  sequences: number;
  /** Time in which prompts are computed, per output token. */
  prefillUsPerToken: number;
}

/** No engine computes more than ten million tokens a second. */
const LEAST_TOKEN_US = 0.1;
/** Weights compare where features do: a prompt of some thousand tokens. */
const UNIT_TOKENS = 1000;
/** As long as nobody measured it, a prompt is thought to take its time from those who decode. */
const PREFILL_SHARE = 1;
/**
 * Shares of what computing a token takes, until it was seen what bringing it up takes. An 8B model on an
 * H100 computes a token in 40 µs, and its 147 kB come in 3 µs at 50 GB/s and in 20 µs at 7 GB/s.
 */
const HOST_SHARE = 0.1;
const DISK_SHARE = 0.5;
const FIT = { unsureness: 1, noise: 0.15, drift: 0.0005 } as const;

export class Curve {
  readonly #prefill: LinearFit;
  readonly #decode: LinearFit;
  /** The weights as plain fields: a decision reads them ten thousand times. */
  #baseUs = 0;
  #tokenUs = 0;
  #squareUs = 0;
  #contextUs = 0;
  #hostUs = 0;
  #diskUs = 0;
  #besideUs = 0;
  #stepUs = 0;
  #sequenceUs = 0;
  #prefillShare = 0;

  constructor({ prefill, decode }: Pick<Worker, 'prefill' | 'decode'>) {
    const token = Math.max(prefill.perTokenUs, LEAST_TOKEN_US) * UNIT_TOKENS;
    const context = prefill.perTokenContextUs * UNIT_TOKENS ** 2;
    this.#prefill = new LinearFit(
      [0, token, context, context, HOST_SHARE * token, DISK_SHARE * token, 0],
      FIT,
    );
    this.#decode = new LinearFit(
      [Math.max(decode.stepUs, 1), decode.perSequenceUs, PREFILL_SHARE],
      FIT,
    );
    this.#read();
  }

  /** Prefills and answers it was fitted to. */
  get observations(): { prefills: number; answers: number } {
    return { prefills: this.#prefill.count, answers: this.#decode.count };
  }

  prefillUs(work: PrefillWork): number {
    const { uncachedTokens: u, contextTokens } = work;
    const perToken =
      this.#tokenUs +
      (this.#squareUs * u) / 2 +
      this.#contextUs * (contextTokens - u) +
      this.#besideUs * work.decoding;
    return this.#baseUs + u * perToken + this.fetchUs(work);
  }

  /** Of it, what brings cached tokens up from lower tiers. */
  fetchUs({ hostTokens, diskTokens }: Pick<PrefillWork, 'hostTokens' | 'diskTokens'>): number {
    return this.#hostUs * hostTokens + this.#diskUs * diskTokens;
  }

  /** Between two tokens of an answer. */
  stepUs(sequences: number, prefillUsPerToken: number): number {
    return this.#stepUs + this.#sequenceUs * sequences + this.#prefillShare * prefillUsPerToken;
  }

  /** What one more sequence adds to each step. */
  get sequenceUs(): number {
    return this.#sequenceUs;
  }

  /** How often it should be tried to learn more: seldom soon, for 1/n sums up as slowly as log n. */
  get doubt(): number {
    return 1 / (2 + this.#prefill.count);
  }

  /** How far `prefillUs` may be off, one standard deviation as a share of it. */
  unsureness(work: PrefillWork): number {
    return this.#prefill.deviation(prefillFeatures(work));
  }

  sawPrefill(work: PrefillWork, us: number): void {
    this.#prefill.observe(prefillFeatures(work), us);
    this.#read();
  }

  /** `us`: mean time between two tokens of an answer. */
  sawDecode(work: DecodeWork, us: number): void {
    this.#decode.observe([1, work.sequences, work.prefillUsPerToken], us);
    this.#read();
  }

  #read(): void {
    const prefill = this.#prefill;
    this.#baseUs = prefill.weight(0);
    this.#tokenUs = prefill.weight(1) / UNIT_TOKENS;
    this.#squareUs = prefill.weight(2) / UNIT_TOKENS ** 2;
    this.#contextUs = prefill.weight(3) / UNIT_TOKENS ** 2;
    this.#hostUs = prefill.weight(4) / UNIT_TOKENS;
    this.#diskUs = prefill.weight(5) / UNIT_TOKENS;
    this.#besideUs = prefill.weight(6) / UNIT_TOKENS;
    this.#stepUs = this.#decode.weight(0);
    this.#sequenceUs = this.#decode.weight(1);
    this.#prefillShare = this.#decode.weight(2);
  }
}

function prefillFeatures(work: PrefillWork): number[] {
  const u = work.uncachedTokens / UNIT_TOKENS;
  const context = work.contextTokens / UNIT_TOKENS;
  return [
    1,
    u,
    (u * u) / 2,
    u * (context - u),
    work.hostTokens / UNIT_TOKENS,
    work.diskTokens / UNIT_TOKENS,
    u * work.decoding,
  ];
}
