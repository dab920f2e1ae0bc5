import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KernelWorld, type WorldSettings, workerOf } from '../../../test/kernel-world.ts';
import { Prng } from '../../base/prng.ts';
import type { TenantId } from '../../model/ids.ts';
import { Shares } from './shares.ts';

const S = 1_000_000;

test('tenants that always wait have memory × time by their weights, to within one seat each', () => {
  const tenant = fc.record({
    weight: fc.constantFrom(0.25, 1, 1, 3),
    tokensMax: fc.integer({ min: 1, max: 1_000 }),
    stayMax: fc.integer({ min: 1, max: 40 }),
  });
  fc.assert(
    fc.property(fc.array(tenant, { minLength: 2, maxLength: 5 }), fc.nat(), (tenants, seed) => {
      const rack = new Rack(tenants, seed);
      for (let second = 0; second < 400; second++) rack.pass();
      rack.check();
    }),
    { numRuns: 60 },
  );
});

test('who was away has no credit, and what was held while nobody waited is no debt', () => {
  const held = new Map([['there' as TenantId, 100]]);
  const shares = new Shares({ held: () => held, weightOf: () => 1 });
  const [there, away] = ['there', 'away'] as TenantId[];
  shares.count(0, new Set());
  shares.count(1_000 * S, new Set([there]));
  assert.equal(shares.usedBy(there), 0);
  shares.count(1_500 * S, new Set([there]));
  assert.equal(shares.usedBy(there), 50_000);
  shares.count(1_500 * S, new Set([there, away]));
  assert.equal(shares.lead(there, away), 0);
  shares.count(1_501 * S, new Set([there, away]));
  assert.equal(shares.lead(there, away), 100);
  shares.count(1_502 * S, new Set());
  assert.equal(shares.size, 0);
});

test('one program beside a hundred of another tenant runs as if it had half of everything', () => {
  const crowded = new Beside(100);
  crowded.run(2_000);
  const [one] = crowded.turns('small');
  assert.ok(one >= 0.75 * crowded.turnsAlone, `${one} turns, ${crowded.turnsAlone} alone`);
  assert.ok(
    crowded.turns('large').every((turns) => turns >= 1),
    'and all others have some',
  );
});

test('weights say who has how much', () => {
  const beside = new Beside(40, { tenantWeights: new Map([['large', 3]]) }, 40);
  beside.run(2_000);
  const sum = (tenant: string) => beside.turns(tenant).reduce((all, turns) => all + turns, 0);
  const ratio = sum('large') / sum('small');
  assert.ok(ratio > 2 && ratio < 4.5, `three to one: ${ratio.toFixed(2)}`);
});

interface Wanting {
  weight: number;
  tokensMax: number;
  stayMax: number;
}

/** Room for a few, given to whoever had least of those that wait, by hand and with `Shares`. */
class Rack {
  readonly #tenants: readonly Wanting[];
  readonly #random: Prng;
  readonly #shares: Shares;
  readonly #seats: { tenant: number; tokens: number; untilS: number }[] = [];
  /** The dumb twin: token seconds, one second at a time. */
  readonly #had: number[];
  #seconds = 0;

  constructor(tenants: readonly Wanting[], seed: number) {
    this.#tenants = tenants;
    this.#random = new Prng(seed);
    this.#had = tenants.map(() => 0);
    this.#shares = new Shares({
      held: () => tenants.map((_, i) => [nameOf(i), this.#heldBy(i)] as const),
      weightOf: (name) => tenants[Number(name)].weight,
    });
  }

  pass(): void {
    const waiting = new Set(this.#tenants.map((_, i) => nameOf(i)));
    this.#shares.count(this.#seconds * S, waiting);
    const stays = this.#seats.filter(({ untilS }) => untilS > this.#seconds);
    this.#seats.splice(0, this.#seats.length, ...stays);
    while (this.#seats.length < 4) {
      // At the same instant: who sits already counts as if its stay were over.
      const use = this.#tenants.map((_, i) => this.#shares.usedBy(nameOf(i)) + this.#promised(i));
      const tenant = use.indexOf(Math.min(...use));
      const { tokensMax, stayMax } = this.#tenants[tenant];
      const tokens = 1 + this.#random.below(tokensMax);
      const untilS = this.#seconds + 1 + this.#random.below(stayMax);
      this.#seats.push({ tenant, tokens, untilS });
    }
    for (const { tenant, tokens } of this.#seats) this.#had[tenant] += tokens;
    this.#seconds++;
  }

  check(): void {
    const use = this.#had.map((had, i) => had / this.#tenants[i].weight);
    const slack = this.#tenants.map((one) => (one.tokensMax * one.stayMax) / one.weight);
    const least = Math.min(...use);
    for (const [i, used] of use.entries()) {
      assert.ok(used - least <= 2 * Math.max(...slack), `tenant ${i}: ${use.join(', ')}`);
    }
  }

  #promised(tenant: number): number {
    let tokenS = 0;
    for (const seat of this.#seats) {
      if (seat.tenant === tenant) tokenS += seat.tokens * (seat.untilS - this.#seconds);
    }
    return tokenS / this.#tenants[tenant].weight;
  }

  #heldBy(tenant: number): number {
    return this.#seats.reduce((sum, one) => sum + (one.tenant === tenant ? one.tokens : 0), 0);
  }
}

function nameOf(tenant: number): TenantId {
  return String(tenant) as TenantId;
}

/** Programs of two tenants before one worker that holds four of them; each asks, waits and thinks. */
class Beside {
  readonly #world: KernelWorld;
  readonly #turns = new Map<string, number>();
  readonly #due = new Map<string, { kind: 'asks' | 'ends'; second: number }>();
  #second = 0;

  constructor(large: number, settings: WorldSettings = {}, small = 1) {
    this.#world = new KernelWorld([workerOf('a', 20_000, { prefill: FAST })], settings);
    this.#world.onPlaced = (thread) => {
      this.#due.set(thread, { kind: 'ends', second: this.#second + ANSWER_S });
    };
    for (let i = 0; i < large; i++) this.#joins(`large-${i}`, i % 20);
    for (let i = 0; i < small; i++) this.#joins(`small-${i}`, 100 + (i % 20));
  }

  /** Of one that never waits. */
  get turnsAlone(): number {
    return Math.floor(this.#second / (ANSWER_S + GAP_S));
  }

  turns(tenant: string): number[] {
    return [...this.#turns].filter(([name]) => name.startsWith(tenant)).map(([, turns]) => turns);
  }

  run(seconds: number): void {
    for (; this.#second < seconds; this.#second++) {
      this.#world.pass(S);
      for (const [name, { kind, second }] of [...this.#due]) {
        if (second > this.#second) continue;
        this.#due.delete(name);
        if (kind === 'asks') this.#asks(name);
        else this.#ends(name);
      }
    }
  }

  #joins(name: string, second: number): void {
    this.#turns.set(name, 0);
    this.#due.set(name, { kind: 'asks', second });
  }

  #asks(name: string): void {
    const tokens = 4_500 + (this.#turns.get(name) ?? 0);
    this.#world.ask(name, tokens, { tenant: name.slice(0, 5) });
  }

  #ends(name: string): void {
    this.#world.end(name);
    this.#turns.set(name, (this.#turns.get(name) ?? 0) + 1);
    this.#due.set(name, { kind: 'asks', second: this.#second + GAP_S });
  }
}

/** A seat is worth holding for some twenty seconds. */
const FAST = { perTokenUs: 100, perTokenContextUs: 0 };
const ANSWER_S = 3;
const GAP_S = 7;
