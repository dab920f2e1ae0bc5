/** An engine that stores, moves and forgets blocks, a feed that loses its events, and what is known of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { type KvEvent, TIERS, type Tier } from '../../model/block.ts';
import type { WorkerId } from '../../model/ids.ts';
import type { Fact } from '../../model/kernel-io.ts';
import { type FeedFaults, MemoryPlane } from '../../planes/memory.ts';
import type { FeedLink, FeedListener, Note } from '../../ports.ts';
import { SimClock } from '../../sim/clock.ts';
import { FEED_SETTINGS } from '../../sim/scene.ts';
import { ChainHasher } from '../../tokens/block-hash.ts';
import { Feed, type FeedSettings } from './feed.ts';

const W = 'w' as WorkerId;
const BLOCK = 4;
const VOCABULARY = 1_000_000;
const hasher = new ChainHasher({ fingerprint: 'f', blockTokens: BLOCK });

test('what an engine holds is known from its events alone', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const rig = new Rig(seed, undefined);
    await rig.live(200);
    assert.equal(rig.mode, 'exact');
    rig.compare();
    assert.deepEqual(rig.notes, []);
  }
});

test('of events that get lost, come twice or late, what is missing is asked for, and all is known', async () => {
  let gaps = 0;
  let duplicates = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const rng = new Prng(seed);
    const rig = new Rig(seed, { rng, dropped: 0.05, doubled: 0.05, late: 0.05, batchesKept: 1000 });
    await rig.live(200);
    await rig.quiet();
    rig.compare();
    const { counts } = rig.report;
    gaps += counts.gaps;
    duplicates += counts.duplicates;
    assert.equal(counts.lost, 0, 'the engine still had what was missing');
  }
  assert.ok(gaps > 100 && duplicates > 100, 'the metrics said so meanwhile');
});

test('what the engine keeps no more is made good by all that it holds: exact after one resync', async () => {
  let healed = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const rng = new Prng(seed);
    const rig = new Rig(seed, { rng, dropped: 0.05, doubled: 0.05, late: 0.05, batchesKept: 2 });
    rig.tellsState();
    await rig.live(200);
    await rig.quiet();
    assert.equal(rig.mode, 'exact');
    rig.compare();
    healed += rig.report.counts.cleared - 1;
  }
  assert.ok(healed > 100);
});

test('an engine that cannot tell all it holds is predicted until it is cleared, and that is said', async () => {
  const faults = { rng: new Prng(1), dropped: 0.1, doubled: 0, late: 0, batchesKept: 2 };
  const rig = new Rig(1, faults);
  await rig.live(200);
  assert.equal(rig.mode, 'predicted');
  assert.equal(rig.report.complete, false);
  assert.ok(rig.report.counts.lost > 0);
  assert.equal(rig.notes.filter(({ kind }) => kind === 'feedLost').length, 1);
  await rig.quiet();
  assert.ok(rig.notes.some((note) => note.kind === 'warning' && /cannot tell/.test(note.sentence)));
  faults.dropped = 0;
  rig.engine.clear();
  await rig.live(50);
  await rig.quiet();
  assert.equal(rig.mode, 'exact');
  assert.equal(rig.notes.at(-1)?.kind, 'feedSynced');
  rig.compare();
});

test('an engine that was started anew holds nothing of what it held', async () => {
  for (const batchesKept of [1000, 2]) {
    const rig = new Rig(3, { rng: new Prng(3), dropped: 0, doubled: 0, late: 0, batchesKept });
    rig.tellsState();
    await rig.live(60);
    rig.restart();
    // Fewer batches than before: by its numbers alone it could be what came already.
    await rig.live(10);
    await rig.quiet();
    assert.equal(rig.report.counts.restarts, 1);
    assert.equal(rig.mode, 'exact');
    rig.compare();
  }
});

test('clocks that differ, or are set meanwhile, change nothing but how old events seem', async () => {
  const hourMs = 3_600_000;
  for (const [skewMs, lagMs] of [
    [hourMs, hourMs],
    [-hourMs, 0],
  ]) {
    const rig = new Rig(4, undefined);
    await rig.live(50);
    rig.clock.skewMs = skewMs;
    await rig.live(50);
    assert.equal(rig.mode, 'exact');
    rig.compare();
    assert.deepEqual(rig.notes, []);
    assert.equal(Math.round((rig.report.lagMs ?? -1) / hourMs), lagMs / hourMs);
  }
});

test('more events than may wait are left out and asked for again', async () => {
  const faults = { rng: new Prng(5), dropped: 0, doubled: 0, late: 0, batchesKept: 5 };
  const rig = new Rig(5, faults, { ...FEED_SETTINGS, queueBytesMax: 2_000 });
  rig.tellsState();
  rig.clock.slow = true;
  await rig.burst(300);
  rig.clock.slow = false;
  await rig.quiet();
  assert.ok(rig.report.counts.overflowed > 0);
  assert.ok(rig.notes.some((note) => note.kind === 'warning' && /faster/.test(note.sentence)));
  assert.equal(rig.mode, 'exact');
  rig.compare();
});

const UNFIT: [string, number, number, RegExp][] = [
  ['blocks of another size', 2 * BLOCK, 0, /8 tokens/],
  ['tokens that the model does not have', BLOCK, VOCABULARY + 5000, /another model/],
];
for (const [what, blockTokens, token, sentence] of UNFIT) {
  test(`${what} are not used, and that is said`, async () => {
    const rig = new Rig(7, undefined);
    await rig.live(5);
    const tokens = new Uint32Array(blockTokens).fill(token);
    rig.engine.publish([
      {
        ...{ kind: 'stored', hashes: [1n], parent: undefined },
        ...{ tokens, blockTokens, tier: 'device', extraKeys: [] },
      },
    ]);
    await rig.live(5);
    assert.equal(rig.mode, 'predicted');
    const warnings = rig.notes.filter(({ kind }) => kind === 'warning');
    assert.match(JSON.stringify(warnings), sentence);
    assert.match(rig.report.unfit ?? '', sentence);
  });
}

interface Held {
  name: bigint;
  parent: Held | undefined;
  tokens: Uint32Array;
  tiers: Set<Tier>;
  children: number;
}

/** Chains of blocks with names of its own; leaves go first. */
class FakeEngine {
  blocks = new Map<bigint, Held>();
  readonly #rng: Prng;
  readonly publish: (events: readonly KvEvent[]) => void;

  constructor(rng: Prng, publish: (events: readonly KvEvent[]) => void) {
    this.#rng = rng;
    this.publish = publish;
  }

  clear(): void {
    this.blocks.clear();
    this.publish([{ kind: 'cleared' }]);
  }

  act(): void {
    const events: KvEvent[] = [];
    for (let i = this.#rng.below(3); i >= 0; i--) {
      const held = [...this.blocks.values()];
      const dice = this.#rng.below(10);
      if (dice < 5 || held.length === 0) {
        const parent = dice < 1 || held.length === 0 ? undefined : this.#rng.pick(held);
        events.push(this.#store(parent));
      } else if (dice < 7) {
        const block = this.#rng.pick(held);
        const tier = this.#rng.pick(TIERS);
        block.tiers.add(tier);
        events.push(storedEvent(block, tier));
      } else {
        const leaves = held.filter(({ children }) => children === 0);
        const block = this.#rng.pick(leaves);
        for (const tier of block.tiers) {
          events.push({ kind: 'removed', hashes: [block.name], tier });
        }
        this.#forget(block);
      }
    }
    if (this.#rng.below(100) === 0) {
      this.blocks.clear();
      events.push({ kind: 'cleared' });
    }
    this.publish(events);
  }

  *held(): Generator<KvEvent[]> {
    for (const block of this.blocks.values()) {
      yield [...block.tiers].map((tier) => storedEvent(block, tier));
    }
  }

  /** Our identities of its blocks, by tier. */
  identities(): Set<string> {
    const found = new Set<string>();
    for (const block of this.blocks.values()) {
      for (const tier of block.tiers) found.add(`${tier} ${identity(block)}`);
    }
    return found;
  }

  #store(parent: Held | undefined): KvEvent {
    const tokens = Uint32Array.from({ length: BLOCK }, () => this.#rng.below(70_000));
    const name = (BigInt(this.#rng.uint32()) << 32n) | BigInt(this.#rng.uint32());
    const block = { name, parent, tokens, tiers: new Set<Tier>(['device']), children: 0 };
    this.blocks.set(name, block);
    if (parent !== undefined) parent.children++;
    return storedEvent(block, 'device');
  }

  #forget(block: Held): void {
    this.blocks.delete(block.name);
    if (block.parent !== undefined) block.parent.children--;
  }
}

function storedEvent({ name, parent, tokens }: Held, tier: Tier): KvEvent {
  const extraKeys: string[] = [];
  return {
    kind: 'stored',
    hashes: [name],
    parent: parent?.name,
    tokens,
    blockTokens: BLOCK,
    tier,
    extraKeys,
  };
}

function identity({ parent, tokens }: Held): bigint {
  return hasher.block(parent === undefined ? hasher.root('') : identity(parent), tokens, 0);
}

/** Virtual time; while `slow`, each look at the clock costs a millisecond. */
class TestClock extends SimClock {
  slow = false;
  /** So far it is ahead of the engine's. */
  skewMs = 0;
  #looks = 0;

  override wallMs(): number {
    return super.wallMs() + this.skewMs;
  }

  override nowUs(): number {
    return super.nowUs() + (this.slow ? 1000 * ++this.#looks : 0);
  }
}

class Rig {
  readonly clock = new TestClock();
  readonly notes: Note[] = [];
  mode: 'exact' | 'predicted' = 'predicted';
  engine: FakeEngine;
  readonly #known = new Set<string>();
  readonly #rng: Prng;
  readonly #faults: FeedFaults | undefined;
  readonly #feed: Feed;
  #plane: MemoryPlane;
  #on: FeedListener | undefined;
  #link: FeedLink | undefined;

  constructor(
    seed: number,
    faults: FeedFaults | undefined,
    settings: FeedSettings = FEED_SETTINGS,
  ) {
    const { clock } = this;
    this.#rng = new Prng(seed);
    this.#faults = faults;
    this.#plane = this.#newPlane();
    const host = { tell: (fact: Fact) => this.#tell(fact) };
    const sink = { note: (note: Note) => this.notes.push(note) };
    const feed = { subscribe: (_: unknown, on: FeedListener) => this.#subscribe(on) };
    this.#feed = new Feed({ host, feed, clock, sink, settings });
    this.engine = this.#engine();
    this.#feed.start(W, { endpoint: '', replay: undefined }, hasher, VOCABULARY);
  }

  get report() {
    const report = this.#feed.report(W);
    assert.ok(report !== undefined);
    return report;
  }

  tellsState(): void {
    this.#plane.tellsState(W, () => this.engine.held());
  }

  /** Another engine at the same address. */
  restart(): void {
    this.#link?.close();
    this.#plane = this.#newPlane();
    this.engine = this.#engine();
    this.tellsState();
    if (this.#on !== undefined) this.#link = this.#plane.subscribe({ id: W }, this.#on);
  }

  /** More than it can hear at once. */
  async burst(batches: number): Promise<void> {
    for (let i = 0; i < batches; i++) this.engine.act();
    await this.#pass(1000);
  }

  /** Some time in which the engine works. */
  async live(batches: number): Promise<void> {
    for (let i = 0; i < batches; i++) {
      this.engine.act();
      await this.#pass(20);
    }
    await this.#pass(1000);
  }

  /** Long enough for all that is asked for again to have come. */
  async quiet(): Promise<void> {
    for (let i = 0; i < 10; i++) await this.#pass(500_000);
  }

  compare(): void {
    assert.deepEqual([...this.#known].sort(), [...this.engine.identities()].sort());
  }

  #newPlane(): MemoryPlane {
    return new MemoryPlane({ clock: this.clock, lagUs: 50, faults: this.#faults });
  }

  #subscribe(on: FeedListener): FeedLink {
    this.#on = on;
    const link = this.#plane.subscribe({ id: W }, on);
    this.#link = link;
    return {
      replays: link.replays,
      isReliable: link.isReliable,
      replay: (from) => this.#link?.replay(from) ?? assert.fail('there is an engine'),
      close: () => this.#link?.close(),
    };
  }

  #engine(): FakeEngine {
    const publisher = this.#plane.publisher(W);
    return new FakeEngine(this.#rng, (events) => publisher.publish(events));
  }

  async #pass(us: number): Promise<void> {
    let isOver = false;
    this.clock.after(us, () => {
      isOver = true;
    });
    while (!isOver) {
      this.clock.step();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #tell(fact: Fact): void {
    switch (fact.kind) {
      case 'blocksCleared':
      case 'feedLost':
        this.#known.clear();
        this.mode = fact.kind === 'feedLost' ? 'predicted' : 'exact';
        return;
      case 'blocksStored':
        for (const hash of fact.hashes) this.#known.add(`${fact.tier} ${hash}`);
        return;
      case 'blocksRemoved':
        for (const hash of fact.hashes) this.#known.delete(`${fact.tier} ${hash}`);
        return;
      default:
        assert.fail(fact.kind);
    }
  }
}
