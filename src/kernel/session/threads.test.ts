import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import type { TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import { type Thread, Threads } from './threads.ts';

const WORKERS = ['a', 'b'] as WorkerId[];
const TENANT = 't' as TenantId;

test('live tokens of a worker are those of the threads that sit there, whoever moves or is forgotten', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Prng(seed);
      const threads = new Threads({ tenantsMax: 2, threadsMax: 3 });
      // The dumb twin: all threads ever, by tenant the last used three, tenants the last used two.
      const tenants = new Map<string, Map<string, Thread>>();
      const homes = new Map<Thread, WorkerId>();
      const running: Thread[] = [];
      for (let nowUs = 0; nowUs < 80; nowUs++) {
        const kind = random.below(5);
        if (kind < 3) {
          const tenant = `t${random.below(3)}`;
          const id = `s${random.below(5)}`;
          const thread = threads.arrived(nowUs, tenant as TenantId, id as ThreadId);
          use(tenants, tenant, id, thread);
          const worker = random.pick(WORKERS);
          const matchedTokens = random.below(50);
          threads.placed(thread, worker, { promptTokens: 50 + random.below(50), matchedTokens });
          homes.set(thread, worker);
          running.push(thread);
        } else if (kind === 3 && running.length > 0) {
          const [thread] = running.splice(random.below(running.length), 1);
          threads.ended(nowUs, thread, random.below(20));
        } else if (random.below(6) === 0) {
          const worker = random.pick(WORKERS);
          threads.workerLeft(worker);
          for (const [thread, home] of homes) if (home === worker) homes.delete(thread);
        }
        const known = new Set([...tenants.values()].flatMap((its) => [...its.values()]));
        for (const thread of homes.keys()) if (!known.has(thread)) homes.delete(thread);
        threads.check();
        for (const worker of WORKERS) {
          const there = [...homes].filter(([, home]) => home === worker).map(([thread]) => thread);
          const tokens = there.reduce((sum, it) => sum + it.contextTokens - it.sharedTokens, 0);
          const active = there.filter((thread) => thread.running > 0).length;
          assert.deepEqual(liveOn(threads, worker), {
            tokens,
            threads: there.length,
            running: active,
          });
          const [one] = there;
          if (one === undefined) continue;
          const own = one.contextTokens - one.sharedTokens;
          assert.deepEqual(threads.seatOf(one), { worker, tokens: own });
        }
        assert.equal(threads.liveCount(), homes.size);
      }
    }),
    { numRuns: 150 },
  );
});

/** Both maps keep who was used last at their end. */
function use(
  tenants: Map<string, Map<string, Thread>>,
  tenant: string,
  id: string,
  thread: Thread,
): void {
  const its = tenants.get(tenant) ?? new Map<string, Thread>();
  tenants.delete(tenant);
  tenants.set(tenant, its);
  its.delete(id);
  its.set(id, thread);
  if (its.size > 3) its.delete(its.keys().next().value ?? '');
  if (tenants.size > 2) tenants.delete(tenants.keys().next().value ?? '');
}

test('two tenants’ threads of one name are two threads', () => {
  const threads = new Threads({ tenantsMax: 5, threadsMax: 5 });
  const thread = 's' as ThreadId;
  const one = threads.arrived(0, TENANT, thread);
  const other = threads.arrived(0, 'u' as TenantId, thread);
  assert.notEqual(one, other);
  assert.equal(threads.of({ tenant: TENANT, thread }), one);
  assert.equal(threads.of({ tenant: 'v' as TenantId, thread }), undefined);
});

test('a thread lapses after a gap no live one shows, not while it runs, and comes back as itself', () => {
  const threads = new Threads({ tenantsMax: 5, threadsMax: 1000 });
  const [worker] = WORKERS;
  let nowUs = 0;
  const turn = (id: string) => {
    const thread = threads.arrived(nowUs, TENANT, id as ThreadId);
    threads.placed(thread, worker, { promptTokens: 100, matchedTokens: 0 });
    threads.ended(nowUs, thread, 0);
    return thread;
  };
  turn('gone');
  assert.equal(threads.lapseUs(), Number.POSITIVE_INFINITY);
  // One comes back every second, a hundred times: a minute away is no thinking.
  for (let i = 0; i < 100; i++) {
    nowUs += 1_000_000;
    turn('live');
  }
  nowUs += 10_000;
  assert.ok(threads.lapseUs() < 60_000_000);
  threads.lapse(nowUs);
  assert.deepEqual(liveOn(threads, worker), { tokens: 100, threads: 1, running: 0 });
  turn('gone');
  assert.deepEqual(liveOn(threads, worker), { tokens: 200, threads: 2, running: 0 });
  const busy = threads.arrived(nowUs, TENANT, 'busy' as ThreadId);
  threads.placed(busy, worker, { promptTokens: 70, matchedTokens: 30 });
  nowUs += 3_600_000_000;
  threads.lapse(nowUs);
  assert.deepEqual(liveOn(threads, worker), { tokens: 40, threads: 1, running: 1 });
  threads.check();
});

test('how long threads run and think is known from those that come back', () => {
  const threads = new Threads({ tenantsMax: 5, threadsMax: 1000 });
  assert.deepEqual(threads.pace(0), { serviceUs: 0, gapUs: 0 });
  let nowUs = 0;
  for (let i = 0; i < 50; i++) {
    const thread = threads.arrived(nowUs, TENANT, 's' as ThreadId);
    threads.placed(thread, WORKERS[0], { promptTokens: 100, matchedTokens: 0 });
    threads.ended((nowUs += 3_000), thread, 0);
    nowUs += 9_000;
  }
  const { serviceUs, gapUs } = threads.pace(nowUs);
  assert.ok(Math.abs(serviceUs - 3_000) < 1, `${serviceUs}`);
  // The last one is away as well, and may come back or not.
  assert.ok(Math.abs(gapUs - 9_000) < 500, `${gapUs}`);
});

test('whoever is away makes gaps longer, also before anybody came back; who is gone does not', () => {
  const threads = new Threads({ tenantsMax: 5, threadsMax: 1000 });
  const thread = threads.arrived(0, TENANT, 's' as ThreadId);
  threads.placed(thread, WORKERS[0], { promptTokens: 100, matchedTokens: 0 });
  threads.ended(1_000, thread, 0);
  assert.equal(threads.pace(1_000).gapUs, 0);
  assert.equal(threads.pace(100_000).gapUs, 99_000);
  threads.over({ tenant: TENANT, thread: 's' as ThreadId });
  assert.equal(threads.pace(900_000).gapUs, 99_000);
});

test('a thread that is over gives up its seat at once, and what runs when it ends', () => {
  const threads = new Threads({ tenantsMax: 5, threadsMax: 5 });
  const [worker] = WORKERS;
  const begin = (id: string) => {
    const thread = threads.arrived(0, TENANT, id as ThreadId);
    threads.placed(thread, worker, { promptTokens: 100, matchedTokens: 0 });
    return thread;
  };
  const idle = begin('idle');
  threads.ended(1, idle, 5);
  const busy = begin('busy');
  for (const { id: thread } of [idle, busy]) threads.over({ tenant: TENANT, thread });
  threads.over({ tenant: TENANT, thread: 'nobody' as ThreadId });
  threads.check();
  assert.deepEqual(liveOn(threads, worker), { tokens: 100, threads: 1, running: 1 });
  threads.ended(2, busy, 5);
  threads.check();
  assert.deepEqual(liveOn(threads, worker), { tokens: 105, threads: 1, running: 0 });
});

test('where nobody ever comes back, threads do not fill up a worker', () => {
  const threads = new Threads({ tenantsMax: 5, threadsMax: 100_000 });
  let nowUs = 0;
  for (let i = 0; i < 5000; i++) {
    const thread = threads.arrived(nowUs, TENANT, `${i}` as ThreadId);
    threads.placed(thread, WORKERS[0], { promptTokens: 100, matchedTokens: 0 });
    threads.ended((nowUs += 1000), thread, 0);
    nowUs += 1000;
    threads.lapse(nowUs);
  }
  assert.ok(threads.liveCount() < 10);
  threads.check();
});

function liveOn(threads: Threads, worker: WorkerId) {
  const { tokens, threads: count, running } = threads.live(worker);
  return { tokens, threads: count, running };
}
