/**
 * Capacity by search: the same traffic through one fleet after the other, all points of a grid, and which is the
 * least that keeps a share of the requests within the SLO (or the most load that a fleet bears).
 */
import { assert, must } from '../base/assert.ts';
import { thousands } from '../base/text.ts';
import type { Slo } from '../model/comparison.ts';
import { type Simulation, simulate } from './simulate.ts';

export interface Axis {
  name: AxisName;
  /** Ascending. */
  values: readonly number[];
}

export type AxisName = keyof typeof AXES;

export interface SweepPoint {
  at: Partial<Record<AxisName, number>>;
  /** Share of requests, refused ones too, that met the SLO. */
  attained: number;
  requestsPerS: number;
  hitRatio: number;
  ttftMs: { p50: number; p99: number };
  itlMs: { p50: number; p99: number };
}

export interface Sweep {
  trace: string;
  policy: string;
  profile: string;
  slo: Slo;
  attain: number;
  seeds: readonly number[];
  axes: readonly Axis[];
  /** Those of all points. */
  settings: Record<string, string | number | boolean>;
  points: SweepPoint[];
  /** Sentences; one unless several loads were tried. */
  answer: string[];
  notes: readonly string[];
}

interface AxisKind {
  /** Of what is bought the least is looked for, of what is borne the most. */
  is: 'bought' | 'borne';
  least: number;
  apply: (simulation: Simulation, value: number) => Simulation;
  say: (value: number) => string;
}

/** Axes by the name users give them. The traffic is the same whatever is bought. */
const AXES = {
  workers: {
    is: 'bought',
    least: 1,
    apply: (simulation, workers) => ({ ...simulation, workers }),
    say: (value) => (value === 1 ? '1 worker' : `${value} workers`),
  },
  'host-tokens': {
    is: 'bought',
    least: 0,
    apply: (simulation, hostTokens) => ({ ...simulation, hostTokens }),
    say: (value) => `${thousands(value)} host tokens a worker`,
  },
  'device-tokens': {
    is: 'bought',
    least: 1,
    apply: (simulation, deviceTokens) => ({ ...simulation, deviceTokens }),
    say: (value) => `${thousands(value)} device tokens a worker`,
  },
  'ttl-s': {
    is: 'bought',
    least: 1,
    apply: (simulation, seconds) => ({ ...simulation, ttlUs: seconds * 1e6 }),
    say: (value) => `KV kept unused for ${thousands(value)} s`,
  },
  live: {
    is: 'borne',
    least: 1,
    apply: (simulation, sessions) => {
      const { load } = simulation;
      if (load.kind !== 'closed') throw new RangeError('live=… is of a closed loop.');
      return { ...simulation, load: { ...load, sessions } };
    },
    say: (value) => `${thousands(value)} sessions alive`,
  },
  rate: {
    is: 'borne',
    least: 0.001,
    apply: (simulation, requestsPerS) => ({ ...simulation, load: { kind: 'rate', requestsPerS } }),
    say: (value) => `${value} requests/s`,
  },
  speedup: {
    is: 'borne',
    least: 0.001,
    apply: (simulation, speedup) => ({ ...simulation, load: { kind: 'open', speedup } }),
    say: (value) => `${value} times the recorded speed`,
  },
} satisfies Record<string, AxisKind>;

const KINDS: Readonly<Record<AxisName, AxisKind>> = AXES;

const POINTS_MAX = 400;

/** `workers=1..8` or `host-tokens=0,350000`. Throws a RangeError, one sentence, where it is neither. */
export function parseAxis(text: string): Axis {
  const [, name = '', list = ''] = /^([a-z-]+)=(.+)$/.exec(text) ?? [];
  if (!Object.hasOwn(AXES, name)) {
    const known = Object.keys(AXES).join(', ');
    throw new RangeError(`'${text}' is no axis: write NAME=1..8 or NAME=1,2,4 of ${known}.`);
  }
  const [, from, to] = /^(\d+)\.\.(\d+)$/.exec(list) ?? [];
  const values =
    from === undefined
      ? list.split(',').map((one) => (one.trim() === '' ? Number.NaN : Number(one)))
      : Array.from(
          { length: Math.min(POINTS_MAX, Math.max(0, Number(to) - Number(from) + 1)) },
          (_, i) => Number(from) + i,
        );
  const kind = KINDS[name as AxisName];
  const isWhole = kind.is === 'bought' || name === 'live';
  const isWrong = (value: number) =>
    !Number.isFinite(value) || value < kind.least || (isWhole && !Number.isInteger(value));
  if (values.length === 0 || values.some(isWrong)) {
    throw new RangeError(
      `'${text}' needs ${isWhole ? 'whole ' : ''}numbers of at least ${kind.least}.`,
    );
  }
  return { name: name as AxisName, values: [...new Set(values)].sort((a, b) => a - b) };
}

/** `note` hears of each point. Throws a RangeError, one sentence, where it cannot be run. */
export function sweep(
  given: { simulation: Simulation; axes: readonly Axis[]; attain: number },
  note: (done: { points: number; pointCount: number }) => void,
): Sweep {
  const { simulation, axes, attain } = given;
  assert(simulation.policies.length === 1, 'a sweep is of one policy');
  if (new Set(axes.map(({ name }) => name)).size < axes.length) {
    throw new RangeError('Each axis can be given once.');
  }
  const grid = gridOf(axes);
  if (grid.length > POINTS_MAX) {
    throw new RangeError(`A sweep has ${POINTS_MAX} points at most; these are ${grid.length}.`);
  }
  let notes: readonly string[] = [];
  let settings: Sweep['settings'] | undefined;
  const points = grid.map((at, i): SweepPoint => {
    let here = simulation;
    for (const { name } of axes) here = KINDS[name].apply(here, valueAt(at, name));
    const report = simulate(here, () => {});
    const own = { workers: here.workers, ...report.settings };
    notes = report.notes;
    settings = settings === undefined ? own : whatIsEqual(settings, own);
    note({ points: i + 1, pointCount: grid.length });
    const [one] = report.policies;
    return {
      at,
      attained: one.requests === 0 ? 0 : (one.goodputPerS * one.wallS) / one.requests,
      requestsPerS: one.requestsPerS,
      hitRatio: one.hitRatio,
      ttftMs: { p50: one.ttftMs.p50, p99: one.ttftMs.p99 },
      itlMs: { p50: one.itlMs.p50, p99: one.itlMs.p99 },
    };
  });
  return {
    trace: simulation.traceName,
    policy: simulation.policies[0],
    profile: simulation.profile.name,
    slo: simulation.slo,
    attain,
    seeds: simulation.seeds,
    axes,
    settings: settings ?? {},
    points,
    answer: answerOf(points, { axes, attain, slo: simulation.slo }),
    notes: notes.filter((text) => !text.includes('between seeds')),
  };
}

function whatIsEqual(a: Sweep['settings'], b: Sweep['settings']): Sweep['settings'] {
  return Object.fromEntries(Object.entries(a).filter(([name, value]) => b[name] === value));
}

/** The first axis leads; of others that are borne each combination has an answer of its own. */
export function answerOf(
  points: readonly SweepPoint[],
  { axes, attain, slo }: Pick<Sweep, 'axes' | 'attain' | 'slo'>,
): string[] {
  const [first, ...others] = axes;
  const borne = others.filter(({ name }) => KINDS[name].is === 'borne');
  const wanted = [first, ...others.filter(({ name }) => KINDS[name].is === 'bought')];
  return gridOf(borne).map((load) => {
    const here = points.filter(({ at }) => borne.every(({ name }) => at[name] === load[name]));
    const found = bestOf(here, wanted, attain);
    const where = borne.map(({ name }) => `at ${KINDS[name].say(valueAt(load, name))}`).join(', ');
    const asked = `${percent(attain)} of the requests within ${sloText(slo)}`;
    const begin = (text: string) => {
      const whole = where === '' ? text : `${where}, ${text}`;
      return whole[0].toUpperCase() + whole.slice(1);
    };
    const say = ({ at }: SweepPoint) =>
      wanted.map(({ name }) => KINDS[name].say(valueAt(at, name))).join(' with ');
    if (found === undefined) {
      const most = here.reduce((a, b) => (b.attained > a.attained ? b : a));
      return begin(
        `nothing that was tried keeps ${asked}; nearest is ${say(most)}, with ${percent(most.attained)}.`,
      );
    }
    const isLeast = KINDS[first.name].is === 'bought';
    const edge = isLeast ? first.values[0] : must(first.values.at(-1), 'an axis has values');
    const isEdge = valueAt(found.at, first.name) === edge;
    const beyond = isEdge ? ` (${isLeast ? 'less' : 'more'} was not tried)` : '';
    const rank = isLeast ? 'the least' : 'the most';
    return begin(
      `${rank} of what was tried that keeps ${asked} is ${say(found)}, with ${percent(found.attained)}${beyond}.`,
    );
  });
}

/** Least of what is bought, most of what is borne, the first axis first. */
function bestOf(
  points: readonly SweepPoint[],
  wanted: readonly Axis[],
  attain: number,
): SweepPoint | undefined {
  const good = points.filter(({ attained }) => attained >= attain);
  const rank = (a: SweepPoint, b: SweepPoint) => {
    for (const { name } of wanted) {
      const difference = valueAt(a.at, name) - valueAt(b.at, name);
      if (difference !== 0) return KINDS[name].is === 'bought' ? difference : -difference;
    }
    return 0;
  };
  return good.sort(rank).at(0);
}

/** All combinations, the last axis fastest. */
function gridOf(axes: readonly Axis[]): SweepPoint['at'][] {
  let grid: SweepPoint['at'][] = [{}];
  for (const { name, values } of axes) {
    grid = grid.flatMap((at) => values.map((value) => ({ ...at, [name]: value })));
  }
  return grid;
}

export function valueAt(at: SweepPoint['at'], name: AxisName): number {
  return must(at[name], 'each point has a value on each axis');
}

export function sloText({ ttftMs, itlMs }: Slo): string {
  const limits = [
    ttftMs < Number.MAX_SAFE_INTEGER ? `TTFT ${ttftMs} ms` : '',
    itlMs < Number.MAX_SAFE_INTEGER ? `ITL ${itlMs} ms` : '',
  ].filter((text) => text !== '');
  return limits.length === 0 ? 'no limit' : limits.join(' and ');
}

function percent(share: number): string {
  return `${Number((share * 100).toFixed(1))} %`;
}
