/**
 * A parent's prompt lies on one of three workers, and eight sub-agents that begin like it come at once:
 * what they share is computed by few of them, what was copied instead is counted, and the parent finds
 * its own when it goes on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../src/base/prng.ts';
import type { Receipt } from '../../src/model/receipt.ts';
import { assertCleanEnd, get, streamChat } from './client.ts';
import { type Stack, startUp, until } from './stack.ts';

const WORKERS = 3;
const SUB_AGENTS = 8;
/** Of what each says itself, and of the prefix what fills no block. */
const OWN_TOKENS_MAX = 200;
const WORDS = 'king castle once upon a time there was and then they said what river stone'.split(
  ' ',
);

test('a prefix wanted by eight at once is copied to where they go, and every answer is whole', async () => {
  // On a machine that is busy with other things a worker may look too slow to be worth a copy.
  if (await isShared()) return;
  assert.ok(await isShared(), 'what all share was computed again and again');
});

/** Whether few workers computed what all share. */
async function isShared(): Promise<boolean> {
  const flags = ['--memory=1GB', '--context=8192', '--slots=2', '--disk=0'];
  const stack = await startUp([...flags, `--workers=${WORKERS}`]);
  const shared = textOf(new Prng(1), 2200);
  const parent = await ask(stack, shared, 0);
  const sharedTokens = parent.promptTokens ?? 0;
  assert.ok(sharedTokens > 2500, `${sharedTokens} tokens are shared`);
  await settled(stack);
  const agents = await fanOut(stack, shared);
  const next = await ask(stack, shared, 0, 'next');
  const moved = await metric(stack, 'stator_kv_moves_total{result="moved"}');
  const failed = await metric(stack, 'stator_kv_moves_total{result="failed"}');
  const movedTokens = await metric(stack, 'stator_kv_moved_tokens_total');
  const computed = [parent, ...agents].map(computedTokens);
  console.log(
    `  ${sharedTokens} tokens shared; computed ${computed.join(' ')} on ` +
      `${agents.map(({ worker }) => worker).join(' ')}; ${moved} moves of ${movedTokens} tokens, ` +
      `${failed} failed`,
  );
  // A move that its machine was too busy for is given up, and the worker computes.
  const prefixes = 2 + failed;
  const own = (1 + SUB_AGENTS) * OWN_TOKENS_MAX;
  const total = computed.reduce((sum, tokens) => sum + tokens, 0);
  if (agents.some(awaited)) assert.ok(moved + failed > 0, 'what was waited for is counted');
  assert.equal(moved > 0, movedTokens > 0);
  assert.equal(await stack.stop(), 0);
  const foundTokens = next.actual.cachedTokens ?? 0;
  assert.ok(foundTokens >= 0.95 * sharedTokens, `its parent found ${foundTokens} when it went on`);
  return total <= prefixes * sharedTokens + own;
}

function computedTokens({ promptTokens, actual }: Receipt): number {
  return (promptTokens ?? 0) - (actual.cachedTokens ?? 0);
}

/** Whether it was placed where a copy of its beginning was on the way. */
function awaited({ attempts, worker }: Receipt): boolean {
  return attempts.some(({ candidates }) =>
    candidates.some((one) => one.worker === worker && one.awaits !== undefined),
  );
}

function fanOut(stack: Stack, shared: string): Promise<Receipt[]> {
  return Promise.all(Array.from({ length: SUB_AGENTS }, (_, i) => ask(stack, shared, 1 + i)));
}

/** The receipt of an answer to what all share and something of its own. */
async function ask(
  stack: Stack,
  shared: string,
  number: number,
  turn: 'first' | 'next' = 'first',
): Promise<Receipt> {
  const messages = [
    { role: 'system', content: shared },
    { role: 'user', content: textOf(new Prng(100 + number), 40) },
  ];
  if (turn === 'next') {
    messages.push({ role: 'assistant', content: textOf(new Prng(200), 12) });
    messages.push({ role: 'user', content: textOf(new Prng(300), 40) });
  }
  const headers = { 'x-stator-session-id': `agent-${number}` };
  const answer = await streamChat(stack.url, { messages, max_tokens: 12 }, { headers });
  assertCleanEnd(answer);
  const id = answer.headers['x-stator-receipt'];
  const { status, body } = await get<Receipt>(`${stack.url}/stator/v1/receipts/${id}`);
  assert.equal(status, 200);
  return body;
}

/** All events of what was computed have arrived. */
async function settled(stack: Stack): Promise<void> {
  await until('the index knows what engines hold', async () => {
    const { workers } = await stack.snapshot();
    return workers.every(({ engine, indexedBlocks }) => engine?.cachedBlocks === indexedBlocks);
  });
}

async function metric(stack: Stack, name: string): Promise<number> {
  const { text } = await get(`${stack.url}/metrics`);
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(name.length) ?? 0);
}

function textOf(rng: Prng, words: number): string {
  return Array.from({ length: words }, () => rng.pick(WORDS)).join(' ');
}
