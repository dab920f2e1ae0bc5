/**
 * Workers that are killed, and all of them started anew, under load: nobody sees any of it. With
 * STATOR_FAILURE_S=600 these are the figures of bench/README.md.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Prng } from '../../src/base/prng.ts';
import { expectations, load, quantile, scriptRules, type Tally } from './failure-load.ts';
import { isAlive, type Stack, scripted, startUp, until } from './stack.ts';

const SECONDS = Number(process.env.STATOR_FAILURE_S ?? 30);
const KILL_EVERY_MS = 5_000;
const WORKERS = Number(process.env.STATOR_FAILURE_WORKERS ?? 8);
const CLIENTS = 16;
const RESTART_MS_MAX = 280_000;

let stack: Stack;
let expected: Awaited<ReturnType<typeof expectations>>;
before(async () => {
  stack = await startUp([...scripted(scriptRules()), `--workers=${WORKERS}`]);
  expected = await expectations(stack.url);
});

test(`of ${WORKERS} workers one is killed every 5 s: no answer is lost, late or another`, async (t) => {
  const quiet = await loaded(Math.min(SECONDS / 3, 60));
  const rng = new Prng(1);
  let kills = 0;
  const kill = async () => {
    const pids = [...(await stack.cards()).values()].map(({ pid }) => pid).filter(isAlive);
    // Whoever is left must be able to serve.
    if (pids.length < 2) return;
    kills++;
    process.kill(rng.pick(pids), 'SIGKILL');
  };
  // A machine that is busy with other things may not say in time who there is: then nobody is killed.
  const killing = setInterval(() => void kill().catch(() => {}), KILL_EVERY_MS);
  const tally = await loaded(SECONDS).finally(() => clearInterval(killing));
  const moved = await metric('stator_migrations_total');
  t.diagnostic(`${kills} killed, ${moved} moved; ${figures(tally)}; undisturbed ${figures(quiet)}`);
  assertServed(quiet);
  assertServed(tally);
  assert.ok(kills > 0 && moved > 0, `${kills} were killed, ${moved} answers went on elsewhere`);
});

test('all workers are started anew under load, and no request fails', async (t) => {
  await until('all are up', async () => (await stack.cards()).size === WORKERS, 60_000);
  const pids = async () => new Set([...(await stack.cards()).values()].map(({ pid }) => pid));
  const earlier = await pids();
  let isOver = false;
  const load = loaded(600, () => isOver);
  const begunMs = performance.now();
  const signal = AbortSignal.timeout(RESTART_MS_MAX);
  const url = `${stack.url}/stator/v1/workers/restart`;
  const reply = await fetch(url, { method: 'POST', signal }).finally(() => {
    isOver = true;
  });
  const tookS = (performance.now() - begunMs) / 1000;
  const tally = await load;
  t.diagnostic(`${WORKERS} started anew in ${tookS.toFixed(1)} s; ${figures(tally)}`);
  assert.equal(reply.status, 200);
  const { restarted } = (await reply.json()) as { restarted: string[] };
  assert.equal(restarted.length, WORKERS);
  assertServed(tally);
  for (const pid of await pids()) assert.ok(!earlier.has(pid), 'each is another process');
});

function loaded(seconds: number, isOver = () => false): Promise<Tally> {
  const endMs = performance.now() + seconds * 1000;
  const until = () => isOver() || performance.now() >= endMs;
  return load(stack.url, { clients: CLIENTS, expected, until });
}

function assertServed(tally: Tally): void {
  assert.deepEqual(tally.failed, []);
  assert.deepEqual(tally.hung, []);
  assert.deepEqual(tally.different, []);
  assert.ok(tally.answers > CLIENTS, 'there was load');
}

function figures({ answers, ttftMs }: Tally): string {
  return `${answers} answers, TTFT p50 ${quantile(ttftMs, 0.5)} ms, p99 ${quantile(ttftMs, 0.99)} ms`;
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${stack.url}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}
