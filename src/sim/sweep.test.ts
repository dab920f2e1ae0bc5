import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Config } from '../model/config.ts';
import { generateSessions } from '../traces/generate/coding-agents.ts';
import { LIVE_CODING_AGENTS } from '../traces/generate/settings.ts';
import { readProfile } from './profile.ts';
import { type Simulation, simulate } from './simulate.ts';
import { answerOf, parseAxis, type SweepPoint, sweep } from './sweep.ts';

const SLO = { ttftMs: 500, itlMs: Number.MAX_SAFE_INTEGER };

test('the same sweep gives the same report, byte for byte, with the same traffic at every point', () => {
  const axes = ['workers=1..3', 'host-tokens=20000,0'].map(parseAxis);
  const once = sweep({ simulation: simulation(), axes, attain: 0.95 }, () => {});
  const again = sweep({ simulation: simulation(), axes, attain: 0.95 }, () => {});
  assert.equal(JSON.stringify(again), JSON.stringify(once));
  assert.deepEqual(
    once.points.map(({ at }) => [at.workers, at['host-tokens']]),
    [1, 2, 3].flatMap((workers) => [
      [workers, 0],
      [workers, 20_000],
    ]),
  );
  // Sessions alive do not grow with the fleet, so a larger one is no busier.
  const [one, , , , three] = once.points;
  assert.ok(three.attained >= one.attained, `${three.attained} and ${one.attained}`);
  assert.ok(three.ttftMs.p50 <= one.ttftMs.p50);
  assert.equal(once.settings['sessions alive'], 12);
  assert.ok(!('workers' in once.settings), 'what differs between points is no setting of all');
});

test('the longer KV is kept, the more is found again; longer than the run is as good as for ever', () => {
  const [tool] = LIVE_CODING_AGENTS.tools;
  const slow = { ...tool, seconds: { kind: 'fixed', value: 2 } } as const;
  const roomy: Simulation = {
    ...simulation(),
    trace: generateSessions({ ...LIVE_CODING_AGENTS, sessions: 20, tools: [slow] }, 5),
    load: { kind: 'closed', sessions: 12, thinkUsMax: 3e6 },
    hostTokens: 2_000_000,
  };
  const axes = ['ttl-s=1,1000'].map(parseAxis);
  const { points } = sweep({ simulation: roomy, axes, attain: 0.95 }, () => {});
  const [short, ever] = points.map(({ hitRatio }) => hitRatio);
  assert.ok(short < ever, `${short}, ${ever}`);
  assert.equal(simulate(roomy, () => {}).policies[0].hitRatio, ever);
});

test('axes are read as ranges and as lists; anything else is refused in a sentence', () => {
  assert.deepEqual(parseAxis('workers=2..4'), { name: 'workers', values: [2, 3, 4] });
  assert.deepEqual(parseAxis('rate=2,0.5,2').values, [0.5, 2]);
  for (const wrong of [
    'workers',
    'workers=',
    'workers=0',
    'workers=1.5',
    'workers=4..2',
    'rate=x',
  ]) {
    assert.throws(() => parseAxis(wrong), RangeError, wrong);
  }
  for (const wrong of ['cores=1', 'constructor=1', 'host-tokens=-1', 'live=1,,2', 'rate=0']) {
    assert.throws(() => parseAxis(wrong), RangeError, wrong);
  }
  const twice = ['workers=1', 'workers=2'].map(parseAxis);
  const given = { simulation: simulation(), axes: twice, attain: 0.95 };
  assert.throws(() => sweep(given, () => {}), /once/);
  const many = ['workers=1..30', 'host-tokens=0,1,2,3,4,5,6,7,8,9,10,11,12,13'].map(parseAxis);
  assert.throws(
    () => sweep({ ...given, axes: many }, () => {}),
    /400 points at most; these are 420/,
  );
});

test('the answer is the least that is bought, and the least of the next axis with it', () => {
  const axes = ['workers=2..4', 'host-tokens=0,100'].map(parseAxis);
  const points = pointsOf({
    '2,0': 0.5,
    '2,100': 0.94,
    '3,0': 0.94,
    '3,100': 0.951,
    '4,0': 0.99,
    '4,100': 1,
  });
  assert.deepEqual(answerOf(points, { axes, attain: 0.95, slo: SLO }), [
    'The least of what was tried that keeps 95 % of the requests within TTFT 500 ms is 3 workers with 100 host tokens a worker, with 95.1 %.',
  ]);
  const [edge] = answerOf(points, { axes, attain: 0.5, slo: SLO });
  assert.match(edge, /2 workers with 0 host tokens.*\(less was not tried\)\.$/);
  const [none] = answerOf(points.slice(0, 4), { axes, attain: 0.999, slo: SLO });
  assert.match(none, /^Nothing that was tried keeps 99\.9 %.*nearest is 3 workers with 100/);
});

test('of what is borne the answer is the most; as a later axis each load has its own answer', () => {
  const at = (workers: number, rate: number, attained: number): SweepPoint => ({
    ...POINT,
    at: { workers, rate },
    attained,
  });
  const points = [at(1, 1, 0.99), at(1, 2, 0.2), at(2, 1, 1), at(2, 2, 0.97)];
  const given = { attain: 0.95, slo: SLO };
  const byLoad = answerOf(points, { ...given, axes: ['workers=1,2', 'rate=1,2'].map(parseAxis) });
  assert.equal(byLoad.length, 2);
  assert.match(byLoad[0], /^At 1 requests\/s, the least.* is 1 worker, /);
  assert.match(byLoad[1], /^At 2 requests\/s, the least.* is 2 workers, with 97 %\.$/);
  const [most] = answerOf(points, { ...given, axes: ['rate=1,2', 'workers=1,2'].map(parseAxis) });
  assert.match(
    most,
    /^The most.* is 2 requests\/s with 2 workers, with 97 % \(more was not tried\)/,
  );
});

const POINT = {
  requestsPerS: 1,
  hitRatio: 0.5,
  ttftMs: { p50: 1, p99: 1 },
  itlMs: { p50: 1, p99: 1 },
};

function pointsOf(attained: Record<string, number>): SweepPoint[] {
  return Object.entries(attained).map(([place, share]) => {
    const [workers, hostTokens] = place.split(',').map(Number);
    return { ...POINT, at: { workers, 'host-tokens': hostTokens }, attained: share };
  });
}

function simulation(): Simulation {
  return {
    trace: generateSessions({ ...LIVE_CODING_AGENTS, sessions: 20 }, 5),
    traceName: 'agents',
    policies: ['stator'],
    seeds: [1],
    workers: 2,
    load: { kind: 'closed', sessions: 12, thinkUsMax: 1e6 },
    contextTokensMax: 100_000,
    turnsMin: 3,
    profile: readProfile('h100-qwen3-32b-fp8'),
    deviceTokens: 60_000,
    hostTokens: 0,
    routingLagUs: 1000,
    eventLagUs: 2000,
    slo: SLO,
    warmupS: 10,
    durationS: 30,
    kernel: Config.parse({}).limits,
  };
}
