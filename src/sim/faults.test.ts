/** What users see when workers fail: the real shell over simulated engines, in virtual time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../base/prng.ts';
import { Config } from '../model/config.ts';
import { IncrementalEncoder } from '../tokens/prompt-encoder.ts';
import { toyTokens } from '../tokens/toy-tokens.test.ts';
import { makeAgents } from './agents.ts';
import type { Fault, Faults } from './faults.ts';
import type { SceneOptions } from './scene.ts';
import { simulateWhole, type WholeOutcome } from './whole.ts';

const S = 1_000_000;
const SEEDS = Number(process.env.STATOR_SEEDS ?? 2);
const CHECKS = { checkUs: 5 * S, recheckUs: S / 2 };
const TOKENS = toyTokens();

test(`${SEEDS} seeds of workers that die and hang: every answer is what it would have been`, async () => {
  let moved = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const rng = new Prng(seed).fork('faults');
    const options = sceneOf(seed, { workers: 2 + rng.below(3) });
    const quiet = await simulateWhole(withFaults(options, []));
    const list: Fault[] = Array.from({ length: 4 }, (_, i) => ({
      kind: rng.pick(['kill', 'kill', 'hang'] as const),
      atUs: ((i + 1) * S) / 2 + rng.below(S / 2),
      worker: rng.below(options.workers),
      us: S / 4 + rng.below(3 * S),
    }));
    const outcome = await simulateWhole(
      withFaults(sceneOf(seed, { workers: options.workers }), list),
    );
    assert.deepEqual(outcome.failures, [], `seed ${seed}`);
    assert.deepEqual(sorted(outcome), sorted(quiet), `seed ${seed}`);
    moved += outcome.log.lines.filter((line) => !line.includes(' attempt 1 ')).length;
  }
  assert.ok(moved > 0, `${moved} requests went on elsewhere`);
});

test('all workers gone for 30 s: clients wait, and are answered when one is back', async () => {
  const options = sceneOf(1, { workers: 3 });
  const quiet = await simulateWhole(withFaults(options, []));
  const gone = [0, 1, 2].map((worker): Fault => {
    return { kind: 'kill', atUs: 2 * S, worker, us: 30 * S + worker };
  });
  const outcome = await simulateWhole(withFaults(sceneOf(1, { workers: 3 }), gone));
  assert.deepEqual(outcome.failures, []);
  assert.deepEqual(sorted(outcome), sorted(quiet));
});

test('a worker that hangs with its connections open is left within seconds, not minutes', async () => {
  const options = sceneOf(2, { workers: 3 });
  const quiet = await simulateWhole(withFaults(options, []));
  const hang: Fault = { kind: 'hang', atUs: 2 * S, worker: 0, us: 3600 * S };
  const outcome = await simulateWhole(withFaults(sceneOf(2, { workers: 3 }), [hang]));
  assert.deepEqual(outcome.failures, []);
  assert.deepEqual(sorted(outcome), sorted(quiet));
  const lateUs = Math.max(...outcome.ttftUs) - Math.max(...quiet.ttftUs);
  assert.ok(lateUs < 25 * S, `nobody waited ${lateUs / S} s longer for a first token`);
});

test('one of eight ten times slower is set aside, named, and tried again', async () => {
  const options = sceneOf(3, { workers: 8, agents: 40 });
  const outcome = await simulateWhole(withFaults(options, [], { slow: { worker: 2, factor: 10 } }));
  assert.deepEqual(outcome.failures, []);
  const named = outcome.warnings.filter((sentence) => sentence.includes('times slower'));
  assert.ok(named.length > 0, 'a person is told');
  for (const sentence of outcome.warnings) assert.match(sentence, /^worker-3 is /);
});

test('a worker that reports what it does not hold is believed less, and answers the same', async () => {
  const options = sceneOf(4, { workers: 3, agents: 16 });
  const quiet = await simulateWhole(withFaults(options, []));
  for (const cachedTokens of [0, 1_000_000]) {
    const liar = {
      worker: 1,
      reported: (usage: object) => ({ ...usage, promptTokens: 1, outputTokens: 9, cachedTokens }),
    };
    const outcome = await simulateWhole(
      withFaults(sceneOf(4, { workers: 3, agents: 16 }), [], { liar }),
    );
    assert.deepEqual(outcome.failures, []);
    assert.deepEqual(sorted(outcome), sorted(quiet));
    const modes = new Map(outcome.state.workers.map(({ id, mode }) => [`${id}`, mode]));
    assert.notEqual(modes.get('worker-2'), 'exact', `cached ${cachedTokens}`);
    assert.equal(modes.get('worker-1'), 'exact');
  }
});

function sorted({ answers }: WholeOutcome): [string, string[]][] {
  return [...answers].sort(([a], [b]) => a.localeCompare(b));
}

function withFaults(
  options: SceneOptions,
  list: readonly Fault[],
  more: Partial<Faults> = {},
): SceneOptions {
  return { ...options, faults: { list, ...CHECKS, ...more } };
}

/** A few seconds of agents that mostly decode: what fails, fails in mid-answer. */
function sceneOf(seed: number, given: { workers: number; agents?: number }): SceneOptions {
  const agents = makeAgents(new Prng(seed).fork('agents'), {
    agents: given.agents ?? 10,
    families: 2,
    turnsMax: 3,
    systemWords: 60,
    turnWords: 20,
    startUs: 2 * S,
    gapUsMax: S,
    outputTokensMax: 40,
  });
  return {
    seed,
    tokens: TOKENS,
    prompts: new IncrementalEncoder({
      tokens: TOKENS,
      elsewhere: undefined,
      settings: { bytesMax: 50_000, hereMax: 1_000 },
    }),
    agents: agents.map((agent) => ({ ...agent, whenIdle: false })),
    workers: given.workers,
    slots: 4,
    contextTokens: 16_384,
    blocksMax: 400,
    waitingMax: 64,
    feedLagUs: 5_000,
    curve: {
      baseUs: 15_000,
      perTokenUs: 100,
      perTokenContextUs: 0.05,
      perLooseContextUs: 0.11,
      perSequenceUs: 500,
      perContextUs: 0.07,
    },
    model: {
      seed,
      blockTokens: 16,
      words: Uint32Array.from(TOKENS.encode(' the other king')),
      endToken: [...TOKENS.endTokens][0],
      turnToken: [...TOKENS.specials].find(([, text]) => text === '<|im_start|>')?.[0],
      answerTokensMin: 5,
      answerTokensMax: 60,
    },
    kernel: {
      ...Config.parse({}).limits,
      ...{ policy: 'stator', requestsPerSlotMax: 2, confidenceObservationsMin: 3 },
    },
  };
}
