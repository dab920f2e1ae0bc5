/**
 * Workers of which one computes long prompts for the others: answers are what they are without it, and
 * nothing is lost when it dies in the middle of one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.ts';
import type { Receipt } from '../../src/model/receipt.ts';
import { assertCleanEnd, get, type Streamed, streamChat } from './client.ts';
import { isAlive, runToEnd, SMALL, type Stack, startUp, until } from './stack.ts';

const WORDS = 'king castle once upon a time there was and then they said what river stone'.split(
  ' ',
);
/** Long enough that whoever is answered meanwhile would feel it. */
const LONG_WORDS = 2500;
const PROMPTS = 3;

test('a long prompt computed apart is answered bit for bit as if it were not', async () => {
  const flags = [...SMALL, '--disk=0', '--exact', '--allow-forced-output', '--workers=2'];
  const plain = await startUp(flags);
  const expected: string[] = [];
  for (let i = 0; i < PROMPTS; i++) expected.push((await ask(plain, i)).text);
  assert.equal(await plain.stop(), 0);
  const stack = await startUp([...flags, '--prefill-workers=1']);
  let staged = 0;
  for (let i = 0; i < PROMPTS; i++) {
    const running = busy(stack, i);
    const answer = await ask(stack, i);
    assertCleanEnd(await running);
    assert.equal(answer.text, expected[i]);
    const { attempts, actual, worker } = await receiptOf(stack, answer);
    assert.equal(worker, 'worker-1', 'whoever computes prompts answers none');
    assert.equal(actual.cachedTokens, 0, 'it was computed for this request, if elsewhere');
    if (attempts.some(({ stage }) => stage === 'decode')) staged++;
  }
  const tokens = await metric(stack, 'stator_handed_over_tokens_total');
  console.log(`  ${staged} of ${PROMPTS} prompts computed apart; ${tokens} tokens of KV brought`);
  assert.ok(staged > 0 && tokens > 0, 'some were worth it');
  assert.equal(await stack.stop(), 0);
});

test('whoever computes prompts is killed at it: each answer comes, and it is back', async () => {
  const flags = ['--engine=sim', '--workers=3', '--prefill-workers=1', '--allow-forced-output'];
  const stack = await startUp(flags);
  const running = [0, 1, 2, 3].map((i) => busy(stack, i));
  const asked = [0, 1, 2, 3].map((i) => ask(stack, i, 20_000));
  const victim = (await stack.cards()).get('worker-3')?.pid ?? assert.fail('it is up');
  await until('it has something to compute', async () => {
    const { workers } = await stack.snapshot();
    return workers.some(({ id, requests }) => id === 'worker-3' && requests > 0);
  });
  process.kill(victim, 'SIGKILL');
  for (const answer of await Promise.all([...asked, ...running])) {
    assertCleanEnd(answer);
    assert.deepEqual(answer.errors, []);
  }
  await until('the killed worker is gone', () => !isAlive(victim));
  await until('three workers are well', async () => {
    const { workers } = await stack.snapshot();
    return workers.length === 3 && workers.every(({ healthy }) => healthy);
  });
  await until('nothing runs any more', () => stack.isIdle());
  assert.equal(await stack.stop(), 0);
});

test('somebody has to answer: all workers for prompts is refused before anything starts', async () => {
  const flags = ['--engine=sim', '--workers=2', '--prefill-workers=2'];
  const { code, stderr } = await runToEnd(['up', '--port=0', ...flags]);
  assert.equal(code, 2);
  assert.match(stderr, /at most 1 can compute prompts only/);
});

/** A stream that takes a while, so that a prompt beside it would hold it up. */
function busy(stack: Stack, number: number): Promise<Streamed> {
  const messages = [{ role: 'user', content: `Number ${number}, go on.` }];
  return streamChat(stack.url, { messages, nvext: { forced_output: ' the'.repeat(400) } });
}

function ask(stack: Stack, number: number, words = LONG_WORDS): Promise<Streamed> {
  const rng = new Prng(number + 1);
  const content = Array.from({ length: words }, () => rng.pick(WORDS)).join(' ');
  const body = { messages: [{ role: 'user', content }], max_tokens: 24, temperature: 0 };
  return streamChat(stack.url, body, { headers: { 'x-stator-session-id': `long-${number}` } });
}

async function receiptOf(stack: Stack, answer: Streamed): Promise<Receipt> {
  const id = answer.headers['x-stator-receipt'];
  return (await get<Receipt>(`${stack.url}/stator/v1/receipts/${id}`)).body;
}

async function metric(stack: Stack, name: string): Promise<number> {
  const { text } = await get(`${stack.url}/metrics`);
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(name.length) ?? 0);
}
