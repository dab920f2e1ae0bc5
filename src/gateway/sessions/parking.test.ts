import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Held } from '../../kernel/session/whereabouts.ts';
import type { SessionId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { KvAnswer, KvChain, KvOutcome } from '../../model/kv-control.ts';
import type { KvControl } from '../../ports.ts';
import { SimClock } from '../../sim/clock.ts';
import { Keeping } from './keeping.ts';
import { Parking } from './parking.ts';
import type { Sessions } from './sessions.ts';
import { blankRecord, type ThreadRecord } from './thread-record.ts';

const TENANT = 'default' as TenantId;
const WAIT_US = 10_000_000;
const NEVER = new AbortController().signal;
const BLOCK = 16;

test('parked is when it lies in files: who is still writing is asked until it is done', async () => {
  const rig = new Rig();
  rig.thread('s', 'a');
  rig.holds('a', 160);
  rig.answers('demote', ['deferred', 'deferred', 'accepted']);
  const outcome = await rig.run(rig.parking.park(TENANT, 's', { ttlUs: 9, signal: NEVER }));
  assert.deepEqual(outcome?.parked, [
    { worker: 'a', thread: 's', answer: 'accepted', tokens: 160 },
  ]);
  assert.deepEqual(rig.verbs(), ['retain', 'demote', 'demote', 'demote']);
  assert.equal(rig.record('s').parked?.tokens, 160);
  assert.deepEqual(rig.ended, ['s'], 'its seat is free');
  assert.equal(rig.writes, 1);
});

test('a worker without files keeps it in memory and says why; one that hangs is waited for so long', async () => {
  const rig = new Rig();
  rig.thread('s', 'a');
  rig.answers('demote', ['rejected', 'accepted']);
  const outcome = await rig.run(rig.parking.park(TENANT, 's', { ttlUs: 9, signal: NEVER }));
  assert.deepEqual(rig.more('demote'), ['disk', 'host']);
  assert.equal(outcome?.parked[0].sentence, 'rejected, and why');
  rig.thread('t', 'a');
  rig.answers(
    'demote',
    Array.from({ length: 10_000 }, () => 'deferred' as const),
  );
  const late = await rig.run(rig.parking.park(TENANT, 't', { ttlUs: 9, signal: NEVER }));
  assert.equal(late?.parked[0].answer, 'deferred');
  assert.ok(rig.clock.nowUs() <= 2 * WAIT_US);
});

test('what runs is left as it is and counted, and so is what nobody knows', async () => {
  const rig = new Rig();
  rig.thread('s', 'a');
  rig.thread('s/child', 'a', { session: 's', running: 1 });
  const outcome = await rig.run(rig.parking.park(TENANT, 's', { ttlUs: 9, signal: NEVER }));
  assert.deepEqual([outcome?.parked.length, outcome?.running], [1, 1]);
  assert.equal(rig.record('s/child').parked, undefined);
  const resumed = await rig.run(rig.parking.resume(TENANT, 's', NEVER));
  assert.deepEqual([resumed?.resumed.length, resumed?.running], [1, 1]);
  assert.equal(await rig.parking.park(TENANT, 'none', { ttlUs: 9, signal: NEVER }), undefined);
  assert.equal(await rig.parking.resume(TENANT, 'none', NEVER), undefined);
});

test('resumed is where most of it lies, once a worker that starts has told of all it has', async () => {
  const rig = new Rig();
  rig.thread('s', 'gone', { parked: { atMs: 0, tokens: 170 } });
  rig.holds('a', 32);
  // Told by and by, as a worker that was started anew does.
  rig.clock.after(1_000_000, () => rig.holds('b', 64));
  rig.clock.after(2_000_000, () => rig.holds('b', 160));
  rig.answers('prefetch', ['deferred', 'accepted']);
  const outcome = await rig.run(rig.parking.resume(TENANT, 's', NEVER));
  assert.deepEqual(outcome?.resumed, [
    { worker: 'b', thread: 's', answer: 'accepted', tokens: 160 },
  ]);
  assert.ok(rig.clock.nowUs() >= 2_000_000 && rig.clock.nowUs() < 3_000_000);
  assert.equal(rig.record('s').parked, undefined);
  assert.ok(rig.asked.every(({ worker }) => worker === 'b'));
});

test('what only a part is left of is resumed as far as it goes; what is gone is missing', async () => {
  const rig = new Rig();
  rig.thread('s', 'a', { parked: { atMs: 0, tokens: 160 } });
  rig.holds('a', 48);
  rig.answers('prefetch', ['clipped']);
  const part = await rig.run(rig.parking.resume(TENANT, 's', NEVER));
  assert.deepEqual([part?.resumed[0].answer, part?.resumed[0].worker], ['clipped', 'a']);
  rig.thread('t', 'a', { parked: { atMs: 0, tokens: 160 } });
  rig.holds('a', 0);
  rig.answers('prefetch', ['missing', 'missing']);
  const none = await rig.run(rig.parking.resume(TENANT, 't', NEVER));
  assert.deepEqual(none?.resumed, [{ worker: null, thread: 't', answer: 'missing', tokens: 0 }]);
  assert.ok(rig.record('t').parked !== undefined, 'it may be found later');
});

test('what no event tells of is resumed where it ran: no block of a short prompt has a name', async () => {
  const rig = new Rig();
  rig.thread('s', 'a', { hashes: new BigUint64Array(0), contextTokens: 40 });
  const parked = await rig.run(rig.parking.park(TENANT, 's', { ttlUs: 9, signal: NEVER }));
  assert.deepEqual([parked?.parked[0].answer, parked?.parked[0].tokens], ['accepted', 160]);
  assert.match(parked?.parked[0].sentence ?? '', /only its next turn finds it/);
  const back = await rig.run(rig.parking.resume(TENANT, 's', NEVER));
  assert.deepEqual(back?.resumed, [{ worker: 'a', thread: 's', answer: 'accepted', tokens: 160 }]);
  assert.equal(rig.clock.nowUs(), 0, 'there is nothing to wait for');
  assert.equal(rig.record('s').parked, undefined);
  await rig.run(rig.parking.park(TENANT, 's', { ttlUs: 9, signal: NEVER }));
  // Started anew, it knows no names.
  rig.answers('prefetch', ['missing']);
  const gone = await rig.run(rig.parking.resume(TENANT, 's', NEVER));
  assert.deepEqual([gone?.resumed[0].worker, gone?.resumed[0].answer], [null, 'missing']);
  assert.ok(rig.record('s').parked !== undefined, 'its next turn may find it');
});

test('who no longer waits holds nothing up', async () => {
  const rig = new Rig();
  rig.thread('s', 'a', { parked: { atMs: 0, tokens: 160 } });
  const leaving = new AbortController();
  rig.clock.after(200_000, () => leaving.abort());
  await rig.run(rig.parking.resume(TENANT, 's', leaving.signal));
  assert.ok(rig.clock.nowUs() < 1_000_000);
});

class Rig {
  readonly clock = new SimClock();
  readonly asked: { verb: string; worker: string; more: unknown }[] = [];
  readonly ended: string[] = [];
  readonly parking: Parking;
  writes = 0;
  readonly #records = new Map<string, ThreadRecord>();
  readonly #held = new Map<string, number>();
  readonly #script = new Map<string, KvAnswer[]>();

  constructor() {
    const { clock } = this;
    const kvOf = (worker: WorkerId) => (worker === 'gone' ? undefined : this.#kv(worker));
    const keeping = new Keeping({ kvOf, sink: { note: () => {} } });
    const sessions: Pick<Sessions, 'records' | 'changed'> = {
      records: (_tenant, name) => {
        const all = [...this.#records.values()].filter(({ session }) => session === name);
        return all.length === 0 ? undefined : all;
      },
      changed: () => {},
    };
    this.parking = new Parking({
      ...{ clock, keeping, sessions: sessions as Sessions, waitUsMax: WAIT_US },
      written: async () => void this.writes++,
      host: {
        kvOf: () => this.#kvOf(),
        tell: (fact) => void (fact.kind === 'threadEnded' && this.ended.push(fact.thread)),
      },
    });
  }

  thread(
    name: string,
    worker: string,
    more: Omit<Partial<ThreadRecord>, 'session'> & { session?: string } = {},
  ): void {
    const { session = name, ...rest } = more;
    const names = { tenant: TENANT, thread: name as ThreadId, session: session as SessionId };
    const hashes = BigUint64Array.from({ length: 10 }, (_, i) => BigInt(i));
    const blank = blankRecord({ ...names, parent: undefined });
    const known = { worker: worker as WorkerId, hashes, blockTokens: BLOCK, contextTokens: 170 };
    this.#records.set(name, { ...blank, ...known, ...rest });
  }

  record(name: string): ThreadRecord {
    return this.#records.get(name) ?? assert.fail();
  }

  holds(worker: string, tokens: number): void {
    this.#held.set(worker, tokens);
  }

  answers(verb: string, answers: KvAnswer[]): void {
    this.#script.set(verb, answers);
  }

  verbs(): string[] {
    return this.asked.map(({ verb }) => verb);
  }

  more(verb: string): unknown[] {
    return this.asked.filter((one) => one.verb === verb).map(({ more }) => more);
  }

  /** Lets time pass until it is done. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let isDone = false;
    void promise.then(() => {
      isDone = true;
    });
    for (let i = 0; !isDone && i < 10_000; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (!isDone) this.clock.step();
    }
    return promise;
  }

  #kvOf(): Held[] {
    return [...this.#held].map(([worker, tokens]) => ({
      ...{ worker: worker as WorkerId, tier: 'disk' as const, tokens },
    }));
  }

  #kv(worker: WorkerId): KvControl {
    const verb =
      (name: string) =>
      async (_chain: KvChain, more?: unknown): Promise<KvOutcome> => {
        this.asked.push({ verb: name, worker, more });
        const answer = this.#script.get(name)?.shift() ?? 'accepted';
        const tokens = answer === 'rejected' || answer === 'missing' ? 0 : 160;
        const sentence = answer === 'rejected' ? 'rejected, and why' : undefined;
        return { answer, blocks: tokens / BLOCK, tokens, sentence };
      };
    return {
      ...{ retain: verb('retain'), release: verb('release') },
      ...{ demote: verb('demote'), prefetch: verb('prefetch') },
    } as unknown as KvControl;
  }
}
