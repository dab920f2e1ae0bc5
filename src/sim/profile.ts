/**
 * How long an engine's steps take, as a versioned file: on which card and model, from which source, and
 * how wrong it is known to be. Every report names it.
 */
import { readdirSync, readFileSync } from 'node:fs';

export interface Profile {
  name: string;
  about: string;
  /** Where the figures come from, and how far off they are, in words. */
  source: string;
  error: string;
  curve: ProfileCurve;
  /** Microseconds to bring one token's KV from host memory to the device. */
  hostFetchPerTokenUs: number;
  /** Tokens of one step, of prompts and of answers together; sequences of one step. */
  batchedTokensMax: number;
  sequencesMax: number;
  /** Whether a prompt that begins like one being computed waits to find that in cache, as our engine has it. */
  waitsForPrefix?: boolean;
}

/** Microseconds. step = base + perToken·p + perTokenContext·Σ(tokens before each of p) + perSequence·d + perContext·Σ context of d. */
export interface ProfileCurve {
  baseUs: number;
  perTokenUs: number;
  perTokenContextUs: number;
  perSequenceUs: number;
  perContextUs: number;
}

/** What one step computes: prompt tokens, the tokens before each of them summed, sequences decoded and their contexts summed. */
export interface StepWork {
  promptTokens: number;
  tokenContext: number;
  decodes: number;
  decodeContext: number;
}

export function stepTimeUs(curve: ProfileCurve, work: StepWork): number {
  return (
    curve.baseUs +
    curve.perTokenUs * work.promptTokens +
    curve.perTokenContextUs * work.tokenContext +
    curve.perSequenceUs * work.decodes +
    curve.perContextUs * work.decodeContext
  );
}

/** `steps` steps in a row in which each of `decodes` sequences grows by one token. */
export function decodeTimeUs(
  curve: ProfileCurve,
  given: { steps: number; decodes: number; decodeContext: number },
): number {
  const { steps, decodes, decodeContext } = given;
  const first = curve.baseUs + curve.perSequenceUs * decodes + curve.perContextUs * decodeContext;
  return steps * first + (curve.perContextUs * decodes * steps * (steps - 1)) / 2;
}

/** A request's time on an engine that has nothing else to do. */
export function aloneUs(
  { curve, batchedTokensMax }: Profile,
  given: { promptTokens: number; uncachedTokens: number; outputTokens: number },
): number {
  const { promptTokens, uncachedTokens: uncached, outputTokens } = given;
  const tokenContext = uncached * (promptTokens - uncached / 2);
  const chunks = Math.max(1, Math.ceil(uncached / batchedTokensMax));
  const prefill =
    chunks * curve.baseUs + curve.perTokenUs * uncached + curve.perTokenContextUs * tokenContext;
  const steps = outputTokens - 1;
  return prefill + decodeTimeUs(curve, { steps, decodes: 1, decodeContext: promptTokens + 1 });
}

const SHIPPED = new URL('./profiles/', import.meta.url);

export function shippedProfiles(): string[] {
  const files = readdirSync(SHIPPED).filter((file) => file.endsWith('.json'));
  return files.map((file) => file.slice(0, -'.json'.length)).sort();
}

/**
 * A shipped profile by its name, or a fitted file by its path. Throws one sentence where there is none
 * or it is not one.
 */
export function readProfile(nameOrPath: string): Profile {
  const shipped = shippedProfiles();
  const where = shipped.includes(nameOrPath) ? new URL(`${nameOrPath}.json`, SHIPPED) : nameOrPath;
  let text: string;
  try {
    text = readFileSync(where, 'utf8');
  } catch {
    throw new Error(
      `There is no profile ${nameOrPath}: name one of ${shipped.join(', ')}, or a file.`,
    );
  }
  return parseProfile(nameOrPath, text);
}

export function parseProfile(name: string, text: string): Profile {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Error(`The profile ${name} is not JSON.`);
  }
  const fields = recordOf(parsed);
  if (fields.version !== 1)
    throw new Error(`The profile ${name} has no "version": 1, the only one there is.`);
  const number = (from: Record<string, unknown>, field: string, least: number): number => {
    const value = from[field];
    if (typeof value === 'number' && Number.isFinite(value) && value >= least) return value;
    throw new Error(`The profile ${name} needs ${field} as a number of at least ${least}.`);
  };
  const words = (field: string): string => {
    const value = fields[field];
    if (typeof value === 'string' && value !== '') return value;
    throw new Error(`The profile ${name} needs ${field} in words.`);
  };
  const curve = recordOf(fields.curve);
  return {
    name: words('name'),
    about: words('about'),
    source: words('source'),
    error: words('error'),
    curve: {
      baseUs: number(curve, 'baseUs', 1),
      perTokenUs: number(curve, 'perTokenUs', 0),
      perTokenContextUs: number(curve, 'perTokenContextUs', 0),
      perSequenceUs: number(curve, 'perSequenceUs', 0),
      perContextUs: number(curve, 'perContextUs', 0),
    },
    hostFetchPerTokenUs: number(fields, 'hostFetchPerTokenUs', 0),
    batchedTokensMax: number(fields, 'batchedTokensMax', 1),
    sequencesMax: number(fields, 'sequencesMax', 1),
    waitsForPrefix: fields.waitsForPrefix === true,
  };
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
