import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { WorkerId } from '../../model/ids.ts';
import type { Candidate } from '../../model/kernel-io.ts';
import { blankCandidate } from './candidate.ts';
import { type Asked, type Held, type Place, Pricing } from './cost.ts';
import { Curve } from './curve.ts';

test('terms are whole microseconds that add up, none but exploring below nothing', () => {
  const count = fc.integer({ min: 0, max: 20 });
  const tokens = fc.integer({ min: 0, max: 20_000 });
  const given = fc.record({
    ...{ promptTokens: tokens, outputTokens: tokens, serviceUs: tokens, gapUs: tokens },
    ...{ requests: count, threads: count, liveTokens: tokens, prefillUs: tokens },
    device: fc.double({ min: 0, max: 1, noNaN: true }),
    tiers: fc.tuple(count, count),
    caution: fc.constantFrom(0, 1),
  });
  fc.assert(
    fc.property(given, (one) => {
      const promptTokens = one.promptTokens + 100;
      const device = Math.floor(one.device * (promptTokens - 50));
      const host = Math.min(promptTokens - 1, device + one.tiers[0]);
      const disk = Math.min(promptTokens - 1, host + one.tiers[1]);
      const place = placeOf({
        requests: one.requests,
        decoding: Math.min(one.requests, one.threads),
        prefillUs: one.prefillUs,
        threads: one.threads,
        running: Math.min(one.requests, one.threads),
        tokens: one.liveTokens,
      });
      const { serviceUs, gapUs } = one;
      const asked = { ...ASKED, promptTokens, outputTokens: one.outputTokens };
      const candidate = priced(
        { ...asked, pace: { serviceUs, gapUs }, caution: one.caution },
        place,
        { device, host, disk },
      );
      const { explore, ...others } = candidate.terms;
      const sum = Object.values(others).reduce((total, term) => total + term, explore);
      assert.equal(sum, candidate.totalUs);
      for (const term of Object.values(others)) assert.ok(Number.isInteger(term) && term >= 0);
      assert.ok(Number.isInteger(explore) && explore <= 0);
      assert.ok(candidate.matchedTokens >= device && candidate.matchedTokens <= disk);
    }),
    { numRuns: 500 },
  );
});

test('cached tokens in a lower tier are fetched where that is quicker, and computed where not', () => {
  const held = { device: 1000, host: 5000, disk: 9000 };
  const asked = { ...ASKED, promptTokens: 10_000 };
  const quick = priced(asked, placeOf({}), held);
  assert.deepEqual(tiersOf(quick), { matched: 9000, host: 4000, disk: 4000 });
  const place = placeOf({});
  // Disk turns out to take longer than computing.
  for (let i = 0; i < 200; i++) {
    const uncachedTokens = 500 + 20 * i;
    const work = { uncachedTokens, contextTokens: 10_000, hostTokens: 0, decoding: 0 };
    const diskTokens = i % 2 === 0 ? 0 : 4000;
    place.curve.sawPrefill({ ...work, diskTokens }, 110 * uncachedTokens + 200 * diskTokens);
  }
  assert.deepEqual(tiersOf(priced(asked, place, held)), { matched: 5000, host: 4000, disk: 0 });
});

test('threads that think count by how much of their time they run; those that run now, more', () => {
  const asked = { ...ASKED, pace: { serviceUs: 1_000_000, gapUs: 9_000_000 } };
  const delay = (load: Partial<Busy>) => priced(asked, placeOf(load), NOTHING).terms.delay;
  const nobody = delay({});
  const thinking = delay({ threads: 4 });
  const running = delay({ threads: 4, requests: 4, running: 4, decoding: 4 });
  assert.equal(nobody, 0);
  assert.ok(thinking > nobody && thinking < running, `${thinking} of ${running}`);
});

test('a thread’s own seat is not held against it at home', () => {
  const place = placeOf({ threads: 1, tokens: 9000 });
  const home = { worker: place.worker.id, tokens: 9000, runs: false };
  const at = (seat: Asked['seat']) => priced({ ...ASKED, seat }, place, NOTHING);
  assert.equal(at(home).liveTokens, 0);
  assert.equal(at(home).terms.crowding, 0);
  assert.ok(at(undefined).terms.crowding > 0, 'somebody else is crowded out');
});

test('who shares a worker that is too small for all pays for it, also where its KV lies there', () => {
  const place = placeOf({ threads: 2, tokens: 12_000 });
  const cached = { device: 4900, host: 4900, disk: 4900 };
  const there = priced({ ...ASKED, promptTokens: 5000 }, place, cached);
  const roomy = priced({ ...ASKED, promptTokens: 5000 }, placeOf({ threads: 2 }), cached);
  assert.equal(roomy.terms.crowding, 0);
  assert.ok(there.terms.crowding > there.terms.prefill, 'what does not fit goes round each turn');
});

const NOTHING: Held = { device: 0, host: 0, disk: 0 };

const ASKED: Asked = {
  nowUs: 0,
  promptTokens: 5000,
  usableTokens: 4992,
  outputTokens: 200,
  seat: undefined,
  pace: { serviceUs: 0, gapUs: 0 },
  prefillUsMean: 10_000,
  caution: 1,
};

interface Busy {
  requests: number;
  decoding: number;
  prefillUs: number;
  threads: number;
  running: number;
  tokens: number;
}

function placeOf(given: Partial<Busy>): Place {
  const { requests = 0, decoding = 0, prefillUs = 0, threads = 0, running = 0, tokens = 0 } = given;
  const worker = {
    id: 'a' as WorkerId,
    models: ['m'],
    blockTokens: 16,
    contextTokens: 32_768,
    slots: 4,
    requestsMax: 64,
    cacheTokens: 12_000,
    hasEvents: true,
    prefill: { perTokenUs: 100, perTokenContextUs: 0.004 },
    decode: { stepUs: 5000, perSequenceUs: 300 },
  };
  return {
    worker,
    load: { requests, decoding, prefillUsLeft: () => prefillUs, outputTokens: () => 0 },
    live: { tokens, threads, running },
    curve: new Curve(worker),
  };
}

function priced(asked: Asked, place: Place, held: Held): Candidate {
  const candidate = blankCandidate(place.worker.id);
  new Pricing(asked).write(place, held, candidate);
  return candidate;
}

function tiersOf({ matchedTokens, hostTokens, diskTokens }: Candidate) {
  return { matched: matchedTokens, host: hostTokens, disk: diskTokens };
}
