/** Children are one line of script each: they show a card, or fail in their own way. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { workerCard } from '../../test/worker-card.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Engine, WorkerChange } from '../ports.ts';
import { LocalWorkers } from './local.ts';
import { WallClock } from './wall-clock.ts';

const CARD = { ...workerCard(), events: null };

const SHOWS_CARD = `console.log(${JSON.stringify(JSON.stringify(CARD))})`;
const LIVES = "process.stdin.resume().on('end', () => process.exit(0))";

test('a worker that dies is replaced by another of a new name, and goes when we close', async (t) => {
  const { workers, seen } = supervise(t, `${SHOWS_CARD}; ${LIVES}`);
  await workers.set(2);
  assert.deepEqual(seen.toSorted(), ['up worker-1', 'up worker-2']);
  const pid = workers.pids().get('worker-1');
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGKILL');
  await until(() => seen.length === 4);
  assert.deepEqual(seen.slice(2), ['down worker-1', 'up worker-1.2']);
  await workers.set(1);
  // Whoever watches hears of it: nothing may be sent to who is gone.
  assert.deepEqual(seen.slice(4), ['down worker-2']);
  const left = [...workers.pids().values()];
  assert.equal(left.length, 1);
  await workers.close();
  assert.throws(() => process.kill(left[0], 0), /ESRCH/);
});

test('one that cannot start says why, and the start fails with that sentence', async (t) => {
  const { workers } = supervise(t, "console.error('The model is broken.'); process.exit(1)");
  await assert.rejects(workers.set(1), /^Error: The model is broken\.$/);
});

test('what is printed instead of a card fails that start, and nothing else', async (t) => {
  for (const line of ['no card at all', '{"stator": 1}', 'null']) {
    const { workers, seen } = supervise(t, `console.log(${JSON.stringify(line)}); ${LIVES}`);
    await assert.rejects(workers.set(1), /card/);
    assert.deepEqual(seen, []);
    await workers.close();
  }
});

test('one that is started anew goes by itself and is back when the promise says so', async (t) => {
  const { workers, seen } = supervise(t, `${SHOWS_CARD}; ${LIVES}`);
  await workers.set(2);
  const pid = workers.pids().get('worker-1') ?? assert.fail('it runs');
  await workers.restart('worker-1' as WorkerId);
  assert.deepEqual(seen.slice(2), ['down worker-1', 'up worker-1.2']);
  assert.throws(() => process.kill(pid, 0), /ESRCH/);
  await workers.restart('worker-1' as WorkerId);
  assert.equal(seen.length, 4, 'who has gone is nobody to start anew');
  await workers.restart('worker-1.2' as WorkerId);
  assert.deepEqual(seen.slice(4), ['down worker-1.2', 'up worker-1.3']);
});

test('one that does not come back says why, and is tried again all the same', async (t) => {
  const once = join(mkdtempSync(join(tmpdir(), 'stator-local-')), 'once');
  t.after(() => rmSync(dirname(once), { recursive: true, force: true }));
  // The second start fails, those after it do not.
  const fails = `if (require('fs').existsSync('${once}2')) { require('fs').unlinkSync('${once}2'); console.error('No memory is left.'); process.exit(1) }`;
  const { workers, seen } = supervise(t, `${fails}; ${SHOWS_CARD}; ${LIVES}`);
  await workers.set(1);
  writeFileSync(`${once}2`, '');
  await assert.rejects(workers.restart('worker-1' as WorkerId), /^Error: No memory is left\.$/);
  await until(() => seen.at(-1)?.startsWith('up worker-1.') === true);
});

function supervise(t: TestContext, script: string) {
  const workers = new LocalWorkers({
    clock: new WallClock(),
    settings: {
      command: () => ['-e', script],
      environment: {},
      engine: (worker) => ({ worker }) as Engine,
      restartUsMin: 1000,
      restartUsMax: 1_000_000,
      startUsMax: 30_000_000,
      onLine: () => {},
    },
  });
  t.after(() => workers.close());
  const seen: string[] = [];
  workers.watch((change: WorkerChange) => {
    const up = change.kind === 'up';
    // One that never was up is nobody's loss.
    if (up || seen.includes(`up ${change.worker}`)) {
      seen.push(`${change.kind} ${up ? change.worker.id : change.worker}`);
    }
  });
  return { workers, seen };
}

async function until(done: () => boolean): Promise<void> {
  for (let i = 0; !done(); i++) {
    assert.ok(i < 1000, 'it happens at last');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
