import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RequestId, TenantId } from '../../model/ids.ts';
import { type Waiter, Waiting } from './waiting.ts';

test('first come, first served, bounded, and nobody past the deadline', () => {
  const step = fc.record({
    kind: fc.constantFrom('push', 'push', 'push', 'remove', 'expire'),
    id: fc.integer({ min: 0, max: 9 }),
    passUs: fc.nat(20),
    /** One that was placed before and failed waits since its first arrival. */
    waitedUs: fc.nat(30),
    patienceUs: fc.option(fc.nat(90), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const waiting = new Waiting({ requestsMax: 4, waitUsMax: 50 });
      let twin: Waiter[] = [];
      let nowUs = 100;
      const deadlineOf = ({ request, arrivedUs }: Waiter) => arrivedUs + (request.patienceUs ?? 50);
      for (const { kind, id, passUs, waitedUs, patienceUs } of steps) {
        nowUs += passUs;
        const name = `r${id}`;
        const known = twin.some(({ request }) => request.id === name);
        if (kind === 'push' && !known) {
          const waiter = waiterOf(name, nowUs - waitedUs, patienceUs);
          assert.equal(waiting.push(waiter), twin.length < 4 ? 'taken' : 'full');
          if (twin.length < 4) twin.push(waiter);
        } else if (kind === 'remove') {
          assert.equal(waiting.remove(name as RequestId), known);
          twin = twin.filter(({ request }) => request.id !== name);
        } else if (kind === 'expire') {
          const expired = twin.filter((waiter) => deadlineOf(waiter) <= nowUs);
          assert.deepEqual(waiting.takeExpired(nowUs), expired);
          twin = twin.filter((waiter) => !expired.includes(waiter));
        }
        assert.deepEqual(waiting.inOrder(), twin);
        const deadlines = twin.map(deadlineOf);
        const next = deadlines.length === 0 ? undefined : Math.min(...deadlines);
        assert.equal(waiting.nextDeadlineUs(), next);
      }
    }),
    { numRuns: 200 },
  );
});

function waiterOf(id: string, arrivedUs: number, patienceUs: number | undefined): Waiter {
  return {
    request: {
      id: id as RequestId,
      tenant: 't' as TenantId,
      model: 'm',
      thread: undefined,
      promptTokens: 1,
      hashes: new BigUint64Array(0),
      blockTokens: 16,
      outputTokensMax: 1,
      priority: 0,
      patienceUs,
    },
    arrivedUs,
    excluded: new Set(),
    attempt: 0,
  };
}
