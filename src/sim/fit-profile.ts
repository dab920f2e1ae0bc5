/**
 * A profile from what an engine was seen to do. Each observation is a stretch of steps and what it took;
 * the terms are the profile's own, so the fit is linear, with no coefficient below zero. Errors count
 * relative to what is predicted, since long steps vary more than short ones, and those far off count little (Tukey's
 * biweight), so that a preempted step bends nothing. What preemptions take is real all the same, and a request of
 * many steps pays its share of it: of steps, the curve is then stretched to the time all of them took.
 */
import { assert } from '../base/assert.ts';
import type { Profile, ProfileCurve } from './profile.ts';

/** Some steps in a row. Sums are over all of them. */
export interface Observation {
  /** Each pays the base. */
  steps: number;
  promptTokens: number;
  /** Sum over prompt tokens of the tokens before each. */
  tokenContext: number;
  /** Sequences decoded, and the sum of their contexts. */
  decodes: number;
  decodeContext: number;
  /** Microseconds, more than 0. */
  us: number;
}

/** Observations, and what else they tell of the engine. Undefined: they do not. */
export interface Observed {
  observations: readonly Observation[];
  batchedTokensMax: number | undefined;
  sequencesMax: number | undefined;
  hostFetchPerTokenUs: number | undefined;
  waitsForPrefix: boolean | undefined;
  /** `all`: outliers are part of what a request takes; `typical`: they are somebody else's work. */
  level: 'all' | 'typical';
}

/** How far predictions are off, as shares of what was observed; by a fit that did not see it. */
export interface FitError {
  count: number;
  median: number;
  p90: number;
  /** All predicted time ÷ all observed time - 1. */
  total: number;
}

export interface Fitted {
  profile: Profile;
  error: FitError;
}

export interface FitGiven {
  name: string;
  about: string;
  source: string;
  /** Says what the observations do not. */
  otherwise: Pick<
    Profile,
    'batchedTokensMax' | 'sequencesMax' | 'hostFetchPerTokenUs' | 'waitsForPrefix'
  >;
}

/** A curve of five terms needs more than a handful to be told from chance. */
const OBSERVATIONS_MIN = 40;

/** Throws a RangeError, one sentence, where there is too little to fit. */
export function fitProfile(observed: Observed, given: FitGiven): Fitted {
  const { observations, level } = observed;
  if (observations.length < OBSERVATIONS_MIN) {
    throw new RangeError(
      `A profile needs ${OBSERVATIONS_MIN} observations; there are ${observations.length}.`,
    );
  }
  if (observations.some(({ us }) => !(us > 0))) {
    throw new RangeError('An observation takes more than 0 microseconds.');
  }
  const error = crossError(observations, level);
  const { otherwise } = given;
  const fetched = observed.hostFetchPerTokenUs;
  const unseen = fetched === undefined ? '; fetching from host memory was not observed' : '';
  const profile: Profile = {
    name: given.name,
    about: given.about,
    source: given.source,
    error: `${errorText(error)}${unseen}`,
    curve: curveOf(observations, level),
    hostFetchPerTokenUs: fetched ?? otherwise.hostFetchPerTokenUs,
    batchedTokensMax: observed.batchedTokensMax ?? otherwise.batchedTokensMax,
    sequencesMax: observed.sequencesMax ?? otherwise.sequencesMax,
    waitsForPrefix: observed.waitsForPrefix ?? otherwise.waitsForPrefix,
  };
  return { profile, error };
}

/** As a file that `readProfile` reads. */
export function profileText(profile: Profile): string {
  return `${JSON.stringify({ version: 1, ...profile }, null, 2)}\n`;
}

function errorText({ count, median, p90, total }: FitError): string {
  const percent = (value: number) => `${(value * 100).toFixed(1)} %`;
  return `predicted against observed on steps held out of the fit: median ${percent(median)}, p90 ${percent(p90)}, all time together ${total < 0 ? '' : '+'}${percent(total)} (${count} observations)`;
}

/** Each half is predicted by a fit of the other. */
function crossError(observations: readonly Observation[], level: Observed['level']): FitError {
  const halves = [0, 1].map((half) => observations.filter((_, i) => i % 2 === half));
  const errors: number[] = [];
  let predictedUs = 0;
  let observedUs = 0;
  halves.forEach((held, half) => {
    const weights = vectorOf(curveOf(halves[1 - half], level));
    for (const one of held) {
      const us = dot(weights, featuresOf(one));
      errors.push(Math.abs(us / one.us - 1));
      predictedUs += us;
      observedUs += one.us;
    }
  });
  const at = (q: number) => quantile(errors, q);
  return {
    count: errors.length,
    median: at(0.5),
    p90: at(0.9),
    total: predictedUs / observedUs - 1,
  };
}

const TERMS = 5;

function featuresOf(one: Observation): number[] {
  return [one.steps, one.promptTokens, one.tokenContext, one.decodes, one.decodeContext];
}

function vectorOf(curve: ProfileCurve): number[] {
  const { baseUs, perTokenUs, perTokenContextUs, perSequenceUs, perContextUs } = curve;
  return [baseUs, perTokenUs, perTokenContextUs, perSequenceUs, perContextUs];
}

/** A stall longer than so many times its step is the machine's, not the engine's. */
const STALL = 30;

function curveOf(observations: readonly Observation[], level: Observed['level']): ProfileCurve {
  const curve = fitCurve(observations);
  if (level === 'typical') return curve;
  const weights = vectorOf(curve);
  let [predictedUs, observedUs] = [0, 0];
  for (const one of observations) {
    const us = dot(weights, featuresOf(one));
    predictedUs += us;
    observedUs += Math.min(one.us, STALL * us);
  }
  const stretch = observedUs / predictedUs;
  return {
    baseUs: stretch * curve.baseUs,
    perTokenUs: stretch * curve.perTokenUs,
    perTokenContextUs: stretch * curve.perTokenContextUs,
    perSequenceUs: stretch * curve.perSequenceUs,
    perContextUs: stretch * curve.perContextUs,
  };
}

/** Rounds in which what is far off counts less (Huber), then those in which it counts nothing. */
const HUBER_ROUNDS = 20;
const BIWEIGHT_ROUNDS = 20;
/** In robust standard deviations, with the usual 95 % efficiency. */
const HUBER = 1.345;
const BIWEIGHT = 4.685;
/** Of the median absolute deviation, to be a standard deviation where errors are normal. */
const NORMAL = 1.4826;
/** Below this a fit is as good as exact, and a scale of nothing would throw everything out. */
const SCALE_MIN = 1e-4;
/** A step of no time would let virtual time stand still. */
const BASE_US_MIN = 1;

/**
 * Robust least squares of relative errors, coefficients ≥ 0: reweighted until nothing changes. The biweight forgets
 * whatever its start is far from, so it begins where Huber's weights, which forget nothing, have come to rest; with
 * errors as shares of what was observed, where a step that took ten times as long is off by no more than the whole.
 */
function fitCurve(observations: readonly Observation[]): ProfileCurve {
  const rows = observations.map(featuresOf);
  // Units in which terms compare, or the smallest would drown in rounding.
  const units = Array.from({ length: TERMS }, (_, term) =>
    rows.reduce((most, row) => Math.max(most, row[term]), 0),
  );
  const scaled = rows.map((row) => row.map((value, i) => (units[i] > 0 ? value / units[i] : 0)));
  const observed = observations.map(({ us }) => us);
  let divisors = observed;
  let trust = observed.map(() => 1);
  let weights: number[] = [];
  for (let round = 0; round < HUBER_ROUNDS + BIWEIGHT_ROUNDS; round++) {
    const next = solve(scaled, observed, { divisors, trust });
    const predicted = scaled.map((row) => dot(next, row));
    const isSettled = weights.length > 0 && next.every((w, i) => close(w, weights[i]));
    weights = next;
    if (isSettled && round >= HUBER_ROUNDS) break;
    const isStart = round < HUBER_ROUNDS;
    divisors = isStart ? observed : predicted.map((us, i) => (us > 0 ? us : observed[i]));
    const errors = observed.map((us, i) => (us - predicted[i]) / divisors[i]);
    const spread = NORMAL * quantile(errors.map(Math.abs), 0.5);
    const scale = Math.max(SCALE_MIN, spread);
    trust = errors.map((error) =>
      isStart
        ? Math.min(1, (HUBER * scale) / Math.abs(error))
        : Math.max(0, 1 - (error / (BIWEIGHT * scale)) ** 2) ** 2,
    );
  }
  const [base, token, tokenContext, sequence, context] = weights.map((weight, i) =>
    units[i] > 0 ? weight / units[i] : 0,
  );
  return {
    baseUs: Math.max(BASE_US_MIN, base),
    perTokenUs: token,
    perTokenContextUs: tokenContext,
    perSequenceUs: sequence,
    perContextUs: context,
  };
}

function close(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a));
}

/**
 * Least squares with no weight below 0. With five terms, trying each of the 31 sets of terms that may
 * be above 0 is exact, and no search can be fooled by terms that move together.
 */
function solve(
  rows: readonly (readonly number[])[],
  observed: readonly number[],
  { divisors, trust }: { divisors: readonly number[]; trust: readonly number[] },
): number[] {
  const matrix = Array.from({ length: TERMS }, () => new Array<number>(TERMS).fill(0));
  const target = new Array<number>(TERMS).fill(0);
  rows.forEach((row, n) => {
    const factor = trust[n] / divisors[n] ** 2;
    for (let i = 0; i < TERMS; i++) {
      target[i] += factor * row[i] * observed[n];
      for (let j = 0; j < TERMS; j++) matrix[i][j] += factor * row[i] * row[j];
    }
  });
  let best = new Array<number>(TERMS).fill(0);
  let bestLoss = 0;
  for (let set = 1; set < 1 << TERMS; set++) {
    const terms = [0, 1, 2, 3, 4].filter((term) => (set & (1 << term)) !== 0);
    const found = solveAmong(terms, matrix, target);
    if (found === undefined || found.some((weight) => weight < 0)) continue;
    // Loss less that of all zeros: w·A·w - 2·w·b, which at the optimum of a set is -w·b.
    const loss = -dot(found, target);
    if (loss < bestLoss) [best, bestLoss] = [found, loss];
  }
  return best;
}

/** Gaussian elimination among these terms, the others 0; undefined where they cannot be told apart. */
function solveAmong(
  terms: readonly number[],
  matrix: readonly (readonly number[])[],
  target: readonly number[],
): number[] | undefined {
  const rows = terms.map((i) => [...terms.map((j) => matrix[i][j]), target[i]]);
  const count = terms.length;
  for (let column = 0; column < count; column++) {
    const own = matrix[terms[column]][terms[column]];
    let pivot = column;
    for (let row = column + 1; row < count; row++) {
      if (Math.abs(rows[row][column]) > Math.abs(rows[pivot][column])) pivot = row;
    }
    if (Math.abs(rows[pivot][column]) <= 1e-10 * own || own === 0) return undefined;
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    for (let row = 0; row < count; row++) {
      if (row === column) continue;
      const factor = rows[row][column] / rows[column][column];
      for (let i = column; i <= count; i++) rows[row][i] -= factor * rows[column][i];
    }
  }
  const weights = new Array<number>(TERMS).fill(0);
  terms.forEach((term, i) => {
    weights[term] = rows[i][count] / rows[i][i];
  });
  return weights;
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

function quantile(values: readonly number[], q: number): number {
  assert(values.length > 0, 'there is something to take a quantile of');
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}
