/** More work than there is room for, some of it tagged as more important. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../base/prng.ts';
import { Config } from '../model/config.ts';
import { Fleet, type Outcome } from './fleet.ts';
import { readProfile } from './profile.ts';

const BLOCK_TOKENS = 64;
const AGENTS = 96;
const TAGGED = 12;
const UNTIL_US = 200_000_000;

test('the first tokens of a tagged class come much sooner, and as much is done in all', () => {
  const [plain, tagged] = [0, 1].map((priority) => play(priority));
  const [before, after] = [plain, tagged].map((run) => median(run.tagged));
  assert.ok(before > 2_000_000, `an overload makes them wait: ${before} µs`);
  assert.ok(after <= 0.4 * before, `median TTFT of ${after} µs, ${before} without a tag`);
  assert.ok(tagged.served >= 0.95 * plain.served, `${tagged.served} served of ${plain.served}`);
});

function play(priority: number): { tagged: number[]; served: number } {
  const { limits } = Config.parse({});
  const random = new Prng(3);
  const fleet = new Fleet({
    seed: 3,
    world: 'private',
    workers: 2,
    profile: { ...readProfile('h100-qwen3-8b'), sequencesMax: 8 },
    blockTokens: BLOCK_TOKENS,
    deviceTokens: 2_000_000,
    hostTokens: 0,
    routingLagUs: 1_000,
    eventLagUs: 5_000,
    kernel: { ...limits, policy: 'stator', requestsPerSlotMax: 1 },
  });
  const tagged: number[] = [];
  let served = 0;
  for (let i = 0; i < AGENTS; i++) {
    const own = i < TAGGED ? priority : 0;
    live(fleet, random.fork(`agent ${i}`), {
      thread: `agent ${i}`,
      priority: own,
      note: ({ rejected, firstUs, arrivedUs }) => {
        if (rejected) return;
        served++;
        if (i < TAGGED) tagged.push(firstUs - arrivedUs);
      },
    });
  }
  fleet.run(UNTIL_US);
  fleet.check();
  return { tagged, served };
}

function live(
  fleet: Fleet,
  random: Prng,
  { note, ...asked }: { thread: string; priority: number; note: (outcome: Outcome) => void },
): void {
  const base = fleet.space.open(400);
  let blocks = 50;
  const ask = () => {
    blocks = blocks > 300 ? 50 : blocks + 5 + random.below(30);
    const path = Int32Array.from({ length: blocks }, (_, i) => base + i);
    const promptTokens = blocks * BLOCK_TOKENS + 1;
    fleet.arrive(
      { ...asked, path, promptTokens, outputTokens: 50 + random.below(300) },
      (outcome) => {
        note(outcome);
        fleet.at(fleet.nowUs + 200_000 + random.below(1_000_000), ask);
      },
    );
  };
  fleet.at(random.below(1_000_000), ask);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
