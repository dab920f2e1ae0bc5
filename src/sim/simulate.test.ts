import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Prng } from '../base/prng.ts';
import { POLICY_NAMES } from '../kernel/route/policies.ts';
import { Config } from '../model/config.ts';
import { readTrace } from '../traces/read-trace.ts';
import { pathOf, type Trace } from '../traces/trace.ts';
import { TraceBuilder } from '../traces/trace-builder.ts';
import { Demand } from './demand.ts';
import { Fleet, type FleetOptions, type Outcome } from './fleet.ts';
import { Playbook } from './playbook.ts';
import { readProfile } from './profile.ts';
import { type Simulation, simulate, WORLD_NAMES } from './simulate.ts';

const BLOCK_TOKENS = 64;
const SAMPLES = new URL('../../test/fixtures/traces/', import.meta.url);

test('the same seed gives the same report, byte for byte, under every policy and in every world', () => {
  const policies = [...POLICY_NAMES, ...WORLD_NAMES];
  const once = JSON.stringify(simulate(simulationOf(policies, [1, 2]), () => {}));
  assert.equal(JSON.stringify(simulate(simulationOf(policies, [1, 2]), () => {})), once);
  const other = JSON.stringify(simulate(simulationOf(policies, [3, 4]), () => {}));
  assert.notEqual(other, once);
});

test('whatever the policy, every prompt is answered once and all books balance', () => {
  for (const policy of POLICY_NAMES) {
    const { fleet, outcomes } = playThrough({ policy });
    const turns = agents(7).turnCount;
    assert.equal(outcomes.length, turns, policy);
    for (const one of outcomes) {
      assert.ok(!one.rejected, policy);
      assert.ok(one.arrivedUs < one.firstUs && one.firstUs <= one.endedUs, policy);
      assert.ok(one.cachedTokens < one.promptTokens, policy);
    }
    fleet.check();
  }
});

test('one worker that forgets nothing reports the ideal hit ratio of the trace', () => {
  const { outcomes } = playThrough({ workers: 1, deviceTokens: 50_000_000 });
  assert.equal(cachedOf(outcomes), idealCachedTokens(agents(7)));
});

test('so it does, to a tenth of a point, on the samples of real traffic', async () => {
  for (const [name, least] of [
    ['claude-code-weka-60/traces.compact.jsonl.gz', 0.9],
    ['mooncake-conversation-10min/conversation_trace_first600s.jsonl.gz', 0.2],
  ] as const) {
    const read = await readTrace(fileURLToPath(new URL(name, SAMPLES)));
    // Sessions without a common clock begin together.
    const trace = { ...read, about: { ...read.about, clock: 'trace' as const } };
    const { blockTokens } = trace;
    // Slowly, so that nobody comes while what he shares is being computed.
    const load = { kind: 'open' as const, speedup: 0.01 };
    const { outcomes } = playThrough({ trace, load, blockTokens, workers: 1, deviceTokens: 1e9 });
    const prompts = outcomes.reduce((sum, { promptTokens }) => sum + promptTokens, 0);
    const ideal = idealCachedTokens(trace) / prompts;
    assert.equal(outcomes.length, trace.turnCount);
    assert.ok(ideal > least, `${name}: ${ideal}`);
    assert.ok(Math.abs(cachedOf(outcomes) / prompts - ideal) < 0.001, name);
  }
});

test('a host tier finds more again than the device alone, the oracle most, no reuse nothing', () => {
  const small = { deviceTokens: 20_000, policy: 'random' };
  const device = cachedOf(playThrough({ ...small, hostTokens: 0 }).outcomes);
  const both = cachedOf(playThrough({ ...small, hostTokens: 15_000 }).outcomes);
  const oracle = cachedOf(playThrough({ ...small, hostTokens: 15_000, world: 'shared' }).outcomes);
  assert.ok(device < both, `${device} and ${both}`);
  assert.ok(both < oracle, `${both} and ${oracle}`);
  assert.equal(cachedOf(playThrough({ ...small, world: 'none' }).outcomes), 0);
});

test('with a worker for prompts only, long new ones are computed there and tails where they belong', () => {
  const limits = { ...Config.parse({}).limits, policy: 'stator', kvMovesMax: 0 };
  const kernel = { ...limits, inStages: true };
  const load = { kind: 'open' as const, speedup: 4000 };
  const { fleet, outcomes } = playThrough({ prefillWorkers: 1, kernel, load });
  fleet.check();
  assert.equal(outcomes.length, agents(7).turnCount);
  const apart = outcomes.filter(({ prefilledOn }) => prefilledOn !== undefined);
  const whole = outcomes.filter(({ prefilledOn }) => prefilledOn === undefined);
  assert.ok(apart.length > 10 && whole.length > 10, `${apart.length} and ${whole.length}`);
  for (const { prefilledOn, worker } of apart) assert.ok(prefilledOn === 2 && (worker ?? 2) < 2);
  for (const { worker } of whole) assert.ok((worker ?? 2) < 2);
  assert.ok(meanUncached(apart) > meanUncached(whole));
  const tooMany = { ...simulationOf(['disaggregated'], [1]), prefillWorkers: 3 };
  assert.throws(() => simulate(tooMany, () => {}), /Of 3 workers 3/);
});

test('a prompt that no device holds is refused at once, and its session goes on', () => {
  const { outcomes } = playThrough({ deviceTokens: 12_000, hostTokens: 0 });
  const refused = outcomes.filter(({ rejected }) => rejected);
  assert.ok(refused.length > 0 && refused.length < outcomes.length);
  assert.equal(outcomes.length, agents(7).turnCount);
  for (const one of refused) assert.ok(one.promptTokens + one.outputTokens > 11_900);
});

test('requests offered at a rate come at that rate', () => {
  const report = simulate(
    { ...simulationOf(['least-requests'], [1, 2, 3]), load: { kind: 'rate', requestsPerS: 1 } },
    () => {},
  );
  const { requestsPerS } = report.policies[0];
  assert.ok(requestsPerS > 0.7 && requestsPerS < 1.3, String(requestsPerS));
});

test('recorded arrivals need a common clock', () => {
  const load = { kind: 'open' as const, speedup: 2 };
  assert.throws(
    () => simulate({ ...simulationOf(['random'], [1]), load }, () => {}),
    /no common clock/,
  );
});

test('coarse stamps of an open loop are spread up to the next one', () => {
  const trace = { ...agents(7, 'trace') };
  const { outcomes } = playThrough({ trace, load: { kind: 'open', speedup: 1 } });
  const begins = new Set(outcomes.map(({ arrivedUs }) => arrivedUs));
  assert.equal(outcomes.length, trace.turnCount);
  assert.ok(begins.size > trace.sessionCount, 'no two sessions begin at once');
});

/** A part of a run of one policy: all sessions once, from their first turn. */
function playThrough(
  given: Partial<FleetOptions> & {
    policy?: string;
    trace?: Trace;
    load?: { kind: 'open'; speedup: number };
  },
): { fleet: Fleet; outcomes: Outcome[] } {
  const { policy = 'sticky', load = { kind: 'open', speedup: 1 }, ...options } = given;
  const trace = given.trace ?? agents(7, 'trace');
  const profile = readProfile('h100-qwen3-8b');
  const fleet = new Fleet({
    seed: 1,
    world: 'private',
    workers: 3,
    profile,
    blockTokens: BLOCK_TOKENS,
    deviceTokens: 60_000,
    hostTokens: 100_000,
    routingLagUs: 1000,
    eventLagUs: 2000,
    kernel: { ...Config.parse({}).limits, policy },
    ...options,
  });
  const outcomes: Outcome[] = [];
  const endUs = 1e12;
  const demand = new Demand({
    fleet,
    playbook: new Playbook(trace, { contextTokensMax: 1e6, turnsMin: 1 }),
    profile,
    rng: new Prng(1),
    load,
    endUs,
    note: (outcome) => outcomes.push(outcome),
    over: () => {},
  });
  demand.begin();
  fleet.run(endUs);
  return { fleet, outcomes };
}

function simulationOf(policies: readonly string[], seeds: readonly number[]): Simulation {
  return {
    trace: agents(7),
    traceName: 'agents',
    policies,
    seeds,
    workers: 3,
    load: { kind: 'closed', sessions: 6, thinkUsMax: 3_000_000 },
    contextTokensMax: 128_000,
    turnsMin: 1,
    profile: readProfile('h100-qwen3-8b'),
    deviceTokens: 60_000,
    hostTokens: 100_000,
    routingLagUs: 1000,
    eventLagUs: 2000,
    slo: { ttftMs: 5000, itlMs: 100 },
    warmupS: 10,
    durationS: 90,
    kernel: Config.parse({}).limits,
  };
}

const cachedOf = (outcomes: readonly Outcome[]) =>
  outcomes.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0);

const meanUncached = (outcomes: readonly Outcome[]) =>
  outcomes.reduce((sum, one) => sum + one.promptTokens - one.cachedTokens, 0) / outcomes.length;

/** Independent of caches: the leading full blocks of each prompt that any earlier prompt had. */
function idealCachedTokens(trace: Trace): number {
  const { blockTokens } = trace;
  const seen = new Set<number>();
  let tokens = 0;
  const path = new Uint32Array(10_000);
  for (let turn = 0; turn < trace.turnCount; turn++) {
    const depth = pathOf(trace.tree, trace.leaf[turn], path);
    const full = Math.min(depth, Math.floor(trace.promptTokens[turn] / blockTokens));
    const usable = Math.floor((trace.promptTokens[turn] - 1) / blockTokens);
    let hit = 0;
    while (hit < Math.min(full, usable) && seen.has(path[hit])) hit++;
    tokens += hit * blockTokens;
    for (let i = 0; i < full; i++) seen.add(path[i]);
  }
  return tokens;
}

/** Sessions with a common beginning, whose histories grow. */
function agents(seed: number, clock: 'trace' | 'session' = 'session'): Trace {
  const rng = new Prng(seed);
  const builder = new TraceBuilder();
  const scope = builder.scope();
  for (let session = 0; session < 12; session++) {
    const thread = builder.thread(builder.session(`s${session}`), 'main');
    const ids = Array.from({ length: 20 }, (_, i) => `system ${i}`);
    let before: number | undefined;
    // Nobody shares anything with somebody who begins while it is computed: four sessions at a time.
    const startMs = Math.floor(session / 4) * 4e6;
    for (let i = 0; i < 4 + rng.below(6); i++) {
      for (let n = 10 + rng.below(40); n > 0; n--) ids.push(`${session} ${ids.length}`);
      const turn = builder.turn({
        thread,
        promptTokens: ids.length * BLOCK_TOKENS + rng.below(BLOCK_TOKENS),
        outputTokens: 1 + rng.below(300),
        startMs,
        serviceMs: 0,
        model: 'm',
        leaf: scope.path(ids),
      });
      const wait = {
        relation: 'sequence',
        trigger: 'completion',
        delayMs: rng.below(5000),
      } as const;
      if (before !== undefined) builder.wait({ turn, on: before, ...wait });
      before = turn;
    }
  }
  const malformed = { count: 0, first: [] };
  return builder.build({ format: 'test', clock, notes: [], malformed }, BLOCK_TOKENS);
}
