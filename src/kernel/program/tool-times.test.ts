import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../../base/prng.ts';
import type { TenantId } from '../../model/ids.ts';
import { BUCKETS, bucketOf, edgeUs } from './gap-curve.ts';
import { ageAt, bestHolding, oddsWithin } from './return-odds.ts';
import { oddsOf } from './tool-priors.ts';
import { type Away, type Gap, ToolTimes } from './tool-times.ts';

const S = 1_000_000;
const ALICE = 'alice' as TenantId;
const BOB = 'bob' as TenantId;

test('odds are those of a plain list of gaps, however begins, ends and losses mix', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const rng = new Prng(seed);
      const times = new ToolTimes({ curvesMax: 8 });
      const twin = new Twin();
      const open: { gap: Gap; seen: Seen }[] = [];
      let nowUs = 0;
      for (let i = 0; i < 200; i++) {
        // From within a bucket to hours: gaps that nobody looks at grow as well.
        nowUs += Math.round(10 ** (rng.next() * 8));
        const at = rng.below(Math.max(1, open.length));
        if (open.length > 0 && rng.below(2) === 0) {
          const [{ gap, seen }] = open.splice(at, 1);
          seen.lastedUs = nowUs - seen.begunUs;
          seen.returned = rng.below(4) > 0;
          if (seen.returned) times.ends(nowUs, gap);
          else times.letGo(nowUs, gap);
        } else {
          const seen: Seen = { begunUs: nowUs, lastedUs: undefined, returned: false };
          twin.seen.push(seen);
          open.push({ gap: times.begins(nowUs, { kind: 'children' }), seen });
        }
      }
      const odds = times.usual('children');
      const prior = oddsOf({ medianS: 60, neverShare: 0.02 });
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        const { reached, returned } = twin.at(bucket, nowUs);
        const expected = (returned + 2 * prior[bucket]) / (reached + 2);
        assert.ok(Math.abs(odds[bucket] - expected) < 1e-12, `bucket ${bucket}`);
      }
    }),
    { numRuns: 60 },
  );
});

test('a bucket holds the ages from its edge up to the next one', () => {
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    assert.equal(bucketOf(edgeUs(bucket)), bucket);
    if (bucket > 0) assert.equal(bucketOf(edgeUs(bucket) - 1), bucket - 1);
  }
  assert.equal(bucketOf(Number.MAX_SAFE_INTEGER), BUCKETS - 1);
});

test('what was seen of a tool is believed, of another tenant’s it is not', () => {
  const times = new ToolTimes({ curvesMax: 8 });
  const quick = { kind: 'tools', tenant: ALICE, tools: [{ tool: 'Compile' }] } as const;
  let nowUs = 0;
  for (let i = 0; i < 40; i++) {
    const gap = times.begins(nowUs, quick);
    times.ends((nowUs += S / 2), gap);
  }
  const within = (away: Away) => {
    const gap = times.begins(nowUs, away);
    const odds = oddsWithin(times.odds(nowUs, gap), 0, S);
    times.letGo(nowUs, gap);
    return odds;
  };
  assert.ok(within(quick) > 0.9, 'it always came back within a second');
  // Bob's tool of that name is nobody's yet: any tool's curve stands in for it, and no name is told.
  const bobs = { ...quick, tenant: BOB };
  const others = { ...quick, tenant: BOB, tools: [{ tool: 'Never heard of' }] };
  assert.ok(Math.abs(within(bobs) - within(others)) < 0.01);
  for (let i = 0; i < 40; i++) times.ends((nowUs += 60 * S), times.begins(nowUs - 60 * S, bobs));
  assert.ok(within(bobs) < 0.5 && within(quick) > 0.9, 'each has its own');
});

test('classes of arguments differ, and one that is new goes by its tool', () => {
  const times = new ToolTimes({ curvesMax: 16 });
  const bash = (argument: string): Away => ({
    kind: 'tools',
    tenant: ALICE,
    tools: [{ tool: 'Bash', argument }],
  });
  let nowUs = 0;
  for (let i = 0; i < 60; i++) {
    times.ends(nowUs + S, times.begins(nowUs, bash('ls')));
    nowUs += 200 * S;
    times.ends(nowUs, times.begins(nowUs - 120 * S, bash('npm test')));
  }
  const within10 = (argument: string) =>
    oddsWithin(times.odds(nowUs, times.begins(nowUs, bash(argument))), 0, 10 * S);
  assert.ok(within10('ls') > 0.9);
  assert.ok(within10('npm test') < 0.1);
  const unknown = within10('cargo build');
  assert.ok(unknown > 0.3 && unknown < 0.7, `half of all came back by then: ${unknown}`);
});

test('what a client says of its tools is learnt beside the gap', () => {
  const times = new ToolTimes({ curvesMax: 16 });
  const both = {
    kind: 'tools',
    tenant: ALICE,
    tools: [{ tool: 'Read' }, { tool: 'Bash' }],
  } as const;
  for (let i = 0; i < 40; i++) {
    const nowUs = i * 100 * S;
    const gap = times.begins(nowUs, both);
    assert.equal(gap.tool, 'Bash', 'the gap is laid to what takes longer as a rule');
    times.ends(nowUs + 30 * S, gap, [
      { tool: 'Read', us: S / 10 },
      { tool: 'Bash', us: 29 * S },
    ]);
  }
  const nowUs = 1e12;
  const read = times.begins(nowUs, { ...both, tools: [{ tool: 'Read' }] });
  assert.ok(oddsWithin(times.odds(nowUs, read), 0, S) > 0.8);
});

test('habits change: what is long ago counts less', () => {
  const times = new ToolTimes({ curvesMax: 16 });
  let nowUs = 0;
  const see = (us: number, count: number) => {
    for (let i = 0; i < count; i++) {
      times.ends(nowUs + us, times.begins(nowUs, { kind: 'person' }));
      nowUs += us;
    }
  };
  see(S, 3000);
  assert.ok(oddsWithin(times.usual('person'), 0, 2 * S) > 0.95);
  see(100 * S, 6000);
  assert.ok(oddsWithin(times.usual('person'), 0, 2 * S) < 0.2);
});

test('the best time to hold ends where waiting longer brings little', () => {
  const odds = new Float64Array(BUCKETS);
  // Half return about 10 s after they left, and the others never.
  odds[bucketOf(10 * S)] = 0.5;
  const early = bestHolding(odds, 0);
  assert.ok(early.untilUs > 9 * S && early.untilUs < 13 * S && early.odds === 0.5);
  // Just before, the same odds cost less time; after it there is nothing to wait for.
  assert.ok(bestHolding(odds, 9 * S).heldUs < early.heldUs / 3);
  assert.equal(bestHolding(odds, 20 * S).odds, 0);
  assert.ok(Math.abs(oddsWithin(odds, 0, 3600 * S) - 0.5) < 1e-9);
  assert.equal(ageAt(odds, 0, 0.6), undefined);
  const age = ageAt(odds, 0, 0.25) ?? 0;
  assert.ok(age > 9 * S && age < 13 * S);
});

interface Seen {
  begunUs: number;
  lastedUs: number | undefined;
  returned: boolean;
}

/** The dumb twin: every gap, as it was seen. */
class Twin {
  readonly seen: Seen[] = [];

  at(bucket: number, nowUs: number): { reached: number; returned: number } {
    let [reached, returned] = [0, 0];
    for (const one of this.seen) {
      const lasted = bucketOf(one.lastedUs ?? nowUs - one.begunUs);
      if (lasted >= bucket) reached++;
      if (one.returned && lasted === bucket) returned++;
    }
    return { reached, returned };
  }
}
