/**
 * KV control under everything else that can happen to a cache: answers stay those of an engine that
 * computes everything anew, what is kept stays, and what comes from others is used only when it is here.
 *
 *   STATOR_CACHE_OPERATIONS=10000x200 node --import tsx --test src/kernel/cache/lifetimes.test.ts
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheRig, hashesOf, ids } from '../../../test/cache-rig.ts';
import { Prng } from '../../base/prng.ts';
import type { BlockHash } from '../../model/block.ts';
import type { KvAnswer } from '../../model/kv-control.ts';
import type { Handle } from '../../model/step.ts';
import type { Wish } from './lifetimes.ts';

const [OPERATIONS, SEEDS] = (process.env.STATOR_CACHE_OPERATIONS ?? '1000x8')
  .split('x')
  .map(Number);
const BLOCK = 4;

test(`${OPERATIONS} random operations × ${SEEDS} seeds, a third of them KV control`, () => {
  const answers: Record<string, number> = {};
  const totals = { exported: 0, imported: 0, keptChecks: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const roomy = { slots: 3, hostBlocks: 800, blocksMax: 300, diskBlocks: 100, faults: false };
    const rig = new ControlRig(new Prng(seed), seed % 3 === 0 ? roomy : {});
    try {
      for (let i = 0; i < OPERATIONS; i++) {
        if (rig.random.below(3) === 0) rig.control();
        else rig.act();
        rig.checkKept();
      }
      rig.finishTransfers();
      rig.finish();
    } catch (error) {
      (error as Error).message += ` [seed ${seed}]`;
      throw error;
    }
    for (const [key, count] of Object.entries(rig.answers)) {
      answers[key] = (answers[key] ?? 0) + count;
    }
    for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += rig[key];
  }
  console.log(`  ${JSON.stringify({ ...totals, ...answers })}`);
  for (const wish of ['retain', 'release', 'demote', 'prefetch']) {
    assert.ok(answers[`${wish} accepted`] > 0, `${wish} was done at times`);
  }
  assert.ok(totals.exported > 0 && totals.imported > 0 && totals.keptChecks > 0);
});

test('what is retained outlives others that were used later, until its time has come', () => {
  const { rig, prompts } = threads({ slots: 1, hostBlocks: 50, blocksMax: 50, count: 3 });
  const [kept, other] = prompts.map((prompt) => hashesOf(prompt, '').hashes);
  const { lifetimes } = rig.cache;
  assert.equal(lifetimes.retain(lifetimes.ofBlocks(kept), 100).answer, 'accepted');
  const random = new Prng(9);
  const press = () => {
    for (let i = 0; i < 6; i++) {
      rig.ask(ids(random, 41), '');
      rig.settle();
    }
  };
  press();
  assert.equal(lifetimes.ofBlocks(other).chain.length, 0, 'pressure evicts');
  assert.equal(lifetimes.ofBlocks(kept).chain.length, kept.length);
  lifetimes.lapse(99);
  press();
  assert.equal(lifetimes.ofBlocks(kept).chain.length, kept.length);
  lifetimes.lapse(100);
  press();
  assert.equal(lifetimes.ofBlocks(kept).chain.length, 0);
  rig.batch.check();
});

test('at most half is kept, and what lapsed makes room', () => {
  const { rig, prompts } = threads({ slots: 1, hostBlocks: 40, blocksMax: 40, count: 3 });
  const [first, second, third] = prompts.map((prompt) => hashesOf(prompt, '').hashes);
  const { lifetimes } = rig.cache;
  assert.equal(lifetimes.retain(lifetimes.ofBlocks(first), 100).answer, 'accepted');
  assert.equal(lifetimes.retain(lifetimes.ofBlocks(second), undefined).answer, 'accepted');
  const refused = lifetimes.retain(lifetimes.ofBlocks(third), 100);
  assert.deepEqual([refused.answer, refused.blocks], ['rejected', 0]);
  const shorter = lifetimes.ofBlocks(second.slice(0, 6));
  assert.equal(lifetimes.release(lifetimes.ofBlocks(second)).answer, 'accepted');
  assert.equal(lifetimes.retain(shorter, undefined).blocks, 6);
  const clipped = lifetimes.retain(lifetimes.ofBlocks(third), 100);
  assert.deepEqual([clipped.answer, clipped.blocks], ['clipped', 4]);
  lifetimes.lapse(100);
  assert.equal(lifetimes.retain(lifetimes.ofBlocks(third), 200).answer, 'accepted');
  rig.batch.check();
});

test('what is released goes before what was used longer ago; what others share of it stays', () => {
  const { rig, prompts } = threads({ slots: 1, hostBlocks: 40, blocksMax: 40, count: 2 });
  const [old, gone] = prompts;
  const fork = Uint32Array.from([...gone.slice(0, 20), ...ids(new Prng(8), 8)]);
  rig.ask(fork, '', 'fork');
  rig.settle();
  const { lifetimes } = rig.cache;
  assert.equal(lifetimes.release(lifetimes.ofThread('thread 1')).answer, 'accepted');
  const left = (prompt: Uint32Array) =>
    lifetimes.ofBlocks(hashesOf(prompt, '').hashes).chain.length;
  const random = new Prng(5);
  for (let i = 0; i < 100 && left(gone) > 5; i++) {
    assert.equal(left(old), 10, 'what was used longer ago is still there');
    rig.ask(ids(random, 5), '');
    rig.settle();
  }
  assert.equal(left(gone), 5, 'the shared beginning');
  assert.equal(left(fork), 7);
});

test('demoted KV leaves slot and host store, and prefetched KV is in a slot when its turn comes', () => {
  const { rig, prompts } = threads({ slots: 2, hostBlocks: 60, blocksMax: 500, count: 2 });
  const { lifetimes } = rig.cache;
  const thread = () => lifetimes.ofThread('thread 0');
  const { length } = thread().chain;
  assert.ok(length >= 10);
  assert.equal(lifetimes.demote(thread(), { toDisk: false }).answer, 'accepted');
  rig.settle();
  assert.ok(thread().chain.every(({ slots, host }) => slots.length === 0 && host !== undefined));
  const { answer } = lifetimes.demote(thread(), { toDisk: true });
  assert.ok(answer === 'deferred' || answer === 'accepted');
  rig.settle();
  assert.ok(thread().chain.every(({ host, file }) => host === undefined && file !== undefined));
  const ahead = { toSlot: true, hasRoom: true };
  assert.equal(lifetimes.prefetch(thread(), ahead).answer, 'deferred');
  rig.settle();
  assert.deepEqual(lifetimes.prefetch(thread(), { ...ahead, hasRoom: false }).answer, 'deferred');
  assert.equal(lifetimes.prefetch(thread(), ahead).answer, 'accepted');
  rig.settle();
  assert.ok(thread().chain.every(({ slots }) => slots.length === 1));
  rig.seen.cached = 0;
  rig.ask(Uint32Array.from([...prompts[0], 1, 2]), '');
  rig.settle();
  assert.equal(rig.seen.cached, 40);
  assert.equal(lifetimes.demote(lifetimes.ofThread('nobody'), { toDisk: false }).answer, 'missing');
});

/** Threads of 41 tokens that ended, the first one longest ago. */
function threads(given: { slots: number; hostBlocks: number; blocksMax: number; count: number }) {
  const rig = new CacheRig(new Prng(1), { diskBlocks: 400, faults: false, ...given });
  const random = new Prng(2);
  const prompts = Array.from({ length: given.count }, () => ids(random, 41));
  prompts.forEach((prompt, i) => {
    rig.ask(prompt, '', `thread ${i}`);
    rig.settle();
  });
  return { rig, prompts };
}

interface Arriving {
  id: string;
  salt: string;
  prompt: Uint32Array;
  hashes: BigUint64Array;
  next: number;
  places: { handle: Handle; tokens: Uint32Array }[];
}

/** A rig of which others want things, between steps and while one computes. */
class ControlRig extends CacheRig {
  readonly answers: Record<string, number> = {};
  exported = 0;
  imported = 0;
  keptChecks = 0;
  #nowUs = 0;
  #names = 0;
  /** What must be kept, where nothing fails. */
  readonly #kept = new Map<string, { hashes: BlockHash[]; untilUs: number }>();
  readonly #opening = new Map<string, BigUint64Array>();
  #computing = false;
  #isEnding = false;
  readonly #open = new Map<string, { handles: Handle[]; tokens: Uint32Array[] }>();
  #arriving: Arriving | undefined;

  control(): void {
    const { lifetimes } = this.cache;
    const { random } = this;
    this.#nowUs += random.below(20);
    lifetimes.lapse(this.#nowUs);
    const kind = random.below(100);
    if (kind < 20) {
      const wish = this.#wish();
      const untilUs = random.below(5) === 0 ? undefined : this.#nowUs + random.below(800);
      const { answer, blocks } = this.#note('retain', lifetimes.retain(wish, untilUs));
      this.#kept.delete(wish.key);
      if (answer === 'accepted' || answer === 'clipped') {
        const hashes = wish.chain.slice(0, blocks).map(({ hash }) => hash);
        this.#kept.set(wish.key, { hashes, untilUs: untilUs ?? Number.POSITIVE_INFINITY });
      }
    } else if (kind < 32) {
      const wish = this.#wish();
      this.#note('release', lifetimes.release(wish));
      this.#kept.delete(wish.key);
    } else if (kind < 48) {
      const toDisk = random.below(2) === 0;
      this.#note('demote', lifetimes.demote(this.#wish(), { toDisk }));
    } else if (kind < 64) {
      const hasRoom = this.batch.waitingCount === 0;
      const toSlot = random.below(3) > 0;
      this.#note('prefetch', lifetimes.prefetch(this.#wish(), { toSlot, hasRoom }));
    } else if (kind < 82) {
      this.#export();
    } else {
      this.#import();
    }
    this.hear();
    this.batch.check();
  }

  override reset(): void {
    super.reset();
    this.#kept.clear();
  }

  override during(): void {
    this.#computing = true;
    if (!this.#isEnding && this.random.below(4) === 0) this.control();
    this.#computing = false;
  }

  /** Where nothing fails and there is room, what is kept is known. */
  checkKept(): void {
    for (const [key, { hashes, untilUs }] of this.#kept) {
      if (untilUs <= this.#nowUs) this.#kept.delete(key);
      else if (!this.faults) {
        this.keptChecks++;
        const { chain } = this.cache.lifetimes.ofBlocks(BigUint64Array.from(hashes));
        assert.equal(chain.length, hashes.length, 'what is kept is known');
      }
    }
  }

  finishTransfers(): void {
    this.#isEnding = true;
    for (let i = 0; i < 1000 && this.#opening.size + this.#open.size > 0; i++) {
      this.settle();
      this.#goOn();
    }
    for (let i = 0; i < 1000 && this.#arriving !== undefined; i++) {
      this.settle();
      this.#import();
    }
    assert.equal(this.#arriving, undefined);
  }

  #note<T extends { answer: KvAnswer }>(wish: string, outcome: T): T {
    const key = `${wish} ${outcome.answer}`;
    this.answers[key] = (this.answers[key] ?? 0) + 1;
    return outcome;
  }

  #wish(): Wish {
    const { random } = this;
    const which = random.below(this.histories.length);
    const salt = random.below(8) === 0 ? 'x' : '';
    const { lifetimes } = this.cache;
    if (random.below(2) === 0) return lifetimes.ofThread(`${salt}/${which}`);
    const { hashes } = hashesOf(this.histories[which], salt);
    return lifetimes.ofBlocks(hashes.slice(0, 1 + random.below(hashes.length)));
  }

  /** Begins an export, or goes on with one. */
  #export(): void {
    if (this.#opening.size + this.#open.size < 2 && this.random.below(2) === 0) {
      const hashes = this.#wish().chain.map(({ hash }) => hash);
      this.#tryOpen(`out ${this.#names++}`, BigUint64Array.from(hashes));
    } else {
      this.#goOn();
    }
  }

  /** Looks whether what comes from disk has come, or ends an export: its bytes are right. */
  #goOn(): void {
    const [waits] = this.#opening;
    if (waits !== undefined) {
      this.#opening.delete(waits[0]);
      return this.#tryOpen(...waits);
    }
    for (const [id, { handles, tokens }] of this.#open) {
      // Its moves are carried out with the next plan.
      if (this.cache.hasMoves || this.#computing) return;
      assert.deepEqual(this.memory.read(handles), tokens);
      this.exported += handles.length;
      this.#open.delete(id);
      this.cache.exchange.close(id);
      return;
    }
  }

  #tryOpen(id: string, hashes: BigUint64Array): void {
    const opened = this.cache.exchange.open(id, hashes);
    if (opened.kind === 'loading') {
      this.#opening.set(id, hashes);
      return;
    }
    const handles = opened.blocks.map(
      ({ host }) => host ?? assert.fail('it lies in the host store'),
    );
    this.#open.set(id, { handles, tokens: opened.blocks.map(({ tokens }) => tokens) });
  }

  /** Takes blocks from another engine, some at a time. */
  #import(): void {
    const { exchange } = this.cache;
    const coming = this.#arriving;
    if (coming === undefined) {
      const salt = this.random.below(4) === 0 ? 'x' : '';
      const prompt = this.random.pick(this.histories);
      const { hashes } = hashesOf(prompt, salt);
      const id = `in ${this.#names++}`;
      this.#arriving = { id, salt, prompt, hashes, next: 0, places: [] };
      exchange.begin(id);
      return;
    }
    if (coming.places.length > 0) {
      if (this.cache.hasMoves || this.#computing) return;
      for (const { handle, tokens } of coming.places.splice(0)) this.memory.write(handle, tokens);
      exchange.arrived(coming.id);
      return;
    }
    for (let count = 1 + this.random.below(6); count > 0; count--) {
      const { hashes, next, salt, prompt, id } = coming;
      const hash = hashes.at(next);
      const tokens = prompt.slice(next * BLOCK, (next + 1) * BLOCK);
      const added = hash === undefined ? undefined : exchange.add(id, { hash, tokens, salt });
      if (added === undefined || added.kind === 'refused') {
        if (coming.places.length > 0) return;
        this.imported += exchange.end(id, `${salt}/import`);
        this.#arriving = undefined;
        return;
      }
      coming.next++;
      if (added.kind === 'place') coming.places.push({ handle: added.handle, tokens });
    }
  }
}
