import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RequestId, WorkerId } from '../model/ids.ts';
import { Underway } from './underway.ts';

const EVENTS_US = 5;

test('depths are those of a walk over every prompt that is computed, or was a moment ago', () => {
  // Chains over two letters, of which each hash is the letters up to it: many share a beginning.
  const letters = fc.array(fc.integer({ min: 0, max: 1 }), { maxLength: 8 });
  const kind = fc.constantFrom(
    'start',
    'start',
    'start',
    'computed',
    'dropped',
    'cleared',
    'removed',
  );
  const step = fc.record({ kind, request: fc.nat(9), worker: fc.nat(2), us: fc.nat(3), letters });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), letters, (steps, asked) => {
      const underway = new Underway({ comparedMax: 1000, eventsUsMax: EVENTS_US });
      const twin = new Twin();
      let nowUs = 0;
      for (const one of steps) {
        nowUs += one.us;
        const request = `r${one.request}` as RequestId;
        const worker = `w${one.worker}` as WorkerId;
        const isRunning = twin.running.has(request);
        if (one.kind === 'start' && !isRunning) {
          underway.started(request, worker, chain(one.letters));
          twin.running.set(request, { worker, hashes: chain(one.letters), untilUs: Infinity });
        } else if (one.kind === 'computed') {
          underway.computed(nowUs, request);
          twin.computed(nowUs, request);
        } else if (one.kind === 'dropped') {
          underway.dropped(request);
          twin.running.delete(request);
        } else if (one.kind === 'cleared') {
          underway.cleared(worker);
          twin.fading = twin.fading.filter((prompt) => prompt.worker !== worker);
        }
        if (one.kind === 'removed') {
          underway.removed(worker, chain(one.letters));
          twin.removed(worker, chain(one.letters));
        }
        assert.deepEqual(underway.depths(nowUs, chain(asked)), twin.depths(nowUs, chain(asked)));
        underway.check(twin.running.size);
      }
    }),
    { numRuns: 300 },
  );
});

test('no crowd of siblings makes one look-up compare more than it may: the newest count', () => {
  const underway = new Underway({ comparedMax: 3, eventsUsMax: EVENTS_US });
  for (let i = 0; i < 10; i++) {
    underway.started(`r${i}` as RequestId, `w${i}` as WorkerId, chain([1, 1]));
  }
  assert.deepEqual([...underway.depths(0, chain([1, 1])).keys()], ['w9', 'w8', 'w7']);
});

interface Known {
  worker: WorkerId;
  hashes: BigUint64Array;
  untilUs: number;
}

/** The same by walking over all of them. */
class Twin {
  readonly running = new Map<RequestId, Known>();
  fading: Known[] = [];

  computed(nowUs: number, request: RequestId): void {
    const prompt = this.running.get(request);
    if (prompt !== undefined) this.fading.push({ ...prompt, untilUs: nowUs + EVENTS_US });
    this.running.delete(request);
  }

  removed(worker: WorkerId, hashes: BigUint64Array): void {
    this.fading = this.fading.filter((prompt) => {
      const end = prompt.hashes.at(-1);
      return prompt.worker !== worker || end === undefined || !hashes.includes(end);
    });
  }

  depths(nowUs: number, wanted: BigUint64Array): Map<WorkerId, number> {
    const depths = new Map<WorkerId, number>();
    for (const { worker, hashes, untilUs } of [...this.running.values(), ...this.fading]) {
      let depth = 0;
      while (depth < wanted.length && wanted[depth] === hashes[depth]) depth++;
      if (untilUs > nowUs && depth > (depths.get(worker) ?? 0)) depths.set(worker, depth);
    }
    return depths;
  }
}

function chain(letters: readonly number[]): BigUint64Array {
  let hash = 1n;
  return BigUint64Array.from(letters, (letter) => (hash = hash * 2n + BigInt(letter)));
}
