/**
 * Crowds of agents through all that makes somebody wait: the gate, the queue for slots, tenants, classes,
 * sub-agents, work that nobody waits for, clients that leave and workers that fail. Nobody waits for ever.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Asked, KernelWorld, workerOf } from '../../test/kernel-world.ts';
import { Heap } from '../base/heap.ts';
import { Prng } from '../base/prng.ts';

/** More with STATOR_SEEDS: the claim is made for 10,000. */
const SEEDS = Number(process.env.STATOR_SEEDS ?? 60);
const FIRST_SEED = Number(process.env.STATOR_SEED ?? 1);
const S = 1_000_000;
/** Whoever waits longer waits for ever: a thousand times what all of them together have to do. */
const YEAR_US = 40_000 * S;

test(`nobody waits for ever: ${SEEDS} crowds through caches and slots that hold a few of them`, () => {
  let longestUs = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const crowd = new Crowd(seed);
    crowd.run();
    const replay = `replay with STATOR_SEED=${seed} STATOR_SEEDS=1`;
    assert.equal(crowd.unfinished, 0, `${crowd.waiting()} wait for ever: ${replay}`);
    assert.deepEqual(crowd.world.rejected, [], replay);
    longestUs = Math.max(longestUs, crowd.longestUs);
  }
  console.log(`  the longest wait was ${Math.round(longestUs / S)} s`);
});

interface Agent {
  turns: number;
  tokens: number;
  asked: Asked;
  /** Whoever goes on when it has ended. */
  parent: string | undefined;
  /** Sub-agents that it waits for. */
  children: number;
  /** Workers that failed its newest request. */
  losses: number;
}

/** Agents of any size that each make their turns; an engine serves each request in its own time. */
class Crowd {
  readonly world: KernelWorld;
  unfinished = 0;
  longestUs = 0;
  readonly #agenda = new Heap<() => void>();
  readonly #rng: Prng;
  readonly #agents = new Map<string, Agent>();
  readonly #waitsSinceUs = new Map<string, number>();
  readonly #running = new Map<string, number>();
  readonly #isRoomy: boolean;

  constructor(seed: number) {
    const rng = new Prng(seed);
    this.#rng = rng;
    this.#isRoomy = rng.below(2) === 0;
    const slots = this.#isRoomy ? 64 : 1 + rng.below(4);
    const device = rng.below(2) === 0 ? {} : { deviceTokens: 9_000 };
    const weights = [1, 1, 0.25, 8].map((weight, i) => [`t${i}`, weight] as const);
    const requestsMax = this.#isRoomy ? 1_000 : slots + rng.below(3);
    this.world = new KernelWorld(
      Array.from({ length: 1 + rng.below(3) }, (_, i) =>
        workerOf(`w${i}`, 20_000, { ...device, slots, requestsMax, models: ['m', 'n'] }),
      ),
      { tenantWeights: new Map(weights) },
    );
    this.world.onPlaced = (thread) => this.#placed(thread);
    const agents = 3 + rng.below(14);
    for (let i = 0; i < agents; i++) this.#begin(`agent-${i}`, this.#anybody());
  }

  /** Until all have ended, or for a year. */
  run(): void {
    const { world } = this;
    while (this.unfinished > 0 && world.nowUs < YEAR_US) {
      const next = this.#agenda.peek();
      const tickUs = world.nowUs + S;
      if (next === undefined || next.key > tickUs) world.pass(S);
      else {
        this.#agenda.pop();
        world.nowUs = Math.max(world.nowUs, next.key);
        next.value();
      }
    }
  }

  waiting(): string {
    return [...this.#waitsSinceUs.keys()].join(', ');
  }

  #anybody(): Asked {
    const rng = this.#rng;
    const asked = { priority: rng.below(5) - 2, tenant: `t${rng.below(4)}` };
    const model = rng.pick(['m', 'm', 'n']);
    if (rng.below(8) === 0) return { ...asked, model, whenIdle: true };
    return { ...asked, model, strictPriority: rng.below(6) === 0 ? 1 : 0 };
  }

  #begin(thread: string, asked: Asked, parent?: string): void {
    const rng = this.#rng;
    const tokens = 500 + rng.below(rng.below(4) === 0 ? 18_000 : 6_000);
    this.#agents.set(thread, {
      turns: 1 + rng.below(6),
      tokens,
      asked,
      parent,
      children: 0,
      losses: 0,
    });
    this.unfinished++;
    const beginUs = parent === undefined ? 30 * S : S;
    this.#agenda.push(this.world.nowUs + rng.below(beginUs), () => this.#ask(thread));
  }

  #ask(thread: string): void {
    const agent = this.#agents.get(thread);
    if (agent === undefined) return;
    agent.losses = 0;
    const { world } = this;
    const session = agent.asked.session ?? thread;
    const isIn = (this.#running.get(session) ?? 0) > 0;
    this.#waitsSinceUs.set(thread, world.nowUs);
    const place = world.ask(thread, agent.tokens, agent.asked);
    // With slots for all: a program that is in has all its sub-agents in.
    const isHeld =
      place === undefined && isIn && this.#isRoomy && agent.asked.whenIdle === undefined;
    assert.ok(!isHeld, `${thread} is held while its program runs`);
    if (this.#rng.below(25) === 0 && place === undefined) this.#leaves(thread);
  }

  #placed(thread: string): void {
    const { world } = this;
    const sinceUs = this.#waitsSinceUs.get(thread) ?? world.nowUs;
    this.longestUs = Math.max(this.longestUs, world.nowUs - sinceUs);
    this.#waitsSinceUs.delete(thread);
    this.#runs(thread, 1);
    const rng = this.#rng;
    const isLost = rng.below(20) === 0 && this.#isPatient(thread);
    this.#agenda.push(world.nowUs + 1 + rng.below(20 * S), () => {
      if (isLost) this.#lost(thread);
      else this.#ended(thread);
    });
  }

  /** A request is refused when its third worker fails it. */
  #isPatient(thread: string): boolean {
    const agent = this.#agents.get(thread);
    return agent !== undefined && ++agent.losses <= 2;
  }

  #runs(thread: string, by: 1 | -1): void {
    const session = this.#agents.get(thread)?.asked.session ?? thread;
    this.#running.set(session, (this.#running.get(session) ?? 0) + by);
  }

  /** Its client gives up, and asks again later. */
  #leaves(thread: string): void {
    const { world } = this;
    world.tell({ kind: 'cancelled', request: world.request(thread) });
    this.#waitsSinceUs.delete(thread);
    this.#agenda.push(world.nowUs + 1 + this.#rng.below(60 * S), () => this.#ask(thread));
  }

  /** Its worker failed: once more, and then its client asks anew. */
  #lost(thread: string): void {
    const { world } = this;
    this.#runs(thread, -1);
    this.#waitsSinceUs.set(thread, world.nowUs);
    world.fail(thread);
  }

  #ended(thread: string): void {
    this.#runs(thread, -1);
    this.world.end(thread);
    const agent = this.#agents.get(thread);
    if (agent === undefined) return;
    agent.tokens += this.#rng.below(1_500);
    if (--agent.turns === 0) this.#over(thread, agent);
    else if (this.#rng.below(6) === 0 && agent.parent === undefined) this.#fanOut(thread, agent);
    else this.#askSoon(thread);
  }

  /** It goes on when all its sub-agents have ended. */
  #fanOut(thread: string, agent: Agent): void {
    agent.children = 1 + this.#rng.below(4);
    for (let i = 0; i < agent.children; i++) {
      const asked = { ...agent.asked, session: thread, parent: thread };
      this.#begin(`${thread}/${agent.turns}.${i}`, asked, thread);
    }
  }

  #over(thread: string, { parent }: Agent): void {
    this.unfinished--;
    this.#agents.delete(thread);
    const waiting = parent === undefined ? undefined : this.#agents.get(parent);
    if (parent !== undefined && waiting !== undefined && --waiting.children === 0) {
      this.#askSoon(parent);
    }
  }

  #askSoon(thread: string): void {
    const atUs = this.world.nowUs + 1 + this.#rng.below(15 * S);
    this.#agenda.push(atUs, () => this.#ask(thread));
  }
}
