/**
 * A profile of a running stack whose workers log their steps: a workload is played, the steps it made are fitted;
 * then prompts sent one at a time show what a request takes besides its steps.
 */
import { readFileSync } from 'node:fs';
import { Prng } from '../base/prng.ts';
import { type FitGiven, type Fitted, fitProfile } from '../sim/fit-profile.ts';
import { readObservedOfAll } from '../sim/observed.ts';
import { type CallResult, drive, type ScriptedSession } from './drive.ts';
import { bodyOf, type Target } from './replayed.ts';

export interface Calibrated extends Fitted {
  /** From a client's sending to its first token, less the steps: gateway, sockets, two processes. */
  overheadUs: number;
}

export interface CalibrateGiven extends FitGiven {
  url: string;
  target: Target;
  /** Of each worker. */
  stepLogs: readonly string[];
  sessions: readonly ScriptedSession[];
  live: number;
  seed: number;
  onProgress: (text: string) => void;
}

/** Prompts sent one at a time: lengths differ, so that none is another's prefix or period. */
const PROBES = 12;
const PROBE_TOKENS = 64;

/** Throws an Error, one sentence, where the worker could not be measured. */
export async function calibrate(given: CalibrateGiven): Promise<Calibrated> {
  const { url, live } = given;
  const logs = given.stepLogs.map((file) => new GrowingLog(file));
  const results = await drive({
    url,
    headers: {},
    sessions: given.sessions,
    load: { kind: 'closed', live },
    run: 'calibrate',
    overlay: () => ({}),
    onProgress: ({ calls, callCount }) =>
      given.onProgress(`fitting the engine: ${calls} of ${callCount} calls`),
  });
  refuseFailures(results);
  const fitted = fitProfile(readObservedOfAll(logs.map((log) => log.news())), given);
  const overheads: number[] = [];
  for (const probe of probesOf(given)) {
    const [{ sentMs, endMs }] = refuseFailures(
      await drive({
        url,
        headers: {},
        sessions: [probe],
        load: { kind: 'closed', live: 1 },
        run: 'probe',
        overlay: () => ({}),
        onProgress: () => {},
      }),
    );
    const { observations } = readObservedOfAll(logs.map((log) => log.news()));
    const stepsUs = observations.reduce((sum, { us }) => sum + us, 0);
    overheads.push(1000 * (endMs - sentMs) - stepsUs);
  }
  overheads.sort((a, b) => a - b);
  return { ...fitted, overheadUs: Math.max(0, Math.round(overheads[PROBES >> 1])) };
}

/** A step is in the log before its token is handed out, so whoever has an answer finds its steps there. */
class GrowingLog {
  readonly #file: string;
  #read: number;

  constructor(file: string) {
    this.#file = file;
    this.#read = readFileSync(file).length;
  }

  /** What came since it was asked last, with the log's head. */
  news(): { name: string; text: string } {
    const bytes = readFileSync(this.#file);
    const head = bytes.subarray(0, bytes.indexOf(10) + 1);
    const news = bytes.subarray(Math.max(this.#read, head.length));
    this.#read = bytes.length;
    return { name: this.#file, text: `${head}${news}` };
  }
}

function probesOf({ target, seed }: CalibrateGiven): ScriptedSession[] {
  const rng = new Prng(seed).fork('probes');
  const { ids } = target;
  if (ids === undefined) throw new Error('A worker of ours takes token ids.');
  return Array.from({ length: PROBES }, (_, i) => {
    const length = PROBE_TOKENS + i;
    const prompt = Array.from({ length }, () => ids[rng.below(ids.length)]);
    const body = () => ({ ...bodyOf(target, 1), prompt });
    return {
      id: `probe-${i}`,
      startMs: 0,
      calls: [{ path: '/v1/completions', startMs: 0, waits: [], body }],
    };
  });
}

function refuseFailures(results: readonly CallResult[]): readonly CallResult[] {
  const failed = results.find(({ error }) => error !== undefined);
  if (failed !== undefined) throw new Error(`A request failed: ${failed.error}`);
  return results;
}
