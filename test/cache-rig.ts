/** An engine with all tiers, under everything that can happen to them, beside a twin that keeps nothing. */
import assert from 'node:assert/strict';
import type { Prng } from '../src/base/prng.ts';
import { SimulatedMemory } from '../src/engines/runner-simulated.ts';
import { Batch } from '../src/kernel/cache/batch.ts';
import { TieredCache } from '../src/kernel/cache/tiers.ts';
import type { BlockHash, BlockHashes, Tier } from '../src/model/block.ts';
import { GREEDY } from '../src/model/request.ts';
import {
  A_TOKEN,
  type FileId,
  type FileNews,
  type Move,
  type SequenceId,
  type StepPlan,
} from '../src/model/step.ts';
import { hasherOf, recompute } from './engine-twin.ts';

const END = 999;
const MODEL = {
  seed: 7,
  blockTokens: 4,
  words: Uint32Array.from({ length: 50 }, (_, i) => 100 + i),
  endToken: END,
  // Most prompts hold it: an answer's length counts from there, so that few answers are empty.
  turnToken: 5,
  answerTokensMin: 2,
  answerTokensMax: 200,
};
const hashBlock = hasherOf(MODEL.blockTokens);
const ANSWER_MAX = 12;
const PROMPT_MAX = 160;

/** Its disk answers late, in any order, and at times not as it should. */
export class CacheRig {
  readonly cache: TieredCache;
  readonly ended = new Set<SequenceId>();
  readonly seen = { cached: 0, prompt: 0, loads: 0, saves: 0, lost: 0 };
  readonly batch: Batch;
  readonly memory: SimulatedMemory;
  readonly random: Prng;
  readonly faults: boolean;
  /** What the disk will tell, each file's in order. */
  #news: FileNews[] = [];
  readonly #dropped = new Set<FileId>();
  readonly #loading = new Map<FileId, Move>();
  readonly #answers = new Map<SequenceId, { prompt: Uint32Array; said: number[] }>();
  readonly #stopped = new Set<SequenceId>();
  histories: Uint32Array[];
  readonly told: Record<Tier, Set<BlockHash>> = {
    device: new Set(),
    host: new Set(),
    disk: new Set(),
  };
  isOff = false;

  constructor(
    random: Prng,
    given: {
      slots?: number;
      hostBlocks?: number;
      diskBlocks?: number;
      blocksMax?: number;
      faults?: boolean;
    } = {},
  ) {
    this.random = random;
    this.faults = given.faults ?? true;
    const slots = given.slots ?? 1 + random.below(4);
    const hostBlocks = given.hostBlocks ?? random.pick([1, 15, 30, 45]);
    const diskBlocks = given.diskBlocks ?? random.pick([8, 100, 400]);
    const exact = given.slots === undefined && random.below(5) === 0 ? 8 : undefined;
    const isTight = given.slots === undefined && random.below(6) === 0;
    const blocksMax = given.blocksMax ?? (isTight ? 40 : 10_000);
    this.cache = new TieredCache(
      {
        slots,
        blockTokens: MODEL.blockTokens,
        blocksMax,
        hostBlocks,
        matchBlocks: exact === undefined ? 1 : exact / MODEL.blockTokens,
        disk: {
          bytesMax: diskBlocks * 100,
          dirtyBytesMax: random.pick([700, 5000]),
          fileBytes: 50,
          blockBytes: 100,
          fileBlocksMax: random.pick([1, 4, 6]),
          saltBytesMax: 64,
        },
      },
      (position, count) => count * (1 + position),
    );
    this.memory = new SimulatedMemory(slots, MODEL);
    this.batch = new Batch({
      cache: this.cache,
      pace: {
        chunkTokens: ({ left, max }) => Math.min(left, max, 24),
        againTokens: ({ position, left, max }) => Math.min(position, max - left, random.below(12)),
        observe: () => {},
        computeUs: () => 0,
      },
      hash: hashBlock,
      settings: {
        blockTokens: MODEL.blockTokens,
        contextTokens: PROMPT_MAX + 40,
        waitingMax: 6,
        stepUsMax: 1000,
        chunkTokensMax: 512,
        exactChunkTokens: exact,
      },
    });
    this.histories = Array.from({ length: 5 }, () => ids(random, 8 + random.below(60)));
  }

  /** One random operation. */
  act(): void {
    const random = this.random;
    const kind = random.below(100);
    if (kind < 20) this.#askSomething();
    else if (kind < 82) this.step();
    else if (kind < 96) this.#tell();
    else if (kind < 98) this.#stopOne();
    else if (random.below(30) === 0) this.reset();
    else if (this.faults && random.below(150) === 0) this.#switchOff();
    this.batch.check();
  }

  reset(): void {
    this.cache.reset();
  }

  finish(): void {
    this.settle();
    for (const [sequence, { prompt, said }] of this.#answers) {
      if (this.#stopped.has(sequence)) continue;
      assert.ok(this.ended.has(sequence), 'each request ends');
      assert.deepEqual(said, answerOf(prompt, ANSWER_MAX));
    }
    this.cache.reset();
    this.hear();
    this.batch.check();
    assert.deepEqual([this.cache.blockCount, this.cache.hostBlockCount], [0, 0]);
    assert.deepEqual([this.cache.diskBlockCount, this.cache.diskBytes], [0, 0]);
  }

  ask(prompt: Uint32Array, salt: string, thread?: string): SequenceId {
    const { root, hashes } = hashesOf(prompt, salt);
    const taken = this.batch.submit({
      ids: prompt,
      hashes,
      root,
      salt,
      thread,
      priority: this.faults ? this.random.below(2) : 0,
      sampling: GREEDY,
      outputTokensMax: ANSWER_MAX,
      endTokens: new Set([END]),
      forced: undefined,
      answerTokens: undefined,
      wants: A_TOKEN,
    });
    if (taken.kind === 'full') return 0;
    this.#answers.set(taken.sequence, { prompt, said: [] });
    this.seen.prompt += prompt.length;
    return taken.sequence;
  }

  step(): boolean {
    const plan = this.batch.plan();
    if (plan === undefined) return false;
    for (const { sequence } of plan.slices) {
      const answer = this.#answers.get(sequence);
      if (answer?.said.length === 0 && !this.ended.has(-sequence)) {
        this.ended.add(-sequence); // Its first slice: the rest of the prompt was in cache.
        this.seen.cached += this.batch.cachedTokens(sequence) ?? 0;
      }
    }
    this.#carryOut(plan);
    this.hear();
    return true;
  }

  /** Until nothing runs, waits or is on its way. */
  settle(): void {
    for (let i = 0; i < 100_000; i++) {
      const did = this.step();
      if (!did && this.#news.length === 0) return;
      if (!did) this.#tell();
    }
    assert.fail('work comes to an end');
  }

  #askSomething(): void {
    const random = this.random;
    const which = random.below(this.histories.length);
    const history = this.histories[which];
    const prompt = Uint32Array.from([...history, ...ids(random, 1 + random.below(30))]);
    if (prompt.length > PROMPT_MAX) {
      this.histories[which] = ids(random, 8 + random.below(60));
      return;
    }
    if (random.below(2) === 0) this.histories[which] = prompt;
    else if (this.histories.length < 12) this.histories.push(prompt);
    const salt = random.below(8) === 0 ? 'x' : '';
    this.ask(prompt, salt, `${salt}/${which}`);
  }

  /** Called while a step computes, for who does something then. */
  during(): void {}

  #carryOut(plan: StepPlan): void {
    this.during();
    const now: Move[] = [];
    for (const move of plan.moves) {
      if (move.kind === 'save') this.seen.saves++;
      if (move.kind === 'drop') this.#dropped.add(move.file);
      if (move.kind === 'load') {
        // Its bytes come when it is told, not before.
        this.seen.loads++;
        this.#loading.set(move.file, move);
        this.#news.push({ kind: 'loaded', file: move.file, elapsedUs: 100 });
      } else {
        now.push(move);
      }
    }
    const samples = this.memory.execute({ moves: now, slices: plan.slices });
    const news = this.memory.takeNews();
    // After the switch-off nothing is told any more.
    if (this.isOff) this.#news = [];
    else this.#news.push(...news);
    for (const output of this.batch.complete({ samples, elapsedUs: 1 })) {
      if (output.kind === 'token') this.#answers.get(output.sequence)?.said.push(output.token);
      else this.ended.add(output.sequence);
    }
  }

  /** Something late from the disk, at times that a file is no good. */
  #tell(): void {
    if (this.#news.length === 0) return;
    const at = this.random.below(this.#news.length);
    const { file } = this.#news[at] as { file: number };
    const first = this.#news.findIndex((news) => news.kind !== 'off' && news.file === file);
    const [one] = this.#news.splice(first, 1);
    const load = this.#loading.get(file);
    if (one.kind === 'loaded') this.#loading.delete(file);
    const dropped = one.kind === 'loaded' && this.#dropped.has(file);
    const fails = dropped || (this.faults && this.random.below(25) === 0);
    if (fails) this.seen.lost++;
    else if (one.kind === 'loaded' && load !== undefined) {
      this.memory.execute({ moves: [load], slices: [] });
      this.memory.takeNews();
    }
    this.batch.note([fails ? { kind: 'lost', file } : one]);
    this.hear();
    this.batch.check();
  }

  #stopOne(): void {
    const open = [...this.#answers.keys()].filter((id) => !this.ended.has(id));
    if (open.length === 0) return;
    const sequence = this.random.pick(open);
    this.batch.stop(sequence);
    this.#stopped.add(sequence);
  }

  #switchOff(): void {
    this.isOff = true;
    this.#news = [];
    this.batch.note([{ kind: 'off', reason: 'the disk is full' }]);
  }

  /** Whoever follows the events knows what lies where. */
  hear(): void {
    for (const event of this.cache.takeEvents()) {
      if (event.kind === 'cleared') {
        for (const told of Object.values(this.told)) told.clear();
        continue;
      }
      const told = this.told[event.tier];
      for (const hash of event.hashes) {
        assert.equal(told.has(hash), event.kind === 'removed', 'stored once, removed once');
        if (event.kind === 'stored') told.add(hash);
        else told.delete(hash);
      }
    }
    assert.equal(this.told.disk.size, this.cache.diskBlockCount);
    const { device, host, disk } = this.told;
    const known = new Set([...device, ...host, ...disk]).size;
    assert.ok(known <= this.cache.blockCount, 'what is told is known');
  }
}

const twin = new Map<string, number[]>();

/** The twin's answer, asked for once. */
function answerOf(prompt: Uint32Array, outputTokensMax: number): number[] {
  const key = prompt.join();
  const before = twin.get(key);
  if (before !== undefined) return before;
  const answer = recompute(MODEL, prompt, outputTokensMax);
  if (twin.size > 10_000) twin.clear();
  twin.set(key, answer);
  return answer;
}

export function ids(random: Prng, length: number): Uint32Array {
  return Uint32Array.from({ length }, () => random.below(90));
}

/** As the rig names the blocks of a prompt. */
export function hashesOf(
  prompt: Uint32Array,
  salt: string,
): { root: BlockHash; hashes: BlockHashes } {
  const root = BigInt(1 + salt.length);
  const hashes = new BigUint64Array(Math.floor(prompt.length / MODEL.blockTokens));
  let parent = root;
  for (let i = 0; i < hashes.length; i++) {
    parent = hashes[i] = hashBlock(parent, prompt, i * MODEL.blockTokens);
  }
  return { root, hashes };
}
