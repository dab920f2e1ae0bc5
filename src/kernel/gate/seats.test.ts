import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Heap } from '../../base/heap.ts';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, SessionId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Arrival, Fact, Order } from '../../model/kernel-io.ts';
import type { Worker } from '../../model/worker.ts';
import { Kernel } from '../kernel.ts';

/** More with STATOR_SEEDS: the claim is made for 10,000. */
const SEEDS = Number(process.env.STATOR_SEEDS ?? 40);
const S = 1_000_000;

test('where all contexts fit nobody waits, and nothing asks to be woken', () => {
  const world = new World([workerOf('a', 10_000)]);
  for (const id of ['x', 'y', 'z']) {
    assert.equal(world.ask(id, 2_000), 'a');
    world.end(id);
  }
  assert.equal(world.gated, 0);
  assert.equal(world.wakes, 0);
});

test('who does not fit waits in line, and sits down when somebody has gone for good', () => {
  const world = new World([workerOf('a', 10_000)]);
  world.ask('x', 4_000);
  world.ask('y', 4_000);
  world.end('x');
  assert.equal(world.ask('z', 4_000), undefined);
  assert.equal(world.gated, 1);
  // y is in a turn and x away for a moment only: holding x costs less than computing it again.
  world.pass(100_000);
  assert.equal(world.gated, 1);
  world.pass(3600 * S);
  assert.equal(world.placed.get('z'), 'a');
});

test('a program stands up between its turns, never in one, and comes back by its claim', () => {
  const world = new World([workerOf('a', 10_000)]);
  world.ask('x', 9_000);
  assert.equal(world.ask('z', 4_000), undefined);
  world.pass(20 * S);
  assert.equal(world.gated, 1, 'x runs all the time');
  world.end('x');
  // Computing x again takes 9 s of a worker of which it holds nine tenths.
  world.pass(9 * S);
  assert.equal(world.gated, 1, 'x may be back any moment');
  world.pass(2 * S);
  assert.equal(world.placed.get('z'), 'a', 'holding x has cost more than computing it again');
  assert.equal(world.ask('x', 9_100), undefined);
  world.end('z');
  world.pass(3600 * S);
  assert.equal(world.placed.get('x'), 'a');
});

test('a sub-agent of a program that is in never waits for room: its parent waits for it', () => {
  const world = new World([workerOf('a', 10_000)]);
  world.ask('x', 6_000);
  world.end('x');
  assert.equal(world.ask('x/child', 6_000, { session: 'x' }), 'a');
  // Some clients name a sub-agent's session anew, and its parent.
  assert.equal(world.ask('y', 6_000, { parent: 'x' }), 'a');
  assert.equal(world.ask('other', 6_000), undefined);
});

test('contexts that grow too far: the weakest claims stand up, and the others go on', () => {
  const world = new World([workerOf('a', 10_000)]);
  world.ask('x', 4_000);
  world.ask('y', 4_000);
  world.pass(S);
  world.end('x');
  world.end('y');
  assert.equal(world.ask('x', 9_000), 'a', 'y, who is idle, makes room');
  assert.equal(world.ask('y', 4_100), undefined);
});

test('a context larger than any cache is served alone', () => {
  const world = new World([workerOf('a', 10_000, { contextTokens: 50_000 })]);
  assert.equal(world.ask('x', 20_000), 'a');
  world.end('x');
  assert.equal(world.ask('x', 20_100), 'a');
});

test('priority comes before waiting', () => {
  const world = new World([workerOf('a', 10_000)]);
  world.ask('x', 9_000);
  world.ask('plain', 9_000);
  world.pass(S);
  world.ask('tagged', 9_000, { priority: 5 });
  world.end('x');
  world.pass(600 * S);
  assert.equal(world.placed.get('tagged'), 'a');
  assert.equal(world.placed.get('plain'), undefined);
});

test('who leaves the line, or is refused in it, leaves nothing behind', () => {
  const world = new World([workerOf('a', 10_000)], { queueUsMax: 5 * S });
  world.ask('x', 9_000);
  world.ask('y', 9_000);
  world.ask('z', 9_000);
  world.tell({ kind: 'cancelled', request: world.request('y') });
  world.pass(10 * S);
  assert.deepEqual(world.rejected, ['z']);
  assert.equal(world.gated, 0);
  const before = world.wakes;
  world.pass(100 * S);
  assert.ok(world.wakes <= before + 1, 'nobody waits: nothing to look after');
});

test('a client is refused at once where the line is longer than its patience', () => {
  const world = new World([workerOf('a', 10_000)]);
  for (const id of ['x', 'y', 'v']) world.ask(id, 9_000);
  for (const id of ['x', 'y']) {
    world.end(id);
    world.pass(600 * S);
  }
  world.ask('w', 9_000);
  world.ask('z', 9_000, { patienceUs: S });
  assert.deepEqual(world.rejected, ['z']);
});

test('on a worker whose device runs fewer than it keeps, turns of those up front are due at once', () => {
  const world = new World([workerOf('a', 40_000, { deviceTokens: 10_000 })]);
  world.ask('x', 6_000);
  world.ask('y', 6_000);
  assert.equal(world.due.get('x'), world.askedUs.get('x'));
  const dueUs = world.due.get('y') ?? 0;
  assert.ok(dueUs > (world.askedUs.get('y') ?? 0), 'x is up front: y fills what is left over');
  world.end('x');
  world.end('y');
  // y waited all the while and x did not: now it is its turn.
  world.pass(1);
  for (let turn = 1; turn < 5; turn++) {
    world.ask('y', 6_000 + turn);
    world.pass(60 * S);
    world.end('y');
  }
  world.ask('y', 6_100);
  assert.equal(world.due.get('y'), world.askedUs.get('y'));
});

test(`nobody waits for ever: ${SEEDS} crowds through caches that hold a few of them`, () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const crowd = new Crowd(seed);
    crowd.run();
    assert.equal(crowd.unfinished, 0, `seed ${seed}: replay with STATOR_SEEDS=${seed}`);
  }
});

interface Asked {
  session?: string;
  parent?: string;
  priority?: number;
  patienceUs?: number;
  tenant?: string;
}

/** A kernel whose requests are named by their thread, and time that passes in steps. */
class World {
  nowUs = 0;
  wakes = 0;
  readonly placed = new Map<string, string>();
  readonly due = new Map<string, number | undefined>();
  readonly askedUs = new Map<string, number>();
  readonly rejected: string[] = [];
  onPlaced: (thread: string) => void = () => {};
  readonly #kernel: Kernel;
  readonly #threadOf = new Map<RequestId, string>();
  readonly #requestOf = new Map<string, RequestId>();

  constructor(workers: readonly Worker[], settings: { queueUsMax?: number } = {}) {
    const { limits } = Config.parse({});
    const patient = { queueUsMax: Number.MAX_SAFE_INTEGER / 2, ...settings };
    this.#kernel = new Kernel({
      settings: { ...limits, ...patient, policy: 'stator' },
      rng: new Prng(1),
    });
    for (const worker of workers) this.tell({ kind: 'workerJoined', worker });
  }

  get gated(): number {
    return this.#kernel.state(this.nowUs).gatedPrograms;
  }

  request(thread: string): RequestId {
    return this.#requestOf.get(thread) as RequestId;
  }

  /** Where it was placed at once, if it was. */
  ask(thread: string, promptTokens: number, given: Asked = {}): string | undefined {
    const id = `${thread}#${this.#threadOf.size}` as RequestId;
    this.#threadOf.set(id, thread);
    this.#requestOf.set(thread, id);
    this.placed.delete(thread);
    this.askedUs.set(thread, this.nowUs);
    const { session = thread, parent, priority = 0, patienceUs, tenant = 't' } = given;
    const request: Arrival = {
      id,
      tenant: tenant as TenantId,
      model: 'm',
      thread: thread as ThreadId,
      session: session as SessionId,
      parent: parent as ThreadId | undefined,
      promptTokens,
      hashes: new BigUint64Array(0),
      blockTokens: 16,
      outputTokensMax: 100,
      priority,
      patienceUs,
    };
    this.tell({ kind: 'arrived', request });
    return this.placed.get(thread);
  }

  end(thread: string): void {
    const request = this.request(thread);
    this.tell({ kind: 'firstTokenSent', request });
    this.tell({ kind: 'finished', request, outputTokens: 20, cachedTokens: undefined });
  }

  pass(us: number): void {
    this.nowUs += us;
    this.tell({ kind: 'ticked' });
  }

  tell(fact: Fact): void {
    const orders = this.#kernel.handle(this.nowUs, fact);
    this.#kernel.check();
    for (const order of orders) this.#perform(order);
  }

  #perform(order: Order): void {
    if (order.kind === 'wake') this.wakes++;
    if (order.kind === 'reject') {
      this.rejected.push(this.#threadOf.get(order.request) as string);
    }
    if (order.kind !== 'dispatch') return;
    const thread = this.#threadOf.get(order.request) as string;
    this.placed.set(thread, order.worker);
    this.due.set(thread, order.dueUs);
    this.onPlaced(thread);
  }
}

/** Agents of any size that each make their turns; an engine serves each request in its own time. */
class Crowd {
  unfinished: number;
  readonly #world: World;
  readonly #agenda = new Heap<() => void>();
  readonly #rng: Prng;

  constructor(seed: number) {
    const rng = new Prng(seed);
    this.#rng = rng;
    const device = rng.below(2) === 0 ? {} : { deviceTokens: 9_000 };
    this.#world = new World(
      Array.from({ length: 1 + rng.below(3) }, (_, i) => workerOf(`w${i}`, 20_000, device)),
    );
    this.#world.onPlaced = (thread) => {
      this.#agenda.push(this.#world.nowUs + 1 + rng.below(20 * S), () => this.#ended(thread));
    };
    this.unfinished = 3 + rng.below(14);
    for (let i = 0; i < this.unfinished; i++) this.#begin(`agent-${i}`);
  }

  /** Until all have ended, or for a year. */
  run(): void {
    const world = this.#world;
    while (this.unfinished > 0 && world.nowUs < 31_536_000 * S) {
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

  readonly #agents = new Map<string, { turns: number; tokens: number; asked: Asked }>();

  #begin(thread: string): void {
    const rng = this.#rng;
    const tokens = 500 + rng.below(rng.below(4) === 0 ? 18_000 : 6_000);
    const asked = { priority: rng.below(3) - 1, tenant: `t${rng.below(2)}` };
    this.#agents.set(thread, { turns: 1 + rng.below(6), tokens, asked });
    this.#agenda.push(rng.below(30 * S), () => this.#ask(thread));
  }

  #ask(thread: string): void {
    const agent = this.#agents.get(thread);
    if (agent !== undefined) this.#world.ask(thread, agent.tokens, agent.asked);
  }

  #ended(thread: string): void {
    this.#world.end(thread);
    const agent = this.#agents.get(thread);
    if (agent === undefined || --agent.turns === 0) {
      this.unfinished--;
      return;
    }
    agent.tokens += this.#rng.below(1_500);
    this.#agenda.push(this.#world.nowUs + 1 + this.#rng.below(15 * S), () => this.#ask(thread));
  }
}

function workerOf(id: string, cacheTokens: number, given: Partial<Worker> = {}): Worker {
  return {
    id: id as WorkerId,
    models: ['m'],
    blockTokens: 16,
    contextTokens: 60_000,
    slots: 64,
    requestsMax: 1_000,
    cacheTokens,
    hasEvents: false,
    class: 'c',
    prefill: { perTokenUs: 1_000, perTokenContextUs: 0 },
    decode: { stepUs: 10_000, perSequenceUs: 0 },
    ...given,
  };
}
