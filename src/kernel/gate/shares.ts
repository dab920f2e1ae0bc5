/**
 * How much of the caches each tenant has had while somebody waited for room: tokens × time held ÷
 * weight. Whoever had least is next (start-time fair queueing, Goyal, Vin, Cheng 1996, over memory
 * instead of a link). A tenant that comes anew, or was away, has had as much as the least of those who
 * wait: what it left unused then is nobody's debt.
 */
import type { TenantId } from '../../model/ids.ts';

export interface SharesParts {
  /** Tokens of what each tenant holds now. */
  held: () => Iterable<readonly [tenant: TenantId, tokens: number]>;
  weightOf: (tenant: TenantId) => number;
}

export class Shares {
  readonly #parts: SharesParts;
  /** Token seconds ÷ weight. */
  readonly #used = new Map<TenantId, number>();
  /** The least of those who wait had so much. */
  #virtual = 0;
  /** Counted up to then; undefined: nobody waits. */
  #countedUs: number | undefined;

  constructor(parts: SharesParts) {
    this.#parts = parts;
  }

  /** Tenants whose share is remembered. */
  get size(): number {
    return this.#used.size;
  }

  /**
   * Counts what was held since the last call. `waiting`: tenants of whom somebody waits now; where none
   * does there is nothing to make up for, and all is forgotten.
   */
  count(nowUs: number, waiting: ReadonlySet<TenantId>): void {
    if (waiting.size === 0) {
      this.#used.clear();
      this.#virtual = 0;
      this.#countedUs = undefined;
      return;
    }
    const seconds = (nowUs - (this.#countedUs ?? nowUs)) / 1e6;
    this.#countedUs = nowUs;
    if (seconds > 0) this.#charge(seconds);
    let least = Number.POSITIVE_INFINITY;
    for (const tenant of waiting) {
      const used = this.#used.get(tenant) ?? 0;
      if (used < this.#virtual) this.#used.set(tenant, this.#virtual);
      least = Math.min(least, Math.max(used, this.#virtual));
    }
    this.#virtual = least;
  }

  /** Token seconds that one has had more than the other by their weights, reckoned in its own memory. */
  lead(tenant: TenantId, over: TenantId): number {
    if (tenant === over) return 0;
    return (this.usedBy(tenant) - this.usedBy(over)) * this.#parts.weightOf(tenant);
  }

  /** Token seconds ÷ weight. */
  usedBy(tenant: TenantId): number {
    return Math.max(this.#used.get(tenant) ?? 0, this.#virtual);
  }

  #charge(seconds: number): void {
    const holders = new Set<TenantId>();
    for (const [tenant, tokens] of this.#parts.held()) {
      holders.add(tenant);
      const used = (tokens * seconds) / this.#parts.weightOf(tenant);
      this.#used.set(tenant, (this.#used.get(tenant) ?? 0) + used);
    }
    // Who holds nothing and had no more than whoever comes anew need not be remembered.
    for (const [tenant, used] of this.#used) {
      if (used <= this.#virtual && !holders.has(tenant)) this.#used.delete(tenant);
    }
  }
}
