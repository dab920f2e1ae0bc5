import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import type { WorkerId } from '../../model/ids.ts';
import { blankCandidate } from './candidate.ts';
import { shortlist } from './shortlist.ts';

test('a receipt keeps the cheapest, the deepest matches and the chosen, whatever their order', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const rng = new Prng(seed);
    const surveyed = Array.from({ length: 20 + rng.below(300) }, (_, i) => ({
      candidate: {
        ...blankCandidate(`w${i}` as WorkerId),
        totalUs: rng.below(50),
        matchedTokens: rng.below(3) * rng.below(50),
      },
    }));
    const all = surveyed.map(({ candidate }) => candidate);
    const { worker: chosen } = rng.pick(all);
    const kept = shortlist(surveyed, chosen);
    assert.ok(kept.length <= 17 && kept.some(({ worker }) => worker === chosen));
    const dear = (n: number) => all.map(({ totalUs }) => totalUs).sort((a, b) => a - b)[n];
    const keptTotals = kept.map(({ totalUs }) => totalUs).sort((a, b) => a - b);
    for (let n = 0; n < 8; n++) assert.equal(keptTotals[n], dear(n));
    const deep = all.map((one) => one.matchedTokens).sort((a, b) => b - a);
    const keptDeep = kept.map((one) => one.matchedTokens).sort((a, b) => b - a);
    assert.deepEqual(keptDeep.slice(0, 8), deep.slice(0, 8));
    const order = kept.map(({ worker }) => Number(worker.slice(1)));
    assert.deepEqual(
      order,
      [...order].sort((a, b) => a - b),
    );
  }
});

test('what is kept is a copy: the next survey writes the same candidates anew', () => {
  const candidate = blankCandidate('a' as WorkerId);
  const [kept] = shortlist([{ candidate }], candidate.worker);
  candidate.terms.waiting = 7;
  candidate.totalUs = 7;
  assert.equal(kept.terms.waiting, 0);
  assert.equal(kept.totalUs, 0);
});
