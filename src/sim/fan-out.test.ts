/**
 * Parents that send out eight sub-agents again and again, on fleets with room and with little. What the
 * sub-agents share is computed at most twice, and their parents find their own context when they go on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../base/prng.ts';
import { Config } from '../model/config.ts';
import type { TurnEnd } from '../model/kernel-io.ts';
import { Fleet, type Outcome } from './fleet.ts';
import { readProfile } from './profile.ts';

/** More with STATOR_SEEDS. */
const SEEDS = Number(process.env.STATOR_SEEDS ?? 1);
const BLOCK_TOKENS = 64;
const SUB_AGENTS = 8;
const SHARED_BLOCKS = 250;
const UNTIL_US = 150_000_000;

/** Sessions a worker: their contexts, without sub-agents, fill a sixth of its cache or most of it. */
const LOADS = [
  { name: 'mild', perWorker: 1, policy: 'stator' },
  // Engines' own order: what placing and the gate alone do for parents.
  { name: 'pressed', perWorker: 3, policy: 'stator-lru' },
];

for (const workers of [4, 8]) {
  for (const { name, ...load } of LOADS) {
    test(`${workers} workers, ${name}: a fan-out of 8 computes what it shares at most twice`, () => {
      const totals = { fanOuts: 0, computed: 0, over: 0, parentTokens: 0, foundTokens: 0 };
      for (let seed = 1; seed <= SEEDS; seed++) add(totals, new Work(seed, { workers, ...load }));
      const { fanOuts, computed, over, parentTokens, foundTokens } = totals;
      const mean = computed / fanOuts;
      const found = foundTokens / parentTokens;
      console.log(
        `  ${fanOuts} fan-outs: prefix computed ${mean.toFixed(2)} times, more than twice in ` +
          `${over}; parents found ${(100 * found).toFixed(1)} %`,
      );
      assert.ok(fanOuts > 5, 'there is something to see');
      assert.equal(over, 0, 'no prefix is computed more than twice');
      assert.ok(found >= 0.95, `parents found ${found}`);
    });
  }
}

interface Totals {
  fanOuts: number;
  /** Shared prefixes, each by its share. */
  computed: number;
  /** Fan-outs that computed theirs more than twice. */
  over: number;
  /** Of parents that go on after sub-agents: what they had computed before, and what of it they found. */
  parentTokens: number;
  foundTokens: number;
}

function add(totals: Totals, work: Work): void {
  for (const name of Object.keys(totals) as (keyof Totals)[]) totals[name] += work.totals[name];
}

/** A fleet whose sessions each make their turns and, now and then, send out sub-agents. */
class Work {
  readonly totals: Totals = { fanOuts: 0, computed: 0, over: 0, parentTokens: 0, foundTokens: 0 };
  readonly #fleet: Fleet;

  constructor(
    seed: number,
    { workers, perWorker, policy }: { workers: number; perWorker: number; policy: string },
  ) {
    const { limits } = Config.parse({});
    this.#fleet = new Fleet({
      seed,
      world: 'private',
      workers,
      profile: { ...readProfile('h100-qwen3-8b'), waitsForPrefix: true },
      blockTokens: BLOCK_TOKENS,
      deviceTokens: 350_000,
      hostTokens: 0,
      routingLagUs: 1_000,
      eventLagUs: 5_000,
      kernel: { ...limits, policy, queueUsMax: Number.MAX_SAFE_INTEGER / 2 },
    });
    const random = new Prng(seed).fork('fan-out');
    for (let i = 0; i < workers * perWorker; i++) this.#live(`p${i}`, random.fork(`p${i}`));
    this.#fleet.run(UNTIL_US);
    this.#fleet.check();
  }

  #live(session: string, random: Prng): void {
    const fleet = this.#fleet;
    const base = fleet.space.open(2_000);
    let blocks = 400 + random.below(800);
    let knownTokens = 0;
    let wasAway = false;
    const turn = () => {
      const path = pathOf(base, blocks);
      const promptTokens = blocks * BLOCK_TOKENS + 1;
      const isFanOut = random.below(4) === 0;
      const end = calls(...(isFanOut ? Array<string>(SUB_AGENTS).fill('Task') : ['Bash']));
      const asked = { thread: session, session, path, promptTokens, end };
      fleet.arrive({ ...asked, outputTokens: 100 + random.below(300) }, ({ cachedTokens }) => {
        if (wasAway) this.totals.parentTokens += knownTokens;
        if (wasAway) this.totals.foundTokens += Math.min(knownTokens, cachedTokens);
        knownTokens = blocks * BLOCK_TOKENS;
        blocks = Math.min(1_990, blocks + 4 + random.below(12));
        const goOn = () => fleet.at(fleet.nowUs + 500_000 + random.below(4_000_000), turn);
        wasAway = isFanOut;
        if (isFanOut) this.#fanOut(session, random, goOn);
        else goOn();
      });
    };
    fleet.at(random.below(20_000_000), turn);
  }

  /** Each sub-agent makes two turns; `over` when all have. */
  #fanOut(session: string, random: Prng, over: () => void): void {
    const fleet = this.#fleet;
    const shared = pathOf(fleet.space.open(SHARED_BLOCKS), SHARED_BLOCKS);
    let left = SUB_AGENTS;
    let computedTokens = 0;
    const first = ({ cachedTokens }: Outcome) => {
      computedTokens += Math.max(0, SHARED_BLOCKS * BLOCK_TOKENS - cachedTokens);
    };
    const ended = () => {
      if (--left > 0) return;
      const times = computedTokens / SHARED_BLOCKS / BLOCK_TOKENS;
      this.totals.fanOuts++;
      this.totals.computed += times;
      if (times > 2) this.totals.over++;
      over();
    };
    for (let i = 0; i < SUB_AGENTS; i++) {
      const thread = `${session}/${fleet.nowUs}.${i}`;
      const own = pathOf(fleet.space.open(100), 100);
      const ask = (ownBlocks: number, end: TurnEnd, done: (outcome: Outcome) => void) => {
        const path = Int32Array.from([...shared, ...own.slice(0, ownBlocks)]);
        const promptTokens = path.length * BLOCK_TOKENS + 1;
        const asked = { thread, session, parent: session, path, promptTokens, end };
        fleet.arrive({ ...asked, outputTokens: 50 + random.below(200) }, done);
      };
      fleet.at(fleet.nowUs + 10_000 + random.below(500_000), () => {
        ask(10 + random.below(20), calls('Read'), (outcome) => {
          first(outcome);
          fleet.at(fleet.nowUs + 200_000 + random.below(3_000_000), () =>
            ask(40, { kind: 'answered' }, ended),
          );
        });
      });
    }
  }
}

function calls(...tools: string[]): TurnEnd {
  return { kind: 'tools', tools: tools.map((tool) => ({ tool })) };
}

function pathOf(base: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => base + i);
}
