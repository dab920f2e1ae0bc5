import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestId, TenantId, WorkerId } from '../../model/ids.ts';
import type { Fact, Order } from '../../model/kernel-io.ts';
import type { Book } from '../book.ts';
import type { Waiter } from '../queue/waiting.ts';
import { Retries } from './retries.ts';

type Failed = Extract<Fact, { kind: 'failed' }>;

test('failing without a token counts; what brought the answer on, or made room, does not', () => {
  const rig = new Rig();
  let waiter = rig.waiter;
  for (const saidTokens of [10, 25, 26, 80]) {
    waiter = rig.fails(waiter, { saidTokens }) ?? assert.fail('it goes on');
    waiter = rig.fails(waiter, { saidTokens, why: 'moved' }) ?? assert.fail('it goes on');
  }
  assert.equal(waiter.attempt, 9);
  assert.equal(waiter.request.promptTokens, 1080);
  assert.equal(waiter.request.outputTokensMax, 20);
  for (let i = 0; i < 2; i++) {
    waiter = rig.fails(waiter, { saidTokens: 80 }) ?? assert.fail('not spent yet');
  }
  assert.equal(rig.fails(waiter, { saidTokens: 80 }), undefined);
  assert.equal(rig.refusals.at(-1)?.code, 'engine_lost');
});

test('where it failed before it is not sent again while others are there', () => {
  const rig = new Rig();
  const once = rig.fails(rig.waiter, { worker: 'a' as WorkerId });
  const twice = rig.fails(once ?? rig.waiter, { worker: 'b' as WorkerId });
  assert.deepEqual([...(twice?.excluded ?? [])], ['a', 'b']);
});

test('who turned it away counts as no try, and is remembered', () => {
  const rig = new Rig();
  let waiter = rig.waiter;
  for (const worker of ['a', 'b', 'c', 'd'] as WorkerId[]) {
    waiter = rig.fails(waiter, { worker, why: 'denied' }) ?? assert.fail('another may take it');
  }
  assert.deepEqual(waiter.request.deniedBy, ['a', 'b', 'c', 'd']);
  const failed = rig.fails(waiter, { worker: 'e' as WorkerId });
  assert.deepEqual(failed?.request.deniedBy, ['a', 'b', 'c', 'd']);
});

test('in the long run only a share of all requests is tried again, in a crash all that run are', () => {
  const rig = new Rig();
  rig.running = 500;
  for (let i = 0; i < 500; i++) assert.ok(rig.fails(rig.waiter, {}), `of the crash, ${i}`);
  rig.running = 0;
  let retried = 0;
  for (let i = 0; i < 10_000; i++) {
    rig.retries.arrived();
    if (rig.fails(rig.waiter, {}) !== undefined) retried++;
  }
  assert.ok(retried > 1000 && retried < 2200, `${retried} of 10,000`);
  assert.match(rig.refusals.at(-1)?.sentence ?? '', /too many requests fail/);
  assert.ok(rig.fails(rig.waiter, { why: 'moved' }), 'a drain takes nothing of it');
  assert.ok(rig.fails(rig.waiter, { saidTokens: 1 }), 'nor does what brought the answer on');
});

class Rig {
  running = 0;
  readonly refusals: Extract<Order, { kind: 'reject' }>[] = [];
  readonly retries: Retries;
  readonly waiter: Waiter = {
    request: {
      id: 'r' as RequestId,
      tenant: 't' as TenantId,
      model: 'm',
      thread: undefined,
      promptTokens: 1000,
      hashes: new BigUint64Array(0),
      blockTokens: 16,
      outputTokensMax: 100,
      priority: 0,
    },
    arrivedUs: 0,
    excluded: new Set(),
    attempt: 1,
  };

  constructor() {
    const rig = this;
    const book = {
      get size() {
        return rig.running;
      },
    } as Book;
    this.retries = new Retries({ attemptsMax: 3, book });
  }

  fails(waiter: Waiter, changes: Partial<Failed>): Waiter | undefined {
    const orders: Order[] = [];
    const { id: request } = waiter.request;
    const fact = { kind: 'failed', request, worker: 'w' as WorkerId, retry: true } as const;
    const next = this.retries.next(waiter, { ...fact, why: 'engine', ...changes }, orders);
    for (const order of orders) if (order.kind === 'reject') this.refusals.push(order);
    assert.equal(next === undefined, orders.length === 1, 'it goes on, or is told why not');
    return next;
  }
}
