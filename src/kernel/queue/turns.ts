/**
 * Whose turn it is of those who wait for a slot.
 *
 *   strict priority   whoever has more goes first, always
 *     tenants         as much predicted time of engines each, by their weights
 *       classes       of one tenant by priority: each level up is worth four of the one below
 *         requests    the highest response ratio (below)
 *
 * Tenants and classes share by start-time fair queueing (Goyal, Vin, Cheng 1996): whoever had least, by
 * weight, is next. It is fair as deficit round robin is; but that hands out a quantum at a time, which
 * would have to be as large as the dearest prompt, and those are a thousand times the usual one.
 *
 *   ratio = (waited + work) ÷ (work · attained · siblings)
 *
 * Short work passes long, and whoever is passed grows more urgent until it is not (Brinch Hansen 1971).
 * Work is what is not in any cache. `attained` grows with the logarithm of what the program was given
 * before, as levels of a feedback queue do; `siblings` are open requests of the program: the last child
 * that a parent waits for goes before one of eight. As both are bounded, nobody waits for ever within
 * its class. A wait counts for more as its deadline comes closer.
 */
import { Heap } from '../../base/heap.ts';
import { Lru } from '../../base/lru.ts';
import type { TenantId } from '../../model/ids.ts';
import type { Arrival } from '../../model/kernel-io.ts';
import { programKey } from '../policy.ts';
import { MostFirst } from './most-first.ts';
import type { Waiter } from './waiting.ts';

export interface TurnsParts {
  /** Programs whose service is remembered. */
  programsMax: number;
  /** Requests of its program that wait or run, itself included. */
  siblings: (request: Arrival) => number;
  /** Wait that ends with a refusal. */
  deadlineUs: (waiter: Waiter) => number;
  weightOf: (tenant: TenantId) => number;
}

/** What somebody was given, in microseconds ÷ weight, while others waited. */
interface Share {
  servedUs: number;
}

interface Tenant extends Share {
  /** Where its class that was served last began. */
  virtualUs: number;
  /** By level of priority. */
  readonly classes: Map<number, Share>;
}

export class Turns {
  readonly #parts: TurnsParts;
  readonly #tenants = new Map<TenantId, Tenant>();
  readonly #attainedUs: Lru<string, number>;
  /** Where the tenant that was served last began: whoever comes anew has had as much. */
  #virtualUs = 0;
  /** Programs of those that wait: naming one takes as long as the rest of its rank. */
  readonly #keys = new WeakMap<Arrival, string>();

  constructor(parts: TurnsParts) {
    this.#parts = parts;
    this.#attainedUs = new Lru(parts.programsMax);
  }

  /** All of them, the next one first; whoever needs only the first few pays for no more. */
  *inOrder(nowUs: number, waiters: readonly Waiter[]): Iterable<Waiter> {
    if (waiters.length < 2) return yield* waiters;
    const tiers = grouped(waiters, ({ request }) => request.strictPriority ?? 0);
    const strictest = [...tiers].sort(([a], [b]) => b - a);
    for (const [, tier] of strictest) yield* this.#shared(nowUs, tier);
  }

  /** It was given so many microseconds of an engine, while others waited for one or not. */
  served(request: Arrival, usedUs: number, among: 'alone' | 'others wait'): void {
    const workUs = Math.max(1, usedUs);
    const key = this.#keyOf(request);
    if (key !== '') this.#attainedUs.set(key, (this.#attainedUs.peek(key) ?? 0) + workUs);
    if (among === 'alone') {
      // Nobody was kept waiting: there is nothing to make up for.
      this.#tenants.clear();
      this.#virtualUs = 0;
      return;
    }
    const tenant = this.#tenants.get(request.tenant) ?? newTenant();
    this.#tenants.set(request.tenant, tenant);
    const startUs = Math.max(tenant.servedUs, this.#virtualUs);
    this.#virtualUs = startUs;
    tenant.servedUs = startUs + workUs / this.#parts.weightOf(request.tenant);
    const level = levelOf(request.priority);
    const share = tenant.classes.get(level) ?? { servedUs: 0 };
    tenant.classes.set(level, share);
    tenant.virtualUs = Math.max(share.servedUs, tenant.virtualUs);
    share.servedUs = tenant.virtualUs + workUs / weightOf(level);
    this.#forget();
  }

  /** How many of those who wait are served before one more would be, those of lower classes in part. */
  ahead({ model, priority, strictPriority = 0 }: Arrival, waiters: readonly Waiter[]): number {
    const weight = weightOf(levelOf(priority));
    let ahead = 0;
    for (const { request } of waiters) {
      const strict = request.strictPriority ?? 0;
      if (request.model !== model || strict < strictPriority) continue;
      const other = weightOf(levelOf(request.priority));
      ahead += strict > strictPriority ? 1 : Math.min(1, other / weight);
    }
    return ahead;
  }

  *#shared(nowUs: number, waiters: readonly Waiter[]): Iterable<Waiter> {
    const flows = new Heap<Flow>();
    for (const [id, own] of grouped(waiters, ({ request }) => request.tenant)) {
      const tenant = this.#tenants.get(id);
      const virtualUs = tenant?.virtualUs ?? 0;
      const classes: FlowClass[] = [];
      for (const [level, members] of grouped(own, ({ request }) => levelOf(request.priority))) {
        classes.push({
          weight: weightOf(level),
          servedUs: Math.max(virtualUs, tenant?.classes.get(level)?.servedUs ?? 0),
          waiters: new MostFirst(members, (waiter) => this.#ratio(nowUs, waiter)),
        });
      }
      // Of two that had as much the more important begins.
      classes.sort((a, b) => b.weight - a.weight);
      const weight = this.#parts.weightOf(id);
      flows.push(Math.max(this.#virtualUs, tenant?.servedUs ?? 0), { classes, weight });
    }
    for (let least = flows.pop(); least !== undefined; least = flows.pop()) {
      const { key: servedUs, value: flow } = least;
      const waiter = takeNext(flow);
      if (waiter === undefined) continue;
      yield waiter;
      flows.push(servedUs + workOf(waiter) / flow.weight, flow);
    }
  }

  #ratio(nowUs: number, waiter: Waiter): number {
    const { request, arrivedUs } = waiter;
    const workUs = workOf(waiter);
    const waitedUs = nowUs - arrivedUs;
    const leftShare = 1 - waitedUs / Math.max(1, this.#parts.deadlineUs(waiter) - arrivedUs);
    const pressingUs = waitedUs / Math.max(LEFT_SHARE_MIN, leftShare);
    const attainedUs = this.#attainedUs.peek(this.#keyOf(request)) ?? 0;
    const attained = 1 + Math.min(LEVELS_MAX, Math.log2(1 + attainedUs / workUs));
    const siblings = Math.min(SIBLINGS_MAX, this.#parts.siblings(request));
    return (pressingUs + workUs) / (workUs * attained * siblings);
  }

  /** Empty where it is of no program. */
  #keyOf(request: Arrival): string {
    const known = this.#keys.get(request);
    if (known !== undefined) return known;
    const key = programKey(request) ?? '';
    this.#keys.set(request, key);
    return key;
  }

  /** Who had no more than whoever comes anew need not be remembered. */
  #forget(): void {
    if (this.#tenants.size <= TENANTS_KEPT) return;
    for (const [id, { servedUs }] of this.#tenants) {
      if (servedUs <= this.#virtualUs) this.#tenants.delete(id);
    }
  }
}

/** Requests of one tenant, its classes apart. */
interface Flow {
  classes: FlowClass[];
  weight: number;
}

interface FlowClass {
  weight: number;
  servedUs: number;
  waiters: MostFirst<Waiter>;
}

function takeNext({ classes }: Flow): Waiter | undefined {
  let least: FlowClass | undefined;
  for (const one of classes) {
    const isOpen = one.waiters.size > 0;
    if (isOpen && (least === undefined || one.servedUs < least.servedUs)) least = one;
  }
  const waiter = least?.waiters.take();
  if (least !== undefined && waiter !== undefined) least.servedUs += workOf(waiter) / least.weight;
  return waiter;
}

const WEIGHT_BASE = 4;
const LEVEL_MAX = 4;
const LEVELS_MAX = 16;
const SIBLINGS_MAX = 16;
/** Closer to its deadline a wait counts for no more. */
const LEFT_SHARE_MIN = 0.01;
const TENANTS_KEPT = 256;

function workOf({ workUs }: Waiter): number {
  return Math.max(1, workUs ?? 0);
}

/** 1 → 1, 2 and 3 → 2, 4 to 7 → 3, beyond → 4; the same below 0. */
function levelOf(priority: number): number {
  const level = Math.min(LEVEL_MAX, Math.ceil(Math.log2(Math.abs(priority) + 1)));
  return priority < 0 ? 0 - level : level;
}

function weightOf(level: number): number {
  return WEIGHT_BASE ** level;
}

function newTenant(): Tenant {
  return { servedUs: 0, virtualUs: 0, classes: new Map() };
}

function grouped<K>(waiters: readonly Waiter[], by: (waiter: Waiter) => K): Map<K, Waiter[]> {
  const groups = new Map<K, Waiter[]>();
  for (const waiter of waiters) {
    const key = by(waiter);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [waiter]);
    else group.push(waiter);
  }
  return groups;
}
