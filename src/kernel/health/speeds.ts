/**
 * How fast workers are beside their like: times between tokens, and prompts against what was predicted
 * for them. Only workers of one class are compared, each by the mean of its own last requests, with the
 * median of the others: one that is many times slower is sick, whatever its health check says.
 */
import type { WorkerId } from '../../model/ids.ts';

/** So many requests are looked back at, by a mean that fades. */
const MEMORY = 8;
/** Fewer say nothing. */
const SEEN_MIN = 3;
/** So many times the others' median is slow. */
const SLOW = 4;
/** A difference of less than this is nobody's trouble, how large the ratio may be. */
const ITL_US_MIN = 2_000;
const PREFILL_RATIO_MIN = 2;

export class Speeds {
  readonly #records = new Map<WorkerId, Record>();

  /** Microseconds between two tokens of one answer. */
  sawItl(worker: WorkerId, us: number): void {
    this.#record(worker).itlUs.add(us);
  }

  /** What a prompt took over what was predicted for it. */
  sawPrefill(worker: WorkerId, ratio: number): void {
    this.#record(worker).prefillRatio.add(ratio);
  }

  /** What was seen of it counts no more. */
  forget(worker: WorkerId): void {
    this.#records.delete(worker);
  }

  /** How many times slower than its like it is, where that is too much; undefined: it is not. */
  outlier(worker: WorkerId, like: readonly WorkerId[]): number | undefined {
    const own = this.#records.get(worker);
    if (own === undefined) return undefined;
    return (
      slowness(own.itlUs, this.#others(worker, like, 'itlUs'), ITL_US_MIN) ??
      slowness(own.prefillRatio, this.#others(worker, like, 'prefillRatio'), PREFILL_RATIO_MIN)
    );
  }

  #others(worker: WorkerId, like: readonly WorkerId[], figure: keyof Record): number[] {
    const means: number[] = [];
    for (const other of like) {
      const seen = this.#records.get(other)?.[figure];
      if (other !== worker && seen !== undefined && seen.count >= SEEN_MIN) means.push(seen.mean);
    }
    return means;
  }

  #record(worker: WorkerId): Record {
    let record = this.#records.get(worker);
    if (record === undefined) {
      record = { itlUs: new Mean(), prefillRatio: new Mean() };
      this.#records.set(worker, record);
    }
    return record;
  }
}

interface Record {
  itlUs: Mean;
  prefillRatio: Mean;
}

/** Of logarithms: one request that took very long does not make a slow worker. */
class Mean {
  count = 0;
  #log = 0;

  get mean(): number {
    return Math.exp(this.#log);
  }

  add(value: number): void {
    if (value <= 0) return;
    this.count++;
    this.#log += (Math.log(value) - this.#log) / Math.min(this.count, MEMORY);
  }
}

function slowness(own: Mean, others: number[], least: number): number | undefined {
  if (own.count < SEEN_MIN || others.length < 2) return undefined;
  others.sort((a, b) => a - b);
  const median = others[others.length >> 1];
  const isSlow = own.mean >= SLOW * median && own.mean - median >= least;
  return isSlow ? own.mean / median : undefined;
}
