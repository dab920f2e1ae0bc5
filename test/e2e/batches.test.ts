/** A batch on a running stack: it survives a restart of the gateway, and computes each beginning once. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import type { BatchObject } from '../../src/gateway/batches/records.ts';
import { FOLDER, type Stack, startUp, until } from './stack.ts';

const CHAT = '/v1/chat/completions';
const REQUESTS = 120;
const FAMILIES = 6;

test('a batch goes on after a restart, and what its requests share is computed once', async () => {
  const args = ['--engine=sim', '--workers=2', '--slots=2', '--context=4096'];
  const env = { STATOR_STATE: `${FOLDER}/${randomUUID()}` };
  const first = await startUp(args, { env });
  const { id } = await begin(first);
  await until('some of it is done', async () => {
    const { request_counts: counts } = await batchOf(first, id);
    return counts.completed > 5;
  });
  const tokens = await promptTokens(first);
  assert.ok(tokens.computed < 0.5 * tokens.all, JSON.stringify(tokens));
  assert.equal(await first.stop(), 0);
  const second = await startUp(args, { env });
  let batch = await batchOf(second, id);
  await until(
    'it is completed',
    async () => {
      batch = await batchOf(second, id);
      return batch.status === 'completed';
    },
    60_000,
  );
  assert.deepEqual(batch.request_counts, { total: REQUESTS, completed: REQUESTS, failed: 0 });
  const output = await fetch(`${second.url}/v1/files/${batch.output_file_id}/content`);
  const lines = (await output.text()).trim().split('\n');
  const ids = lines.map((line) => (JSON.parse(line) as { custom_id: string }).custom_id);
  assert.equal(new Set(ids).size, REQUESTS, 'each request has its one line');
  assert.equal(lines.length, REQUESTS);
  assert.equal(await second.stop(), 0);
});

async function begin(stack: Stack): Promise<BatchObject> {
  const lines = Array.from({ length: REQUESTS }, (_, i) => {
    const system = `family ${i % FAMILIES}: ${'the words that all of a family begin with '.repeat(40)}`;
    const messages = [
      { role: 'system', content: system },
      { role: 'user', content: `question ${i}` },
    ];
    const body = { model: 'demo', max_tokens: 40, messages };
    return JSON.stringify({ custom_id: `c${i}`, method: 'POST', url: CHAT, body });
  });
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set('file', new Blob([lines.join('\n')]), 'requests.jsonl');
  const sent = await fetch(`${stack.url}/v1/files`, { method: 'POST', body: form });
  assert.equal(sent.status, 200);
  const { id } = (await sent.json()) as { id: string };
  const begun = await fetch(`${stack.url}/v1/batches`, {
    method: 'POST',
    body: JSON.stringify({ input_file_id: id, endpoint: CHAT, completion_window: '24h' }),
  });
  assert.equal(begun.status, 200);
  return (await begun.json()) as BatchObject;
}

async function batchOf(stack: Stack, id: string): Promise<BatchObject> {
  const response = await fetch(`${stack.url}/v1/batches/${id}`);
  assert.equal(response.status, 200);
  return (await response.json()) as BatchObject;
}

/** Of all that ended so far. */
async function promptTokens(stack: Stack): Promise<{ all: number; computed: number }> {
  const text = await (await fetch(`${stack.url}/metrics`)).text();
  const sum = (name: string) => {
    const lines = text.split('\n').filter((line) => line.startsWith(name));
    return lines.reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
  };
  const all = sum('stator_prompt_tokens_total');
  return { all, computed: all - sum('stator_cached_tokens_total') };
}
