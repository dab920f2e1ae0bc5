import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import type { RequestId, WorkerId } from '../model/ids.ts';
import { Book } from './book.ts';

const WORKERS = ['a', 'b'] as WorkerId[];

/** The dumb twin's page: bookings in order of dispatch, counted anew each time. */
interface Kept {
  request: RequestId;
  worker: WorkerId;
  prefillUs: number;
  uncached: number;
  context: number;
  outputTokens: number;
  decodes: boolean;
}

test('sums are what counting all bookings anew gives, and time is never lost or counted twice', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const rng = new Prng(seed);
      const book = new Book();
      let kept: Kept[] = [];
      let nowUs = 0;
      for (let i = 0; i < 120; i++) {
        nowUs += rng.below(50);
        const one = kept.length > 0 ? rng.pick(kept) : undefined;
        const kind = rng.below(5);
        if (kind < 2 || one === undefined) kept.push(reserved(book, nowUs, `r${i}`, rng));
        else if (kind === 2) {
          book.firstToken(nowUs, one.request);
          one.decodes = true;
        } else if (kind === 3) {
          one.outputTokens += rng.below(9);
          book.progress(one.request, one.outputTokens);
        } else {
          assert.equal(book.release(nowUs, one.request)?.booking.request, one.request);
          assert.equal(book.release(nowUs, one.request), undefined, 'released once');
          kept = kept.filter((other) => other !== one);
        }
        book.check();
        for (const worker of WORKERS) compare(book, worker, kept, nowUs);
      }
    }),
    { numRuns: 100 },
  );
});

function reserved(book: Book, nowUs: number, id: string, rng: Prng): Kept {
  const given = { request: id as RequestId, worker: rng.pick(WORKERS), prefillUs: rng.below(300) };
  const promptTokens = 10 + rng.below(90);
  const matchedTokens = rng.below(10);
  const tiers = { hostTokens: 0, diskTokens: 0 };
  book.reserve(nowUs, { ...given, ...tiers, promptTokens, matchedTokens });
  const uncached = promptTokens - matchedTokens;
  return { ...given, uncached, context: promptTokens, outputTokens: 0, decodes: false };
}

function compare(book: Book, worker: WorkerId, kept: readonly Kept[], nowUs: number): void {
  const there = kept.filter((one) => one.worker === worker);
  const waiting = there.filter((one) => !one.decodes);
  const sum = (of: readonly Kept[], value: (one: Kept) => number) =>
    of.reduce((total, one) => total + value(one), 0);
  const load = book.load(worker);
  assert.equal(load.requests, there.length);
  assert.equal(load.decoding, there.length - waiting.length);
  assert.equal(
    load.prefillTokens,
    sum(waiting, (one) => one.uncached),
  );
  assert.equal(
    load.contextTokens,
    sum(there, (one) => one.context + one.outputTokens),
  );
  const queued = sum(waiting, (one) => one.prefillUs);
  assert.equal(load.prefillUs, queued);
  const left = load.prefillUsLeft(nowUs);
  const head = waiting[0]?.prefillUs ?? 0;
  assert.ok(left <= queued && left >= queued - head, 'only the first of them has begun');
  there.forEach((one, rank) => {
    assert.equal(load.outputTokens(rank), one.outputTokens);
  });
}

test('a booking knows whether it had the engine to itself, and what ran beside its answer', () => {
  const book = new Book();
  const [worker] = WORKERS;
  const tokens = { promptTokens: 100, matchedTokens: 0, hostTokens: 0, diskTokens: 0 };
  const reserve = (nowUs: number, id: string) =>
    book.reserve(nowUs, { request: id as RequestId, worker, prefillUs: 50, ...tokens });
  reserve(0, 'first');
  book.firstToken(40, 'first' as RequestId);
  reserve(100, 'second');
  reserve(110, 'third');
  book.firstToken(140, 'second' as RequestId);
  book.firstToken(200, 'third' as RequestId);
  const first = book.release(240, 'first' as RequestId);
  assert.ok(first?.booking.first !== undefined);
  assert.equal(first.booking.alone, true);
  // One decoded for 100 µs, two for 60, three for 40: 340 µs of sequences in 200.
  const sequences = first.end.decodeSequenceUs - first.booking.first.decodeSequenceUs;
  assert.equal(sequences, 100 + 2 * 60 + 3 * 40);
  assert.equal(first.end.prefillBusyUs - first.booking.first.prefillBusyUs, 100);
  assert.equal(book.release(250, 'second' as RequestId)?.booking.alone, false);
  assert.equal(book.release(250, 'third' as RequestId)?.booking.alone, false);
});
