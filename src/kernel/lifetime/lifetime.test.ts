/** How long threads' KV stays: who is told to go, when, and who never is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Arrival, Fact, KeepOrder, TurnEnd } from '../../model/kernel-io.ts';
import type { KvAnswer } from '../../model/kv-control.ts';
import { Kernel } from '../kernel.ts';

const TENANT = 't' as TenantId;
const BLOCK = 16;
const S = 1_000_000;
const TOOLS: TurnEnd = { kind: 'tools', tools: [{ tool: 'Bash' }] };
const ANSWERED: TurnEnd = { kind: 'answered' };

test('as long as there is room nobody is told anything', () => {
  const desk = new Desk({ blocksMax: 100 });
  desk.turn('a', { blocks: 30 });
  desk.turn('b', { blocks: 30 });
  desk.turn('a', { blocks: 40 });
  assert.deepEqual(desk.told, []);
});

test('room is made of what is least likely to be asked for again, and only as much as is needed', () => {
  const desk = new Desk({ blocksMax: 100 });
  // Tools come back within seconds here, people after minutes.
  for (let i = 0; i < 30; i++) {
    desk.turn('tool', { blocks: 5, end: TOOLS });
    desk.passes(2 * S);
    desk.turn('person', { blocks: 5, end: ANSWERED });
    desk.passes(300 * S);
  }
  desk.turn('person', { blocks: 30, end: ANSWERED });
  desk.turn('tool', { blocks: 30, end: TOOLS });
  desk.told.length = 0;
  desk.turn('new', { blocks: 50 });
  assert.deepEqual(desk.names(), ['release person']);
});

test('what ends is let go at once: compacted, asked aside, said to be final, or ended by its client', () => {
  for (const how of [{ purpose: 'compaction' }, { purpose: 'side' }, { isFinal: true }] as const) {
    const desk = new Desk({ blocksMax: 100 });
    desk.turn('a', { blocks: 10, ...how });
    assert.deepEqual(desk.names(), ['release a'], JSON.stringify(how));
  }
  const desk = new Desk({ blocksMax: 100 });
  desk.turn('a', { blocks: 10 });
  desk.tell({ kind: 'threadEnded', tenant: TENANT, thread: 'a' as ThreadId });
  assert.deepEqual(desk.names(), ['release a']);
  assert.equal(desk.kernel.lifetime.standing(desk.nowUs, thread('a')), undefined);
});

test('a sub-agent that answered is let go once they are known not to come back', () => {
  const desk = new Desk({ blocksMax: 1000 });
  desk.turn('main', { blocks: 10 });
  for (let i = 0; i < 20; i++) {
    desk.turn(`child ${i}`, { blocks: 10, parent: 'main', end: ANSWERED });
    desk.passes(3600 * S);
  }
  assert.ok(desk.names().includes('release child 19'));
  desk.turn('person', { blocks: 10, end: ANSWERED });
  assert.ok(!desk.names().includes('release person'), 'a person may come back');
});

test('who turns out to share what it was to let go makes no room, and somebody else has to', () => {
  const desk = new Desk({ blocksMax: 100 });
  desk.turn('a', { blocks: 30 });
  desk.turn('b', { blocks: 30 });
  desk.passes(S);
  desk.kept = { answer: 'accepted', tokens: 0 };
  desk.turn('new', { blocks: 60 });
  assert.deepEqual(desk.names().toSorted(), ['release a', 'release b']);
});

test('workers that take no wishes, and policies that have none, are told nothing', () => {
  for (const given of [{ takesWishes: undefined }, { policy: 'stator-lru' }]) {
    const desk = new Desk({ blocksMax: 50, ...given });
    desk.turn('a', { blocks: 40, isFinal: true });
    desk.turn('b', { blocks: 40 });
    desk.turn('c', { blocks: 40 });
    assert.deepEqual(desk.told, [], JSON.stringify(given));
  }
});

test('what a thread does, and when it will probably be back, can be asked', () => {
  const desk = new Desk({ blocksMax: 1000 });
  const doing = (name: string) => desk.kernel.lifetime.standing(desk.nowUs, thread(name))?.doing;
  assert.equal(doing('a'), undefined);
  for (let i = 0; i < 20; i++) {
    desk.turn('a', { blocks: 10, end: TOOLS });
    desk.passes(4 * S);
  }
  desk.turn('a', { blocks: 10, end: TOOLS });
  const standing = desk.kernel.lifetime.standing(desk.nowUs, thread('a'));
  assert.ok(standing !== undefined);
  assert.deepEqual(
    [standing.doing, standing.tool, standing.worker, standing.contextTokens],
    ['acting', 'Bash', 'w', 10 * BLOCK + 5],
  );
  const awayUs = (standing.returnsUs ?? 0) - desk.nowUs;
  assert.ok(awayUs > 3 * S && awayUs < 6 * S, `after some four seconds: ${awayUs}`);
  desk.turn('child', { blocks: 3, parent: 'a', isOpen: true });
  assert.deepEqual([doing('a'), doing('child')], ['waiting', 'thinking']);
  desk.turn('b', { blocks: 3, end: ANSWERED });
  assert.equal(doing('b'), 'idle');
});

test('whatever happens, books balance, wishes name what lies there, and nobody in use is let go', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const rng = new Prng(seed);
      const desk = new Desk({ blocksMax: 40 + rng.below(100) });
      const open: string[] = [];
      for (let i = 0; i < 120; i++) {
        desk.passes(Math.round(10 ** (rng.next() * 8)));
        const name = `t${rng.below(6)}`;
        desk.kept = {
          answer: rng.pick(['accepted', 'clipped', 'deferred', 'missing', undefined] as const),
          tokens: rng.below(400),
        };
        const what = rng.below(24);
        if (what === 0) desk.tell({ kind: 'blocksCleared', worker: 'w' as WorkerId });
        else if (what === 1) {
          desk.tell({ kind: 'threadEnded', tenant: TENANT, thread: name as ThreadId });
        } else if (open.length > 0 && what < 13) {
          desk.ends(
            open.splice(rng.below(open.length), 1)[0],
            rng.pick([TOOLS, ANSWERED, undefined]),
          );
        } else if (!open.includes(name)) {
          const from = rng.below(3) === 0 ? 1 + rng.below(5) : 0;
          desk.turn(name, { blocks: 1 + rng.below(30), from, isOpen: true });
          open.push(name);
        }
        for (const order of desk.told.splice(0)) {
          assert.equal(order.worker, 'w');
          assert.ok(order.hashes.length > 0);
          if (order.wish === 'retain') assert.ok((order.ttlUs ?? 0) >= 0);
        }
      }
    }),
    { numRuns: 30 },
  );
});

/** One worker whose cache holds whatever it is told, and a kernel that decides for it. */
class Desk {
  readonly kernel: Kernel;
  readonly told: KeepOrder[] = [];
  nowUs = 0;
  /** What it answers to wishes; undefined: all of it was let go. */
  kept: { answer: KvAnswer | undefined; tokens: number } | undefined;
  readonly #stored = new Map<string, BigUint64Array>();
  readonly #open = new Map<string, { id: RequestId; hashes: BigUint64Array }>();
  #requests = 0;

  constructor(given: { blocksMax: number; takesWishes?: true | undefined; policy?: string }) {
    const { blocksMax, policy = 'stator-ungated' } = given;
    const settings = { policy, ...Config.parse({}).limits };
    this.kernel = new Kernel({ settings, rng: new Prng(1) });
    const worker = {
      ...{ id: 'w' as WorkerId, models: ['m'], blockTokens: BLOCK, contextTokens: 100_000 },
      ...{ slots: 8, requestsMax: 100, cacheTokens: blocksMax * BLOCK, hasEvents: true },
      takesWishes: 'takesWishes' in given ? given.takesWishes : (true as const),
      prefill: { perTokenUs: 100, perTokenContextUs: 0.05 },
      decode: { stepUs: 500, perSequenceUs: 300 },
    };
    this.tell({ kind: 'workerJoined', worker });
  }

  passes(us: number): void {
    this.nowUs += us;
  }

  /** A turn of the thread, from the first block on its own; `from`: another branch of it. */
  turn(
    name: string,
    given: Partial<Omit<Arrival, 'parent'>> & {
      blocks: number;
      from?: number;
      parent?: string;
      end?: TurnEnd;
      isOpen?: boolean;
    },
  ): void {
    const { blocks, from = 0, parent, end = TOOLS, isOpen, ...rest } = given;
    const first = BigInt(1 + [...name].reduce((sum, one) => sum * 31 + one.charCodeAt(0), from));
    const hashes = BigUint64Array.from({ length: blocks }, (_, i) => first * 100_000n + BigInt(i));
    const id = `r${this.#requests++}` as RequestId;
    this.#open.set(name, { id, hashes });
    const request: Arrival = {
      ...{ id, tenant: TENANT, model: 'm', thread: name as ThreadId },
      ...{ session: 's' as Arrival['session'], parent: parent as ThreadId | undefined },
      ...{ promptTokens: blocks * BLOCK, hashes, blockTokens: BLOCK },
      ...{ outputTokensMax: 100, priority: 0 },
      ...(rest as Partial<Arrival>),
    };
    this.tell({ kind: 'arrived', request });
    if (!isOpen) this.ends(name, end);
  }

  ends(name: string, turn: TurnEnd | undefined): void {
    const open = this.#open.get(name);
    if (open === undefined) return;
    this.#open.delete(name);
    const { id, hashes } = open;
    const before = this.#stored.get(name) ?? new BigUint64Array(0);
    const isLonger = before.length > 0 && before[0] === hashes[0];
    const fresh = hashes.slice(isLonger ? Math.min(before.length, hashes.length) : 0);
    const worker = 'w' as WorkerId;
    if (fresh.length > 0) {
      const last = isLonger ? before.at(-1) : undefined;
      this.tell({ kind: 'blocksStored', worker, hashes: fresh, tier: 'device', before: last });
      this.#stored.set(name, hashes);
    }
    this.tell({ kind: 'finished', request: id, outputTokens: 5, cachedTokens: undefined, turn });
  }

  tell(fact: Fact): void {
    const inUse = new Set(this.#open.keys());
    if (fact.kind === 'blocksCleared') this.#stored.clear();
    for (const order of this.kernel.handle(this.nowUs, fact)) {
      if (order.kind !== 'keep') continue;
      this.told.push(order);
      const { move, hashes, thread } = order;
      // What it has on other branches may go while one of them is in use.
      const current = this.#open.get(thread)?.hashes;
      const isCurrent = current !== undefined && hashes.at(-1) === current[hashes.length - 1];
      assert.ok(!(order.wish === 'release' && inUse.has(thread) && isCurrent), 'in use');
      const { answer, tokens } = this.kept ?? { answer: 'accepted', tokens: hashes.length * BLOCK };
      this.tell({ kind: 'kept', move, answer, tokens, tookUs: 0 });
    }
    this.kernel.check();
  }

  names(): string[] {
    return this.told.map(({ wish, thread }) => `${wish} ${thread}`);
  }
}

function thread(name: string): { tenant: TenantId; thread: ThreadId } {
  return { tenant: TENANT, thread: name as ThreadId };
}
