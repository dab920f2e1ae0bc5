import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hasherOf, recompute } from '../../../test/engine-twin.ts';
import { Prng } from '../../base/prng.ts';
import { SimulatedMemory } from '../../engines/runner-simulated.ts';
import type { KvEvent } from '../../model/block.ts';
import { GREEDY, IDLE_PRIORITY } from '../../model/request.ts';
import { A_TOKEN, type SequenceId, type StepPlan } from '../../model/step.ts';
import { Batch, type Output } from './batch.ts';
import type { Spec } from './sequence.ts';
import { TieredCache, type TierSizes } from './tiers.ts';

const END = 999;
const MODEL = {
  seed: 7,
  blockTokens: 4,
  words: Uint32Array.from({ length: 50 }, (_, i) => 100 + i),
  endToken: END,
  turnToken: undefined,
  answerTokensMin: 5,
  answerTokensMax: 60,
};

const hashBlock = hasherOf(MODEL.blockTokens);

class Rig {
  readonly cache: TieredCache;
  readonly batch: Batch;
  readonly memory: SimulatedMemory;
  readonly answers = new Map<SequenceId, number[]>();
  readonly ended = new Set<SequenceId>();
  readonly events: KvEvent[] = [];
  computedTokens = 0;
  /** Tokens that are computed once more with the end of a prompt. */
  again = 0;

  constructor(sizes: Partial<TierSizes>, exactChunkTokens?: number) {
    const slots = sizes.slots ?? 3;
    this.cache = new TieredCache(
      {
        slots,
        blockTokens: MODEL.blockTokens,
        blocksMax: 40,
        hostBlocks: 40,
        matchBlocks: exactChunkTokens === undefined ? 1 : exactChunkTokens / MODEL.blockTokens,
        disk: undefined,
        ...sizes,
      },
      (_, count) => count,
    );
    this.memory = new SimulatedMemory(slots, MODEL);
    this.batch = new Batch({
      cache: this.cache,
      pace: {
        chunkTokens: ({ left }) => Math.min(left, 24),
        againTokens: ({ position, left, max }) => Math.min(position, max - left, this.again),
        observe: () => {},
        computeUs: () => 0,
      },
      hash: hashBlock,
      settings: {
        blockTokens: MODEL.blockTokens,
        contextTokens: 400,
        waitingMax: 8,
        stepUsMax: 1000,
        chunkTokensMax: 512,
        exactChunkTokens,
      },
    });
  }

  submit(ids: Uint32Array, more: Partial<Spec> = {}): SequenceId | 'full' {
    const hashes = new BigUint64Array(Math.floor(ids.length / MODEL.blockTokens));
    let parent = 1n;
    for (let i = 0; i < hashes.length; i++) {
      parent = hashes[i] = hashBlock(parent, ids, i * MODEL.blockTokens);
    }
    const taken = this.batch.submit({
      ids,
      hashes,
      root: 1n,
      salt: '',
      priority: 0,
      sampling: GREEDY,
      outputTokensMax: 20,
      endTokens: new Set([END]),
      forced: undefined,
      answerTokens: undefined,
      wants: A_TOKEN,
      ...more,
    });
    if (taken.kind === 'full') return 'full';
    this.answers.set(taken.sequence, []);
    return taken.sequence;
  }

  /** False when there was nothing to do. */
  step(meanwhile: () => void = () => {}): boolean {
    const plan = this.batch.plan();
    if (plan === undefined) return false;
    meanwhile();
    this.complete(plan);
    return true;
  }

  complete(plan: StepPlan): void {
    for (const slice of plan.slices) this.computedTokens += slice.tokens.length;
    const samples = this.memory.execute(plan);
    for (const output of this.batch.complete({ samples, elapsedUs: 1 })) this.#note(output);
    this.events.push(...this.cache.takeEvents());
    this.batch.check();
  }

  drain(): void {
    for (let i = 0; this.step(); i++) assert.ok(i < 100_000, 'work comes to an end');
  }

  #note(output: Output): void {
    if (output.kind === 'token') this.answers.get(output.sequence)?.push(output.token);
    else this.ended.add(output.sequence);
  }
}

function ids(random: Prng, length: number): Uint32Array {
  return Uint32Array.from({ length }, () => random.below(90));
}

test('a second turn computes only what is new', () => {
  const rig = new Rig({});
  const random = new Prng(1);
  const first = ids(random, 50);
  const turn1 = rig.submit(first) as SequenceId;
  rig.drain();
  const answer = rig.answers.get(turn1) ?? [];
  assert.deepEqual(answer, recompute(MODEL, first, 20));
  const second = Uint32Array.from([...first, ...answer, ...ids(random, 10)]);
  rig.computedTokens = 0;
  const turn2 = rig.submit(second, { outputTokensMax: 1 }) as SequenceId;
  rig.drain();
  assert.ok(rig.computedTokens <= 10 + MODEL.blockTokens + 1, `computed ${rig.computedTokens}`);
  assert.deepEqual(rig.answers.get(turn2), recompute(MODEL, second, 1));
});

test('where the end of a prompt takes computed tokens along, they are told as cached all the same', () => {
  const rig = new Rig({});
  const random = new Prng(1);
  const first = ids(random, 64);
  rig.submit(first, { outputTokensMax: 1 });
  rig.drain();
  rig.again = 7;
  rig.computedTokens = 0;
  const second = Uint32Array.from([...first, ...ids(random, 10)]);
  const turn = rig.submit(second, { outputTokensMax: 2 }) as SequenceId;
  const plan = rig.batch.plan();
  assert.ok(plan !== undefined);
  const [{ position, tokens, slot }] = plan.slices;
  assert.deepEqual([position, position + tokens.length], [64 - 7, 74]);
  assert.deepEqual(plan.moves.at(-1), { kind: 'cut', slot, tokens: position });
  assert.equal(rig.batch.cachedTokens(turn), 64);
  rig.complete(plan);
  rig.drain();
  assert.deepEqual(rig.answers.get(turn), recompute(MODEL, second, 2));
});

test('whatever is reused, moved or evicted, answers equal those of an engine that keeps nothing', () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.record({
        slots: fc.integer({ min: 1, max: 4 }),
        blocksMax: fc.integer({ min: 1, max: 60 }),
        hostBlocks: fc.constantFrom(0, 1, 7, 60),
      }),
      fc.constantFrom(undefined, 8),
      (seed, sizes, exactChunkTokens) => {
        const random = new Prng(seed);
        const rig = new Rig(sizes, exactChunkTokens);
        rig.again = random.below(20);
        const families = Array.from({ length: 3 }, () => ids(random, 8 + random.below(40)));
        const histories: Uint32Array[] = families.map((family) => family);
        const prompts = new Map<SequenceId, Uint32Array>();
        const stopped = new Set<SequenceId>();
        const act = () => {
          const kind = random.below(10);
          if (kind < 6) {
            const which = random.below(histories.length);
            const prompt = Uint32Array.from([
              ...histories[which],
              ...ids(random, 1 + random.below(30)),
            ]);
            if (prompt.length > 300) histories[which] = random.pick(families);
            const priority = random.pick([IDLE_PRIORITY, -1, 0, 1]);
            const sequence = rig.submit(prompt.slice(0, 300), { priority });
            if (sequence === 'full') return;
            prompts.set(sequence, prompt.slice(0, 300));
            if (random.below(2) === 0) histories[which] = prompt.slice(0, 300);
            else if (random.below(4) === 0) histories.push(prompt.slice(0, 300));
          } else if (kind === 6 && prompts.size > 0) {
            const sequence = random.pick([...prompts.keys()]);
            rig.batch.stop(sequence);
            stopped.add(sequence);
          } else if (kind === 7 && random.below(5) === 0) {
            rig.cache.reset();
          }
        };
        for (let i = 0; i < 60; i++) {
          act();
          rig.step(random.below(3) === 0 ? act : undefined);
        }
        rig.drain();
        for (const [sequence, prompt] of prompts) {
          if (stopped.has(sequence)) continue;
          assert.ok(rig.ended.has(sequence), 'each request ends');
          assert.deepEqual(rig.answers.get(sequence), recompute(MODEL, prompt, 20));
        }
        assert.equal(rig.batch.runningCount, 0);
        assert.equal(rig.cache.busySlotCount, 0);
        assert.ok(rig.cache.blockCount <= sizes.blocksMax);
        assertEventsTell(rig);
      },
    ),
    { numRuns: 150 },
  );
});

/** Whoever follows the events knows exactly what the cache holds. */
function assertEventsTell(rig: Rig): void {
  const told = { device: new Set<bigint>(), host: new Set<bigint>(), disk: new Set<bigint>() };
  for (const event of rig.events) {
    if (event.kind === 'cleared') {
      told.device.clear();
      told.host.clear();
    } else {
      for (const hash of event.hashes) {
        const known = told[event.tier].has(hash);
        assert.equal(known, event.kind === 'removed', 'stored once, removed once');
        if (event.kind === 'stored') told[event.tier].add(hash);
        else told[event.tier].delete(hash);
      }
    }
  }
  const all = new Set([...told.device, ...told.host]);
  assert.equal(all.size, rig.cache.blockCount);
  assert.equal(told.host.size, rig.cache.hostBlockCount);
}

test('a short prompt passes a long one, and no stream of short ones starves it', () => {
  const rig = new Rig({ slots: 4 });
  const random = new Prng(6);
  const long = rig.submit(ids(random, 390), { outputTokensMax: 1 }) as SequenceId;
  rig.step();
  const short = rig.submit(ids(random, 30), { outputTokensMax: 1 }) as SequenceId;
  for (let i = 0; i < 4; i++) rig.step();
  assert.deepEqual([rig.ended.has(short), rig.ended.has(long)], [true, false]);
  let steps = 0;
  for (; !rig.ended.has(long); steps++) {
    if (steps % 2 === 0) rig.submit(ids(random, 48), { outputTokensMax: 1 });
    rig.step();
    assert.ok(steps < 100, 'the long prompt is computed beside endless short ones');
  }
  rig.drain();
});

test('a more important request takes a slot, and who lost it goes on where it was', () => {
  const rig = new Rig({ slots: 1 });
  const random = new Prng(8);
  const [prompt, urgent] = [ids(random, 90), ids(random, 20)];
  const endTokens = new Set<number>();
  const low = rig.submit(prompt, { outputTokensMax: 12, endTokens }) as SequenceId;
  while (rig.answers.get(low)?.length !== 6) rig.step();
  rig.computedTokens = 0;
  const high = rig.submit(urgent, { priority: 1, outputTokensMax: 3, endTokens }) as SequenceId;
  while (!rig.ended.has(high)) rig.step();
  assert.equal(rig.answers.get(low)?.length, 6, 'it waits meanwhile');
  rig.drain();
  const free = new Rig({ slots: 1 });
  const alone = free.submit(prompt, { outputTokensMax: 12, endTokens }) as SequenceId;
  free.drain();
  assert.deepEqual(rig.answers.get(low), free.answers.get(alone));
  const computed = rig.computedTokens - (20 + 2) - 6;
  assert.ok(computed <= MODEL.blockTokens, `${computed} tokens were computed again`);
});

test('what nobody waits for pauses with free slots too, prompt and answer, and goes on where it was', () => {
  const random = new Prng(12);
  for (const answered of [0, 4]) {
    const rig = new Rig({ slots: 3 });
    const prompt = ids(random, 120);
    const endTokens = new Set<number>();
    const given = { outputTokensMax: 9, endTokens };
    const idle = rig.submit(prompt, { ...given, priority: IDLE_PRIORITY }) as SequenceId;
    rig.step();
    while ((rig.answers.get(idle)?.length ?? 0) < answered) rig.step();
    const before = rig.computedTokens;
    const other = ids(random, 60);
    const urgent = rig.submit(other, { ...given, priority: -1 }) as SequenceId;
    while (!rig.ended.has(urgent)) rig.step();
    assert.equal(rig.computedTokens - before, other.length + 8, 'only the other is computed');
    assert.equal(rig.answers.get(idle)?.length, answered);
    rig.drain();
    assert.deepEqual(rig.answers.get(idle), alone(prompt, given));
    assert.equal(rig.computedTokens, prompt.length + 8 + other.length + 8, 'and nothing twice');
  }
});

test('who was preempted can still be stopped, and its sampler closes', () => {
  const rig = new Rig({ slots: 1 });
  const random = new Prng(9);
  const low = rig.submit(ids(random, 30), { endTokens: new Set() }) as SequenceId;
  while (rig.answers.get(low)?.length === 0) rig.step();
  rig.submit(ids(random, 30), { priority: 5 });
  rig.step();
  rig.batch.stop(low);
  const plan = rig.batch.plan();
  assert.ok(plan !== undefined);
  assert.ok(plan.moves.some((move) => move.kind === 'close' && move.sequence === low));
  rig.complete(plan);
  rig.drain();
  assert.deepEqual([rig.batch.waitingCount, rig.batch.runningCount], [0, 0]);
});

test('a full engine says so, and serves whom it took', () => {
  const rig = new Rig({ slots: 1 });
  const random = new Prng(3);
  const taken = Array.from({ length: 12 }, () => rig.submit(ids(random, 20)));
  assert.equal(taken.filter((sequence) => sequence === 'full').length, 4);
  rig.drain();
  assert.equal(rig.ended.size, 8);
});

test('forced output is emitted, and its KV is reused', () => {
  const rig = new Rig({});
  const random = new Prng(4);
  const prompt = ids(random, 30);
  const forced = ids(random, 25);
  const sequence = rig.submit(prompt, { forced, outputTokensMax: 100 }) as SequenceId;
  rig.drain();
  assert.deepEqual(rig.answers.get(sequence), [...forced]);
  rig.computedTokens = 0;
  rig.submit(Uint32Array.from([...prompt, ...forced, 1, 2]), { outputTokensMax: 1 });
  rig.drain();
  assert.ok(rig.computedTokens <= 3 + MODEL.blockTokens);
});

test('a prompt shared with a running sequence is copied, not computed again', () => {
  const rig = new Rig({});
  const random = new Prng(5);
  const shared = ids(random, 40);
  rig.submit(Uint32Array.from([...shared, 1]), { outputTokensMax: 15, endTokens: new Set() });
  while (rig.answers.get(1)?.length === 0) rig.step();
  rig.computedTokens = 0;
  rig.submit(Uint32Array.from([...shared, 2, 3]), { outputTokensMax: 1 });
  rig.step();
  assert.ok(rig.computedTokens <= 1 + 2 + MODEL.blockTokens, `computed ${rig.computedTokens}`);
  rig.drain();
});

/** What an engine answers that has nothing else to do. */
function alone(prompt: Uint32Array, given: Partial<Spec>): number[] | undefined {
  const rig = new Rig({ slots: 1 });
  const sequence = rig.submit(prompt, given) as SequenceId;
  rig.drain();
  return rig.answers.get(sequence);
}
