import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import type { SessionId, TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Fact, KeepOrder } from '../model/kernel-io.ts';
import type { KvChain, KvOutcome } from '../model/kv-control.ts';
import type { KvAction } from '../model/receipt.ts';
import type { KvControl } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import { KvWishes } from './kv-wishes.ts';
import { Keeping } from './sessions/keeping.ts';
import { blankRecord, type ThreadRecord } from './sessions/thread-record.ts';

const TENANT = 't' as TenantId;
type Kept = Extract<Fact, { kind: 'kept' }>;

test('each wish reaches the worker that was named, by thread and salt, and its answer comes back', async () => {
  const rig = new Rig();
  rig.know('s', { salt: '["t"]', receipt: 'r7' });
  rig.begin('retain', 's', { ttlUs: 60_000_000 });
  assert.deepEqual(rig.kept, [], 'never from within the call');
  await settled();
  rig.begin('demote', 's', { tier: 'disk' });
  await settled();
  rig.begin('prefetch', 's', { tier: 'device' });
  await settled();
  rig.begin('release', 's');
  await settled();
  assert.deepEqual(rig.asked, [
    ['retain', 's', '["t"]', 60_000_000],
    ['demote', 's', '["t"]', 'disk'],
    ['prefetch', 's', '["t"]', 'device'],
    ['release', 's', '["t"]', undefined],
  ]);
  assert.deepEqual(
    rig.kept.map(({ move, answer, tokens }) => [move, answer, tokens]),
    [1, 2, 3, 4].map((move) => [move, 'accepted', 32]),
  );
  assert.deepEqual(
    rig.noted.map(([id, { wish, answer }]) => [id, wish, answer]),
    ['retain', 'demote', 'prefetch', 'release'].map((wish) => ['r7', wish, 'accepted']),
  );
});

test('what the worker does not know by name is named block by block', async () => {
  const rig = new Rig();
  rig.know('s', {});
  rig.names.add('another');
  rig.begin('retain', 's', { ttlUs: 1 });
  rig.begin('retain', 'forgotten', { ttlUs: 1 });
  await settled();
  assert.deepEqual(
    rig.asked.map(([, name]) => name),
    ['s', 'blocks', 'blocks'],
  );
  assert.ok(rig.kept.every(({ answer }) => answer === 'accepted'));
});

test('what its client put away is left alone, whatever the kernel thinks', async () => {
  const rig = new Rig();
  rig.know('s', { parked: { atMs: 0, tokens: 9 } });
  rig.know('warm', { heldUntilMs: 5000 });
  rig.begin('release', 's');
  rig.begin('prefetch', 's', { tier: 'device' });
  rig.begin('release', 'warm');
  await settled();
  assert.deepEqual(rig.asked, []);
  assert.equal(rig.kept.length, 3);
  assert.ok(rig.kept.every(({ answer }) => answer === undefined));
  rig.begin('demote', 'warm', { tier: 'disk' });
  await settled();
  assert.deepEqual(rig.asked.splice(0), [['demote', 'warm', '', 'disk']], 'kept, wherever it is');
  rig.clock.after(6_000_000, () => {});
  rig.clock.step();
  rig.begin('release', 'warm');
  await settled();
  assert.deepEqual(rig.asked, [['release', 'warm', '', undefined]], 'it was kept for so long');
});

test('an engine that fails or never answers is told of as not asked, and others are served', async () => {
  const rig = new Rig();
  for (const name of ['fails', 'hangs', 'fine']) rig.know(name, {});
  for (const name of ['fails', 'hangs', 'fine']) rig.begin('demote', name, { tier: 'host' });
  await settled();
  assert.deepEqual(rig.answers(), { 1: 'unreached', 3: 'accepted' });
  while (rig.clock.step()) await settled();
  assert.deepEqual(rig.answers(), { 1: 'unreached', 2: 'unreached', 3: 'accepted' });
});

test('every order is answered once, those of a thread in turn, whatever engines do', async () => {
  const command = fc.record({
    thread: fc.constantFrom('a', 'b', 'hangs', 'fails'),
    wish: fc.constantFrom('retain', 'demote', 'prefetch', 'release'),
    settles: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 25 }), async (commands) => {
      const rig = new Rig();
      for (const name of ['a', 'hangs', 'fails']) rig.know(name, {});
      const last = new Map<string, string>();
      for (const { thread, wish, settles } of commands) {
        rig.begin(wish as KeepOrder['wish'], thread, { tier: 'host', ttlUs: 5 });
        last.set(thread, wish);
        if (settles) await settled();
      }
      do await settled();
      while (rig.clock.step());
      await settled();
      assert.deepEqual(
        rig.kept.map(({ move }) => move).sort((x, y) => x - y),
        commands.map((_, i) => i + 1),
      );
      assert.equal(rig.together, 0, 'one wish for a thread at a time');
      // What was decided last is what is carried out last.
      for (const [thread, wish] of last) {
        if (thread === 'hangs' || thread === 'fails') continue;
        assert.equal(rig.carriedOut.findLast(([name]) => name === thread)?.[1], wish);
      }
    }),
    { numRuns: 60 },
  );
});

test('when the gateway stops, nobody is told any more', async () => {
  const rig = new Rig();
  rig.know('s', {});
  rig.begin('retain', 's', { ttlUs: 1 });
  rig.wishes.close();
  await settled();
  assert.deepEqual(rig.kept, []);
});

class Rig {
  readonly clock = new SimClock();
  readonly kept: Kept[] = [];
  readonly noted: [receipt: string, action: KvAction][] = [];
  readonly asked: [wish: string, name: string, salt: string | undefined, more: unknown][] = [];
  readonly carriedOut: [thread: string, wish: string][] = [];
  /** Threads the worker knows by name; empty: all. */
  readonly names = new Set<string>();
  together = 0;
  readonly wishes: KvWishes;
  readonly #records = new Map<string, ThreadRecord>();
  readonly #busy = new Set<string>();
  readonly #random = new Prng(3);
  #moves = 0;

  constructor() {
    const sink = { note: () => {} };
    const keeping = new Keeping({ kvOf: () => this.#kv(), sink });
    this.wishes = new KvWishes({
      ...{ clock: this.clock, keeping },
      recordOf: (_tenant, thread) => this.#records.get(thread),
      noted: ({ id }, action) => void this.noted.push([id, action]),
      tell: (fact) => void this.kept.push(fact as Kept),
    });
  }

  know(name: string, more: Partial<ThreadRecord>): void {
    const names = { tenant: TENANT, session: name as SessionId, thread: name as ThreadId };
    this.#records.set(name, { ...blankRecord({ ...names, parent: undefined }), ...more });
  }

  begin(wish: KeepOrder['wish'], thread: string, more: Partial<KeepOrder> = {}): void {
    this.wishes.begin({
      ...{ kind: 'keep', move: ++this.#moves, worker: 'w' as WorkerId, wish, tenant: TENANT },
      ...{ thread: thread as ThreadId, hashes: BigUint64Array.of(BigInt(thread.length), 2n) },
      ...more,
    });
  }

  answers(): Record<number, string> {
    return Object.fromEntries(this.kept.map(({ move, answer = 'unreached' }) => [move, answer]));
  }

  #kv(): KvControl {
    const verb =
      (wish: string) =>
      async (chain: KvChain, more?: unknown): Promise<KvOutcome> => {
        const [name, salt] = chain.kind === 'thread' ? [chain.thread, chain.salt] : ['blocks'];
        this.asked.push([wish, name, salt, more]);
        const isNamed = name !== 'blocks';
        if (isNamed && name !== 'hangs' && this.#busy.has(name)) this.together++;
        this.#busy.add(name);
        if (name === 'hangs') await new Promise(() => {});
        for (let i = this.#random.below(3); i > 0; i--) await Promise.resolve();
        this.#busy.delete(name);
        if (name === 'fails') throw new Error('it is gone');
        if (isNamed && this.names.size > 0 && !this.names.has(name)) {
          return { answer: 'missing', blocks: 0, tokens: 0, sentence: undefined };
        }
        this.carriedOut.push([name === 'blocks' ? 'b' : name, wish]);
        return { answer: 'accepted', blocks: 2, tokens: 32, sentence: undefined };
      };
    return {
      ...{ retain: verb('retain'), release: verb('release') },
      ...{ demote: verb('demote'), prefetch: verb('prefetch') },
    } as unknown as KvControl;
  }
}

async function settled(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}
