/** A batch in a fleet that has little to do: what it computes, and what it costs those somebody waits for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../base/prng.ts';
import { Config } from '../model/config.ts';
import { Fleet, type Outcome } from './fleet.ts';
import { readProfile } from './profile.ts';

const BLOCK_TOKENS = 64;
const IN_FLIGHT = 32;
const BEGIN_US = 20_000_000;
const BATCH = {
  requests: 2_000,
  prefixes: 20,
  prefixBlocks: 125,
  suffixBlocks: 4,
  outputTokens: 40,
};

const SEEDS = [1, 2];

test('a batch is computed once for each prefix, and nobody waits for it', () => {
  const before: number[] = [];
  const after: number[] = [];
  for (const seed of SEEDS) {
    const quiet = play({ seed, requests: 0 });
    const busy = play({ seed, requests: BATCH.requests });
    assert.equal(busy.batch.length, BATCH.requests, 'all of it is served');
    const computed = busy.batch.reduce((sum, one) => sum + one.promptTokens - one.cachedTokens, 0);
    const { requests, prefixes, prefixBlocks, suffixBlocks } = BATCH;
    const distinct = (prefixes * prefixBlocks + requests * suffixBlocks) * BLOCK_TOKENS;
    assert.ok(computed <= 1.1 * distinct, `${computed} tokens for ${distinct} distinct ones`);
    const endUs = Math.max(...busy.batch.map(({ endedUs }) => endedUs));
    const isBeside = ({ arrivedUs }: Outcome) => arrivedUs > BEGIN_US && arrivedUs < endUs;
    before.push(...quiet.agents.filter(isBeside).map(ttftUs));
    after.push(...busy.agents.filter(isBeside).map(ttftUs));
  }
  const [quietUs, busyUs] = [median(before), median(after)];
  assert.ok(busyUs <= 1.05 * quietUs, `median TTFT of ${busyUs} µs, ${quietUs} without the batch`);
});

function play({ seed, requests }: { seed: number; requests: number }) {
  const { limits } = Config.parse({});
  const fleet = new Fleet({
    seed,
    world: 'private',
    workers: 4,
    profile: readProfile('h100-qwen3-8b'),
    blockTokens: BLOCK_TOKENS,
    deviceTokens: 350_000,
    hostTokens: 0,
    routingLagUs: 1_000,
    eventLagUs: 5_000,
    kernel: { ...limits, policy: 'stator' },
  });
  const agents: Outcome[] = [];
  const batch: Outcome[] = [];
  const random = new Prng(seed);
  for (let i = 0; i < 8; i++)
    live(fleet, random.fork(`agent ${i}`), { id: i, note: (o) => agents.push(o) });
  fleet.at(BEGIN_US, () => runBatch(fleet, requests, (outcome) => batch.push(outcome)));
  fleet.run(240_000_000);
  fleet.check();
  return { agents, batch };
}

/** An agent whose context grows, and that begins anew when it is long. */
function live(fleet: Fleet, random: Prng, given: { id: number; note: (outcome: Outcome) => void }) {
  const blocksMax = 1_000;
  let base = fleet.space.open(blocksMax);
  let blocks = 200;
  let session = 0;
  const ask = () => {
    if (blocks + 40 > blocksMax) {
      base = fleet.space.open(blocksMax);
      blocks = 200;
      session++;
    }
    const path = Int32Array.from({ length: blocks }, (_, i) => base + i);
    const outputTokens = 40 + random.below(300);
    const thread = `${given.id}/${session}`;
    const promptTokens = blocks * BLOCK_TOKENS + 10;
    fleet.arrive({ thread, session: thread, path, promptTokens, outputTokens }, (outcome) => {
      given.note(outcome);
      blocks += 5 + random.below(30);
      fleet.at(fleet.nowUs + 1_000_000 + random.below(15_000_000), ask);
    });
  };
  fleet.at(random.below(10_000_000), ask);
}

/** As a batch is run: in the order of its prefixes, so many at once. */
function runBatch(fleet: Fleet, requests: number, note: (outcome: Outcome) => void): void {
  const { prefixes, prefixBlocks, suffixBlocks, outputTokens } = BATCH;
  const bases = Array.from({ length: prefixes }, () => fleet.space.open(prefixBlocks));
  let next = 0;
  const ask = () => {
    if (next >= requests) return;
    const base = bases[Math.floor((next++ * prefixes) / requests)];
    const own = fleet.space.open(suffixBlocks);
    const path = Int32Array.from({ length: prefixBlocks + suffixBlocks }, (_, i) =>
      i < prefixBlocks ? base + i : own + i - prefixBlocks,
    );
    const promptTokens = path.length * BLOCK_TOKENS + 1;
    fleet.arrive(
      { thread: undefined, whenIdle: true, path, promptTokens, outputTokens },
      (outcome) => {
        if (!outcome.rejected) note(outcome);
        ask();
      },
    );
  };
  for (let i = 0; i < IN_FLIGHT; i++) ask();
}

const ttftUs = ({ firstUs, arrivedUs }: Outcome) => firstUs - arrivedUs;

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
