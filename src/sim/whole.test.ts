import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../base/prng.ts';
import { POLICY_NAMES } from '../kernel/route/policies.ts';
import { Config } from '../model/config.ts';
import type { Tokens } from '../ports.ts';
import { IncrementalEncoder } from '../tokens/prompt-encoder.ts';
import { toyTokens } from '../tokens/toy-tokens.test.ts';
import { makeAgents } from './agents.ts';
import { simulateFast } from './fast.ts';
import type { SceneOptions } from './scene.ts';
import { simulateWhole } from './whole.ts';

const SEEDS = 40;

test(`${SEEDS} seeds: the synchronous simulator and the real shell decide the same`, async () => {
  const tokens = toyTokens();
  const sizes = { decisions: 0, queued: 0, seeds: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const options = optionsOf(seed, tokens);
    const fast = simulateFast(options);
    const whole = await simulateWhole(options);
    assert.deepEqual(whole.log.lines, fast.log.lines, `seed ${seed}`);
    assert.equal(whole.finished, fast.finished);
    const turns = options.agents.reduce((sum, agent) => sum + agent.turns.length, 0);
    assert.equal(fast.finished, turns, `seed ${seed}: every turn is answered`);
    sizes.decisions += fast.log.lines.length;
    sizes.queued += fast.log.lines.filter((line) => !line.includes(' queued 0 ')).length;
    sizes.seeds++;
  }
  assert.ok(sizes.decisions > 1000, `${sizes.decisions} decisions were compared`);
  assert.ok(sizes.queued > 50, `${sizes.queued} of them after a wait`);
});

test('so they do where a gate lets agents wait, wakes and all', async () => {
  const tokens = toyTokens();
  let queued = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const options = optionsOf(seed, tokens);
    // About two of the agents' contexts fit, and slots there are enough.
    Object.assign(options, { workers: 1, slots: 12, blocksMax: 40 });
    options.kernel.policy = ['stator', 'continuum'][seed % 2];
    const fast = simulateFast(options);
    const whole = await simulateWhole(options);
    assert.deepEqual(whole.log.lines, fast.log.lines, `seed ${seed}`);
    queued += fast.log.lines.filter((line) => !line.includes(' queued 0 ')).length;
  }
  assert.ok(queued > 50, `${queued} decisions after a wait`);
});

test('another seed decides otherwise', () => {
  const tokens = toyTokens();
  const a = simulateFast(optionsOf(1, tokens));
  const b = simulateFast(optionsOf(2, tokens));
  assert.notDeepEqual(a.log.lines, b.log.lines);
});

/** Each seed is another small fleet: sizes, pressure, lag and policy vary. */
function optionsOf(seed: number, tokens: Tokens): SceneOptions {
  const rng = new Prng(seed).fork('options');
  const { limits } = Config.parse({});
  const words = [...tokens.encode(' the other king')];
  return {
    seed,
    tokens,
    prompts: new IncrementalEncoder({
      tokens,
      elsewhere: undefined,
      settings: { bytesMax: 50_000, hereMax: 1_000 },
    }),
    agents: makeAgents(rng.fork('agents'), {
      agents: 4 + rng.below(12),
      families: 1 + rng.below(3),
      turnsMax: 6,
      systemWords: 20 + rng.below(80),
      turnWords: 30,
      startUs: 100_000,
      gapUsMax: 100_000,
      outputTokensMax: 40,
    }),
    workers: 1 + rng.below(3),
    slots: 1 + rng.below(3),
    contextTokens: 16_384,
    blocksMax: 20 + rng.below(200),
    waitingMax: 64,
    feedLagUs: rng.below(20_000),
    curve: {
      baseUs: 500 + rng.below(1000),
      perTokenUs: 37,
      perTokenContextUs: 0.05,
      perLooseContextUs: 0.11,
      perSequenceUs: 313,
      perContextUs: 0.07,
    },
    model: {
      seed,
      blockTokens: 16,
      words: Uint32Array.from(words),
      endToken: [...tokens.endTokens][0],
      turnToken: undefined,
      answerTokensMin: 5,
      answerTokensMax: 60,
    },
    kernel: {
      ...limits,
      policy: rng.pick(POLICY_NAMES),
      requestsPerSlotMax: 1 + rng.below(2),
    },
  };
}
