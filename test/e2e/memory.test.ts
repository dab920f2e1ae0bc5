/** `--memory` is kept: what does not fit is lowered in words before anything is allocated. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WorkerCard } from '../../src/model/worker-card.ts';
import { post } from './client.ts';
import { procFile, type Running, startUp, startWorker } from './stack.ts';

const BUDGET_BYTES = 300_000_000;
type Completion = {
  choices: { text: string }[];
  usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
};

test('a worker that may take 300 MB says what it lowers, and stays within', async () => {
  const worker = await startWorker(['--memory=300MB', '--context=65536', '--slots=8']);
  const { memory, cache, model } = worker.card;
  assert.match(
    worker.stderr,
    /^context lowered from 65,536 to [\d,]+ tokens, so that 8 slots fit$/m,
  );
  assert.equal(memory.budgetBytes, BUDGET_BYTES);
  const { weightsBytes, slotsBytes, storeBytes } = memory;
  assert.ok(weightsBytes > 0 && slotsBytes > 0 && storeBytes > 0);
  assert.ok(weightsBytes + slotsBytes + storeBytes <= BUDGET_BYTES);
  assert.ok(model.contextTokens < 65_536 && model.contextTokens >= 1024);
  const bytesPerToken = cache.blockBytes / cache.blockTokens;
  assert.equal(slotsBytes, cache.slots * model.contextTokens * bytesPerToken);
});

/** Every slot filled to the end of its context, more than the store holds: it serves on. */
async function assertFull(worker: Running & { card: WorkerCard }): Promise<void> {
  const { url, model, cache, memory } = worker.card;
  const promptTokens = model.contextTokens - 64;
  const prompts = Math.ceil(cache.kvTokens / promptTokens) + 2;
  const ask = async (seed: number) => {
    const prompt = Array.from({ length: promptTokens }, (_, i) => 300 + ((i * 7 + seed) % 4000));
    const body = { model: 'demo', prompt, max_tokens: 4, temperature: 0 };
    const reply = await post<Completion>(`${url}/v1/completions`, body);
    assert.equal(reply.status, 200, reply.text);
    return reply.body;
  };
  for (let first = 0; first < prompts; first += cache.slots) {
    await Promise.all(Array.from({ length: cache.slots }, (_, i) => ask(first + i)));
  }
  const last = await ask(prompts - 1);
  assert.ok(last.usage.prompt_tokens === promptTokens);
  const report = await (await fetch(`${url}/stator/v1/report`)).json();
  const { cachedBlocks, slots } = report as { cachedBlocks: number; slots: { busy: boolean }[] };
  assert.ok(cachedBlocks * 16 <= cache.kvTokens, 'it keeps no more than it said');
  assert.ok(slots.every(({ busy }) => !busy));
  if (process.platform === 'linux') {
    const kilobytes = Number(/^VmHWM:\s+(\d+) kB/m.exec(procFile(worker.pid, 'status'))?.[1]);
    const budget = Math.round(memory.budgetBytes / 1e6);
    console.log(
      `  peak memory of the worker: ${Math.round((kilobytes * 1024) / 1e6)} of ${budget} MB`,
    );
  }
}

test('fewer slots where not even the smallest context fits in all; filled up, it serves on', async () => {
  const worker = await startWorker(['--memory=205MB', '--slots=64', '--disk=0']);
  assert.match(worker.stderr, /^slots lowered from 64 to \d+$/m);
  const { memory, cache } = worker.card;
  assert.ok(cache.slots >= 1 && cache.slots < 64);
  assert.ok(memory.weightsBytes + memory.slotsBytes + memory.storeBytes <= memory.budgetBytes);
  await assertFull(worker);
});

test('up divides what it may take among its workers, and says what each lowers', async () => {
  const stack = await startUp(['--memory=600MB', '--context=65536', '--slots=4', '--workers=2']);
  const cards = [...(await stack.cards()).values()];
  assert.deepEqual(
    cards.map(({ memory }) => memory.budgetBytes),
    [BUDGET_BYTES, BUDGET_BYTES],
  );
  for (const { name } of cards) {
    assert.match(stack.stderr, new RegExp(`^${name}: context lowered from `, 'm'));
  }
  assert.match(stack.stdout, /worker-1 +4 slots × [\d,]+ tokens/);
});
