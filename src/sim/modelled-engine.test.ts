import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import { BlockSpace } from './block-space.ts';
import { ChainCache } from './chain-cache.ts';
import { ModelledEngine } from './modelled-engine.ts';
import type { Profile } from './profile.ts';

/** Its figures are sums of powers of two, so that sums in any order are exact. */
const PROFILE: Profile = {
  name: 'toy',
  about: 'toy',
  source: 'made up',
  error: 'none',
  curve: {
    baseUs: 1000,
    perTokenUs: 8,
    perTokenContextUs: 0.125,
    perSequenceUs: 4.5,
    perContextUs: 0.25,
  },
  hostFetchPerTokenUs: 16,
  batchedTokensMax: 64,
  sequencesMax: 4,
};
const BLOCK_TOKENS = 16;
const TRANSFER_PER_TOKEN_US = 4;

test('steps taken together end on the same microsecond as steps taken one by one', () => {
  let spans = 0;
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const jobs = someJobs(new Prng(seed));
      const sizes = { deviceBlocks: 24, hostBlocks: 16 };
      const fast = runEngine(jobs, sizes);
      spans += fast.advances;
      assert.deepEqual(fast.log, new StepByStep(jobs, sizes).run());
    }),
    { numRuns: 80 },
  );
  assert.ok(spans > 1000, 'there was something to run');
});

test('what is due sets aside what is not, which goes on later with all it had said', () => {
  const path = (first: number) => Int32Array.from({ length: 10 }, (_, block) => first + block);
  const jobs = [
    { atUs: 0, path: path(0), promptTokens: 160, outputTokens: 40, dueUs: 10_000_000 },
    { atUs: 15_000, path: path(20), promptTokens: 160, outputTokens: 4, dueUs: 15_000 },
  ];
  const sizes = { deviceBlocks: 20, hostBlocks: 20 };
  const [behind, due] = jobs;
  const lastEnd = (log: readonly string[]) => Number(log.at(-1)?.split(' ')[0]);
  const { log } = runEngine(jobs, sizes);
  assert.deepEqual(
    log.map((line) => line.split(' ').slice(1, 3).join(' ')),
    ['0 first', '1 first', '1 ended', '0 ended'],
  );
  // It waits for the other, and for its ten blocks and its answer so far to come back: nothing is lost.
  const apart = lastEnd(runEngine([behind], sizes).log);
  const other = lastEnd(runEngine([{ ...due, atUs: 0 }], sizes).log);
  const fetchUs = (160 + 40) * PROFILE.hostFetchPerTokenUs;
  assert.ok(lastEnd(log) <= apart + other + fetchUs + 2 * PROFILE.curve.baseUs, log.join(', '));
  // First come, first served where both are due.
  const fair = runEngine(
    jobs.map(({ dueUs: _, ...job }) => job),
    sizes,
  );
  assert.equal(fair.log[1].split(' ')[1], '0');
});

test('whatever is due when, everything is answered once', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const rng = new Prng(seed);
      const jobs = someJobs(rng).map((job) => ({ ...job, dueUs: job.atUs + rng.below(400_000) }));
      const host = rng.below(2) === 0 ? 0 : 30;
      const { log } = runEngine(jobs, { deviceBlocks: 18 + rng.below(10), hostBlocks: host });
      const ids = (kind: string) =>
        log.filter((line) => line.includes(kind)).map((line) => Number(line.split(' ')[1]));
      const all = jobs.map((_, i) => i);
      assert.deepEqual(
        ids('first').sort((a, b) => a - b),
        all,
      );
      assert.deepEqual(
        ids('ended').sort((a, b) => a - b),
        all,
      );
    }),
    { numRuns: 60 },
  );
});

test('who waits for room is admitted in order, and a stack without reuse finds nothing', () => {
  const jobs = [0, 1, 2].map((i) => ({
    atUs: i,
    path: Int32Array.from({ length: 10 }, (_, block) => block),
    promptTokens: 160,
    outputTokens: 16,
  }));
  const log = runEngine(jobs, { deviceBlocks: 24, hostBlocks: 0 }, false).log;
  assert.deepEqual(
    log.filter((line) => line.includes('first')).map((line) => line.split(' ').slice(1).join(' ')),
    ['0 first cached 0', '1 first cached 0', '2 first cached 0'],
  );
});

interface Job {
  atUs: number;
  path: Int32Array;
  promptTokens: number;
  outputTokens: number;
  /** Leading blocks that another engine computed. */
  broughtBlocks?: number;
  dueUs?: number;
}

/** Turns of a few sessions with a common beginning. */
function someJobs(rng: Prng): Job[] {
  const jobs: Job[] = [];
  let atUs = 0;
  for (let i = 0; i < 12; i++) {
    // Never two at once: an idle engine begins with the first, before it can know of the second.
    atUs += 1 + (rng.below(4) === 0 ? rng.below(200_000) : rng.below(3000));
    const session = rng.below(3);
    const blocks = 1 + rng.below(12);
    jobs.push({
      atUs,
      path: Int32Array.from({ length: blocks }, (_, b) => (b < 2 ? b : 2 + session * 20 + b)),
      promptTokens: blocks * BLOCK_TOKENS + rng.below(BLOCK_TOKENS),
      outputTokens: 1 + rng.below(60),
      broughtBlocks: rng.below(3) === 0 ? rng.below(blocks + 1) : 0,
    });
  }
  return jobs;
}

function runEngine(
  jobs: readonly Job[],
  sizes: { deviceBlocks: number; hostBlocks: number },
  reuses = true,
): { log: string[]; advances: number } {
  const space = new BlockSpace();
  space.open(100);
  const cache = new ChainCache(space, sizes);
  const log: string[] = [];
  const settings = {
    profile: PROFILE,
    blockTokens: BLOCK_TOKENS,
    runningBlocksMax: Number.POSITIVE_INFINITY,
    transferPerTokenUs: TRANSFER_PER_TOKEN_US,
    reuses,
  };
  const engine = new ModelledEngine<number>(cache, settings, {
    firstToken: (of, atUs, cached) => log.push(`${atUs} ${of} first cached ${cached}`),
    ended: (of, atUs) => log.push(`${atUs} ${of} ended`),
  });
  let next = 0;
  let advances = 0;
  for (;;) {
    const due = engine.nextUs;
    const job = jobs[next];
    if (job !== undefined && (due === undefined || job.atUs <= due)) {
      const { atUs, ...sequence } = job;
      engine.submit(atUs, { of: next++, ...sequence });
    } else if (due !== undefined) {
      engine.advance(due);
      advances++;
    } else break;
    cache.check();
  }
  assert.equal(log.length, 2 * jobs.length, 'everything was answered');
  return { log, advances };
}

interface TwinRun {
  job: number;
  blocks: number;
  kept: number;
  computed: number;
  produced: number;
  readyUs: number;
  cached: number;
}

/** The dumb twin: one step after the other, each as long as its sum says. */
class StepByStep {
  readonly #jobs: readonly Job[];
  readonly #cache: ChainCache;
  readonly #log: string[] = [];
  readonly #waiting: number[] = [];
  #running: TwinRun[] = [];
  #linkFreeUs = 0;
  #next = 0;

  constructor(jobs: readonly Job[], sizes: { deviceBlocks: number; hostBlocks: number }) {
    const space = new BlockSpace();
    space.open(100);
    this.#jobs = jobs;
    this.#cache = new ChainCache(space, sizes);
  }

  run(): string[] {
    let nowUs = 0;
    /** Where the same sequences began to decode, and the sum of their steps since. */
    let decoding: { atUs: number; us: number; steps: number } | undefined;
    for (;;) {
      while (this.#next < this.#jobs.length && this.#jobs[this.#next].atUs <= nowUs) {
        this.#waiting.push(this.#next++);
      }
      this.#admit(nowUs);
      const decodes = this.#running.filter((one) => one.produced > 0);
      const prompts = this.#running.filter((one) => one.produced === 0 && one.readyUs <= nowUs);
      const { curve } = PROFILE;
      let us = curve.baseUs;
      for (const { job, produced } of decodes) {
        us += curve.perSequenceUs;
        us += curve.perContextUs * (this.#jobs[job].promptTokens + produced);
      }
      const chunks: TwinRun[] = [];
      if (prompts.length > 0) {
        decoding = undefined;
        let left = PROFILE.batchedTokensMax - decodes.length;
        for (const one of prompts) {
          const tokens = Math.min(left, this.#jobs[one.job].promptTokens - one.computed);
          us += curve.perTokenUs * tokens;
          us += curve.perTokenContextUs * tokens * (one.computed + tokens / 2);
          one.computed += tokens;
          left -= tokens;
          if (tokens > 0) chunks.push(one);
        }
        nowUs += Math.round(us);
      } else if (decodes.length > 0) {
        decoding ??= { atUs: nowUs, us: 0, steps: 0 };
        decoding.us += us;
        decoding.steps++;
        nowUs = decoding.atUs + Math.max(decoding.steps, Math.round(decoding.us));
      } else {
        const times = this.#running.map(({ readyUs }) => readyUs);
        if (this.#next < this.#jobs.length) times.push(this.#jobs[this.#next].atUs);
        if (times.length === 0) return this.#log;
        nowUs = Math.min(...times);
        continue;
      }
      for (const one of decodes) one.produced++;
      for (const one of chunks) this.#prefilled(one, nowUs);
      if (this.#end(nowUs)) decoding = undefined;
    }
  }

  #prefilled(one: TwinRun, nowUs: number): void {
    const { path, promptTokens } = this.#jobs[one.job];
    const kept = Math.min(path.length, Math.floor(one.computed / BLOCK_TOKENS));
    if (kept > one.kept) this.#cache.computed(path, one.kept, kept);
    one.kept = Math.max(kept, one.kept);
    if (one.computed < promptTokens) return;
    one.produced = 1;
    this.#log.push(`${nowUs} ${one.job} first cached ${one.cached}`);
  }

  #end(nowUs: number): boolean {
    const ended = this.#running.filter((one) => one.produced >= this.#jobs[one.job].outputTokens);
    this.#running = this.#running.filter((one) => !ended.includes(one));
    for (const { job, kept, blocks } of ended) {
      this.#cache.release(nowUs, this.#jobs[job].path, { kept, unused: blocks - kept });
      this.#log.push(`${nowUs} ${job} ended`);
    }
    return ended.length > 0;
  }

  #admit(nowUs: number): void {
    while (this.#waiting.length > 0 && this.#running.length < PROFILE.sequencesMax) {
      const job = this.#waiting[0];
      const { path, promptTokens, outputTokens, broughtBlocks = 0 } = this.#jobs[job];
      const blocks = Math.ceil((promptTokens + outputTokens) / BLOCK_TOKENS);
      const usable = Math.min(path.length, Math.floor((promptTokens - 1) / BLOCK_TOKENS));
      const match = this.#cache.match(path, usable);
      if (!this.#cache.admit(path, match.blocks, blocks - match.blocks)) return;
      this.#waiting.shift();
      const brought = Math.max(0, Math.min(usable, broughtBlocks) - match.blocks);
      const hostUs = match.hostBlocks * BLOCK_TOKENS * PROFILE.hostFetchPerTokenUs;
      const fetchUs = hostUs + brought * BLOCK_TOKENS * TRANSFER_PER_TOKEN_US;
      if (fetchUs > 0) this.#linkFreeUs = Math.max(nowUs, this.#linkFreeUs) + fetchUs;
      const cached = (match.blocks + brought) * BLOCK_TOKENS;
      const readyUs = fetchUs > 0 ? this.#linkFreeUs : nowUs;
      const kept = match.blocks;
      this.#running.push({ job, blocks, kept, computed: cached, produced: 0, readyUs, cached });
    }
  }
}
