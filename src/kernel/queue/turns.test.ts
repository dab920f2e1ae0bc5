import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import type { RequestId, TenantId, ThreadId } from '../../model/ids.ts';
import type { Arrival } from '../../model/kernel-io.ts';
import { Turns } from './turns.ts';
import type { Waiter } from './waiting.ts';

const PATIENCE_US = 1e12;

test('with less room than is asked for nobody waits for ever, whoever they are', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const desk = new Desk(seed);
      const { random } = desk;
      const victim = desk.arrives({
        tenant: random.pick(['a', 'b', 'c']),
        thread: random.pick([undefined, 'long']),
        priority: random.pick([-9, -1, 0]),
        workUs: random.pick([1_000, 4_000_000]),
      });
      if (random.below(2) === 0) desk.gives('long', 1e9);
      let rounds = 0;
      while (!desk.isServed(victim)) {
        // More comes than is served, each more attractive than the victim.
        for (let i = 0; i < 2; i++) {
          desk.arrives({
            tenant: random.pick(['a', 'b', 'c', `t${random.below(50)}`]),
            thread: `t${random.below(1000)}`,
            priority: random.pick([0, 0, 1, 3, 100]),
            workUs: 1 + random.below(50_000),
          });
        }
        desk.serves();
        assert.ok(rounds++ < 40_000, `seed ${seed}: ${victim.id} waits for ever`);
        if (desk.waiters.length > 300) desk.drop(150, victim);
      }
    }),
    { numRuns: 8 },
  );
});

test('tenants get equal time however much they ask for, and what one leaves is the others’', () => {
  const desk = new Desk(1);
  const given = new Map<string, number>();
  for (let round = 0; round < 300; round++) {
    for (let i = 0; i < 5; i++) desk.arrives({ tenant: 'loud', workUs: 1_000 });
    desk.arrives({ tenant: 'large', workUs: 9_000 });
    if (round % 20 === 0) desk.arrives({ tenant: 'rare', workUs: 500 });
    const { request, workUs = 0 } = desk.serves();
    given.set(request.tenant, (given.get(request.tenant) ?? 0) + workUs);
  }
  const [loud, large, rare] = ['loud', 'large', 'rare'].map((name) => given.get(name) ?? 0);
  assert.ok(Math.abs(loud - large) <= 9_000, `${loud} and ${large}`);
  assert.equal(rare, 15 * 500, 'who asks for little has it');
});

test('a tenant of three times the weight gets three times as much', () => {
  const desk = new Desk(7);
  for (let i = 0; i < 300; i++) {
    desk.arrives({ tenant: 'heavy', workUs: 1_000 });
    desk.arrives({ tenant: 'light', workUs: 1_000 });
  }
  const served = Array.from({ length: 200 }, () => desk.serves().request.tenant as string);
  assert.equal(served.filter((tenant) => tenant === 'heavy').length, 150);
});

test('a tenant that was away has no credit for it', () => {
  const desk = new Desk(2);
  desk.arrives({ tenant: 'away', workUs: 1_000 });
  for (let i = 0; i < 500; i++) {
    desk.arrives({ tenant: 'there', workUs: 1_000 });
    desk.arrives({ tenant: 'there', workUs: 1_000 });
    desk.serves();
  }
  for (let i = 0; i < 100; i++) desk.arrives({ tenant: 'away', workUs: 1_000 });
  const next = Array.from({ length: 40 }, () => desk.serves().request.tenant as string);
  assert.equal(next.filter((tenant) => tenant === 'away').length, 20);
});

test('a class that is a level more important gets four times as much, of its own tenant’s', () => {
  const desk = new Desk(3);
  for (let i = 0; i < 300; i++) {
    desk.arrives({ tenant: 'a', priority: 1, workUs: 1_000 });
    desk.arrives({ tenant: 'a', workUs: 1_000 });
    desk.arrives({ tenant: 'b', workUs: 1_000 });
  }
  const served = Array.from({ length: 200 }, () => desk.serves().request);
  const count = (tenant: string, priority: number) =>
    served.filter((one) => one.tenant === tenant && one.priority === priority).length;
  assert.equal(count('b', 0), 100);
  assert.ok(Math.abs(count('a', 1) - 80) <= 1, `${count('a', 1)} of 100`);
});

test('strict priority goes before everything, whatever was had', () => {
  const desk = new Desk(4);
  for (let i = 0; i < 50; i++) desk.arrives({ tenant: 'a', priority: 100, workUs: 10 });
  const strict = Array.from({ length: 5 }, () =>
    desk.arrives({ tenant: 'a', strictPriority: 2, priority: -5, workUs: 1e6 }),
  );
  desk.arrives({ tenant: 'b', strictPriority: 1, workUs: 10 });
  const first = Array.from({ length: 6 }, () => desk.serves().request);
  assert.deepEqual(first.slice(0, 5), strict);
  assert.equal(first[5].tenant, 'b');
});

test('short work, little had, the last of its siblings, and a deadline each go first', () => {
  const long = { tenant: 'a', workUs: 1e6 };
  const cases: { first: Given; second: Given; why: string }[] = [
    { why: 'short', first: { ...long, workUs: 1e4 }, second: long },
    { why: 'had less', first: { ...long, thread: 'new' }, second: { ...long, thread: 'old' } },
    { why: 'last child', first: long, second: { ...long, siblings: 8 } },
    { why: 'deadline', first: { ...long, patienceUs: 1_100_000 }, second: long },
  ];
  for (const { first, second, why } of cases) {
    const desk = new Desk(5);
    desk.gives('old', 1e9);
    desk.arrives(second);
    const expected = desk.arrives(first);
    desk.passes(1_000_000);
    assert.equal(desk.serves().request, expected, why);
  }
});

test('whoever comes counts those that go before, of its own model', () => {
  const desk = new Desk(6);
  for (const priority of [1, 0, -1]) desk.arrives({ tenant: 'a', priority, workUs: 10 });
  desk.arrives({ tenant: 'a', strictPriority: 3, workUs: 10 });
  desk.arrives({ tenant: 'a', model: 'other', workUs: 10 });
  const ahead = (given: Given) => desk.turns.ahead(arrivalOf('x', given), desk.waiters);
  assert.equal(ahead({ tenant: 'b' }), 1 + 1 + 1 / 4 + 1);
  assert.equal(ahead({ tenant: 'b', priority: 1 }), 1 + 1 / 4 + 1 / 16 + 1);
  assert.equal(ahead({ tenant: 'b', strictPriority: 9 }), 0);
});

interface Given extends Partial<Pick<Arrival, 'priority' | 'strictPriority' | 'model'>> {
  tenant: string;
  thread?: string | undefined;
  workUs?: number;
  siblings?: number;
  patienceUs?: number;
}

/** One place, given to whoever's turn it is. */
class Desk {
  readonly random: Prng;
  readonly turns: Turns;
  waiters: Waiter[] = [];
  readonly #siblings = new Map<RequestId, number>();
  #nowUs = 0;
  #next = 0;

  constructor(seed: number) {
    this.random = new Prng(seed);
    this.turns = new Turns({
      programsMax: 5_000,
      siblings: ({ id }) => this.#siblings.get(id) ?? 1,
      deadlineUs: ({ request, arrivedUs }) => arrivedUs + (request.patienceUs ?? PATIENCE_US),
      weightOf: (tenant) => (tenant === 'heavy' ? 3 : 1),
    });
  }

  arrives(given: Given): Arrival {
    const request = arrivalOf(`r${this.#next++}`, given);
    this.#siblings.set(request.id, given.siblings ?? 1);
    const { workUs } = given;
    const waiter = { request, workUs, arrivedUs: this.#nowUs, excluded: new Set<never>() };
    this.waiters.push({ ...waiter, attempt: 1 });
    return request;
  }

  gives(thread: string, usedUs: number): void {
    this.turns.served(arrivalOf('given', { tenant: 'a', thread }), usedUs, 'alone');
  }

  passes(us: number): void {
    this.#nowUs += us;
  }

  serves(): Waiter {
    const order = [...this.turns.inOrder(this.#nowUs, this.waiters)];
    assert.equal(new Set(order).size, this.waiters.length, 'everybody is in order once');
    const [first] = order;
    this.waiters = this.waiters.filter((one) => one !== first);
    this.#nowUs += first.workUs ?? 1;
    const among = this.waiters.length === 0 ? 'alone' : 'others wait';
    this.turns.served(first.request, first.workUs ?? 1, among);
    return first;
  }

  isServed(request: Arrival): boolean {
    return this.waiters.every((waiter) => waiter.request !== request);
  }

  /** Their clients left; all but one. */
  drop(count: number, kept: Arrival): void {
    const left = this.waiters.slice(count);
    const stays = this.waiters.slice(0, count).filter(({ request }) => request === kept);
    this.waiters = [...stays, ...left];
  }
}

function arrivalOf(id: string, given: Given): Arrival {
  return {
    id: id as RequestId,
    tenant: given.tenant as TenantId,
    model: given.model ?? 'm',
    thread: given.thread as ThreadId | undefined,
    promptTokens: 1,
    hashes: new BigUint64Array(0),
    blockTokens: 16,
    outputTokensMax: 1,
    priority: given.priority ?? 0,
    strictPriority: given.strictPriority,
    patienceUs: given.patienceUs,
  };
}
