/**
 * What was seen of an engine → observations to fit a profile to. Two sources, a JSON object a line each:
 * a worker's step log (`stator worker --step-log`), one line a step, and receipts of a gateway, one a request.
 */
import { must } from '../base/assert.ts';
import type { StepLogHead, StepLogLine } from '../model/step-log.ts';
import type { Observation, Observed } from './fit-profile.ts';

/** Throws a RangeError, one sentence, where the text is neither. */
export function readObserved(name: string, text: string): Observed {
  const objects: Record<string, unknown>[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const found = objectOf(line);
    if (found === undefined) throw new RangeError(`Line ${i + 1} of ${name} is no JSON object.`);
    // As a gateway lists them.
    if (Array.isArray(found.receipts)) objects.push(...found.receipts.map(fieldsOf));
    else objects.push(found);
  }
  if (objects[0]?.stepLog === 1) return ofSteps(objects[0] as unknown as StepLogHead, objects);
  if (objects.some(({ actual }) => actual !== undefined)) return ofReceipts(objects);
  throw new RangeError(`${name} is neither a step log of a worker nor receipts, one a line.`);
}

/** Of several workers alike; each log may be cut into pieces, the head before each. */
export function readObservedOfAll(logs: readonly { name: string; text: string }[]): Observed {
  const all = logs.map(({ name, text }) => readObserved(name, text));
  const [first] = all;
  const median = (pick: (one: Observed) => number | undefined) => {
    const values = all.map(pick).filter((value) => value !== undefined);
    return values.length === 0 ? undefined : medianOf(values);
  };
  return {
    ...first,
    observations: all.flatMap(({ observations }) => observations),
    batchedTokensMax: median((one) => one.batchedTokensMax),
    hostFetchPerTokenUs: median((one) => one.hostFetchPerTokenUs),
  };
}

/** Fewer tokens at a time take less than it takes to order the copy. */
const FETCHED_TOKENS_MIN = 256;

function ofSteps(head: StepLogHead, objects: readonly Record<string, unknown>[]): Observed {
  const observations: Observation[] = [];
  const chunks: number[] = [];
  const fetches: number[] = [];
  for (const object of objects.slice(1)) {
    const line = stepOf(object);
    if (line === undefined) continue;
    const { fetchedTokens, moveUs, ...step } = line;
    // Moves are the tiers' time, not the step's.
    const us = step.us - moveUs;
    if (step.promptTokens + step.decodes > 0 && us > 0) {
      observations.push({ steps: 1, ...step, us });
    }
    if (step.promptTokens > 0) chunks.push(step.promptTokens);
    if (fetchedTokens >= FETCHED_TOKENS_MIN) fetches.push(moveUs / fetchedTokens);
  }
  return {
    observations,
    batchedTokensMax: chunks.length === 0 ? undefined : chunkOfHalf(chunks),
    sequencesMax: head.slots,
    hostFetchPerTokenUs: fetches.length === 0 ? undefined : medianOf(fetches),
    waitsForPrefix: true,
    level: 'all',
  };
}

/**
 * Chunk lengths of an engine that bounds steps by their time vary: half of all prompt tokens were
 * computed in chunks of at least this length.
 */
function chunkOfHalf(chunks: readonly number[]): number {
  const sorted = [...chunks].sort((a, b) => b - a);
  const half = sorted.reduce((a, b) => a + b, 0) / 2;
  let sum = 0;
  return must(
    sorted.find((tokens) => {
      sum += tokens;
      return sum >= half;
    }),
    'half of the tokens are in some chunk',
  );
}

/**
 * Time to first token from dispatch on, and the time from there to the end, as if nobody else had been
 * there: requests that met others are longer than their own work and count as outliers.
 */
function ofReceipts(objects: readonly Record<string, unknown>[]): Observed {
  const observations: Observation[] = [];
  for (const { promptTokens, actual } of objects) {
    const { status, cachedTokens, outputTokens, ttftUs, prefillUs, e2eUs } = fieldsOf(actual);
    if (status !== 'done') continue;
    const numbers = [promptTokens, cachedTokens, outputTokens, ttftUs, prefillUs, e2eUs];
    if (!numbers.every((value) => typeof value === 'number')) continue;
    const [prompt, cached, output, firstUs, ownUs, endUs] = numbers as number[];
    const uncached = prompt - cached;
    if (uncached < 1 || ownUs <= 0) continue;
    const none = { promptTokens: 0, tokenContext: 0, decodes: 0, decodeContext: 0 };
    observations.push({
      ...none,
      steps: 1,
      promptTokens: uncached,
      tokenContext: uncached * (cached + uncached / 2),
      us: ownUs,
    });
    const steps = output - 1;
    if (steps < 1 || endUs <= firstUs) continue;
    const decodeContext = steps * (prompt + 1) + (steps * (steps - 1)) / 2;
    observations.push({ ...none, steps, decodes: steps, decodeContext, us: endUs - firstUs });
  }
  return {
    observations,
    batchedTokensMax: undefined,
    sequencesMax: undefined,
    hostFetchPerTokenUs: undefined,
    waitsForPrefix: undefined,
    level: 'typical',
  };
}

/** Undefined where the line is cut short, as the last one of a log may be. */
function stepOf(object: Record<string, unknown>): StepLogLine | undefined {
  const { promptTokens, tokenContext, decodes, decodeContext, fetchedTokens, moveUs, us } = object;
  const all = { promptTokens, tokenContext, decodes, decodeContext, fetchedTokens, moveUs, us };
  const isWhole = Object.values(all).every((value) => typeof value === 'number' && value >= 0);
  return isWhole ? (all as StepLogLine) : undefined;
}

function medianOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? fieldsOf(value) : undefined;
  } catch {
    return undefined; // The caller says which line.
  }
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
