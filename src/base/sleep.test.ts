import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sleep } from './sleep.ts';

test('it wakes by time or by the signal, and leaves neither timer nor listener behind', async () => {
  const timers = new Set<() => void>();
  const timer = {
    after: (_us: number, run: () => void) => {
      timers.add(run);
      return () => timers.delete(run);
    },
  };
  const leaving = new AbortController();
  let listeners = 0;
  const { signal } = leaving;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...given: Parameters<typeof add>) => {
    listeners++;
    add(...given);
  };
  signal.removeEventListener = (...given: Parameters<typeof remove>) => {
    listeners--;
    remove(...given);
  };

  const byTime = sleep(timer, 10, signal);
  assert.equal(timers.size, 1);
  for (const run of timers) run();
  await byTime;
  assert.deepEqual([timers.size, listeners], [0, 0]);

  const bySignal = sleep(timer, 10, signal);
  leaving.abort();
  await bySignal;
  assert.deepEqual([timers.size, listeners], [0, 0]);

  await sleep(timer, 10, signal);
  assert.equal(timers.size, 0);
});
