/** Workers that are killed: what they were serving, who takes over, and that they come back. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Receipt } from '../../src/model/receipt.ts';
import { assertCleanEnd, get, type Streamed, streamChat, streamMessages } from './client.ts';
import { isAlive, SMALL, type Stack, scripted, startUp, until } from './stack.ts';

const LONG = 'one after the other '.repeat(40);
const ENDLESS = 'and so on '.repeat(4000);

let simulated: Stack;
let computing: Stack;
before(async () => {
  const rules = [
    { match: 'slowly', text: LONG, tokenDelayMs: 10 },
    { match: 'never stop', text: ENDLESS, tokenDelayMs: 20 },
    { match: 'think first', text: 'I thought about it.', delayMs: 1500 },
    { match: 'together', text: 'word '.repeat(40), tokenDelayMs: 20 },
  ];
  [simulated, computing] = await Promise.all([
    startUp(scripted(rules)),
    startUp([...SMALL, '--context=65536', '--allow-forced-output']),
  ]);
});

const user = (content: string) => [{ role: 'user', content }];

for (const [wire, stream] of Object.entries({ chat: streamChat, messages: streamMessages })) {
  test(`${wire}: a worker killed in mid-stream is followed by another, then is back`, async () => {
    const killer = killerOf(simulated);
    const messages = user('Tell it slowly.');
    const answer = await stream(simulated.url, { messages }, { onText: killer.onText });
    assertCleanEnd(answer);
    assert.deepEqual(answer.errors, []);
    assert.equal(answer.text, LONG, 'nothing is missing and nothing comes twice');
    const { actual, attempts } = await receiptOf(simulated, answer);
    assert.equal(actual.status, 'done');
    assert.equal(attempts.length, 2);
    assert.notEqual(attempts[0].worker, attempts[1].worker);
    await assertBack(simulated, killer.killed());
  });
}

test('a real engine killed in mid-stream: the other goes on, it is back', async () => {
  const killer = killerOf(computing);
  const body = { messages: user('Tell it slowly.'), nvext: { forced_output: LONG } };
  const answer = await streamChat(computing.url, body, { onText: killer.onText });
  assertCleanEnd(answer);
  assert.deepEqual(answer.errors, []);
  assert.equal(answer.text, LONG);
  const next = await streamChat(computing.url, { messages: user('Are you there?') });
  assertCleanEnd(next);
  assert.equal(next.errors.length, 0);
  await assertBack(computing, killer.killed());
});

test('what had not begun is answered by the other worker', async () => {
  const asks = Array.from({ length: 8 }, (_, i) =>
    streamChat(simulated.url, { messages: user(`Please ${i}: think first.`) }),
  );
  await until('all run', async () => (await simulated.snapshot()).running === asks.length);
  const { workers } = await simulated.snapshot();
  const [victim] = workers;
  assert.ok(victim.requests > 0, 'some of them run there');
  const pid = (await simulated.cards()).get(victim.id)?.pid ?? 0;
  process.kill(pid, 'SIGKILL');
  const answers = await Promise.all(asks);
  let moved = 0;
  for (const answer of answers) {
    assertCleanEnd(answer);
    assert.equal(answer.text, 'I thought about it.');
    const { attempts, worker, actual } = await receiptOf(simulated, answer);
    assert.equal(actual.status, 'done');
    assert.notEqual(worker, victim.id);
    if (attempts.length === 1) continue;
    assert.equal(attempts[0].worker, victim.id, 'the receipt shows who failed');
    assert.equal(attempts.length, 2);
    moved++;
  }
  assert.equal(moved, victim.requests, 'each that ran there went elsewhere');
  await assertBack(simulated, pid);
});

test('the last worker is killed: requests wait until it is back', async () => {
  const before = await simulated.cards();
  for (const { pid } of before.values()) process.kill(pid, 'SIGKILL');
  await until('both are seen to be gone', async () => {
    const { workers } = await simulated.snapshot();
    return workers.every(({ id }) => !before.has(id));
  });
  const answer = await streamChat(simulated.url, { messages: user('Is anybody left?') });
  assertCleanEnd(answer);
  assert.equal(answer.errors.length, 0);
  await until('both are back', async () => (await simulated.cards()).size === 2);
});

test('up that is told to end in mid-stream ends the stream with one error', async () => {
  let texts = 0;
  const onText = () => {
    if (++texts === 3) simulated.child.kill('SIGTERM');
  };
  const body = { messages: user('Please never stop.') };
  const answer = await streamChat(simulated.url, body, { onText });
  assertCleanEnd(answer);
  assert.equal(answer.errors.length, 1);
  assert.equal((await simulated.ended).code, 0);
});

/** Kills the worker of the only running request at its third text. */
function killerOf(stack: Stack) {
  let texts = 0;
  let killed = 0;
  return {
    killed: () => killed,
    async onText() {
      if (++texts !== 3) return;
      const { workers } = await stack.snapshot();
      const busy = workers.find(({ requests }) => requests === 1);
      killed = (await stack.cards()).get(busy?.id ?? '')?.pid ?? assert.fail('nobody is busy');
      process.kill(killed, 'SIGKILL');
    },
  };
}

/** Two workers are up again, and both answer. */
async function assertBack(stack: Stack, killed: number): Promise<void> {
  await until('the killed worker is gone', () => !isAlive(killed));
  await until('two workers are well', async () => {
    const { workers } = await stack.snapshot();
    return workers.length === 2 && workers.every(({ healthy, engine }) => healthy && engine);
  });
  await until('nothing runs any more', () => stack.isIdle());
  for (const worker of (await stack.cards()).keys()) {
    const body = { messages: user('All together now.'), nvext: { routing: { worker } } };
    const answer = await streamChat(stack.url, body);
    assertCleanEnd(answer);
    assert.equal(answer.errors.length, 0);
    assert.equal(answer.headers['x-stator-worker'], worker);
  }
}

async function receiptOf(stack: Stack, { headers }: Streamed): Promise<Receipt> {
  const id = headers['x-stator-receipt'];
  return (await get<Receipt>(`${stack.url}/stator/v1/receipts/${id}`)).body;
}
