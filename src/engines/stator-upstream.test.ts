import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { workerCard } from '../../test/worker-card.ts';
import { WorkerConfig } from '../model/fleet-config.ts';
import type { WorkerCard } from '../model/worker-card.ts';
import { StatorUpstream } from './stator-upstream.ts';

test('a card says all there is to know; its KV is moved only with the secret', async () => {
  const layouts: (string | undefined)[] = [];
  for (const kvSecret of [undefined, 'secret']) {
    const card = workerCard();
    const store = { ...card, cache: { ...card.cache, hostBlocks: 4 } };
    const told = await introduced(store, kvSecret);
    layouts.push(told.worker.kvLayout);
    assert.deepEqual(told.worker.models, ['m']);
    assert.deepEqual(told.events, card.events);
    assert.equal('id' in told.worker, false);
  }
  assert.deepEqual([layouts[0], typeof layouts[1]], [undefined, 'string']);
});

test('a restart changes its run, and so does another address of its events', async () => {
  const card = workerCard();
  const runs = new Set<string>();
  for (const change of [{}, { pid: 2 }, { startMs: 2 }, { events: null }, {}]) {
    runs.add((await introduced({ ...card, ...change }, undefined)).run);
  }
  assert.equal(runs.size, 4);
});

test('a card that is none is named in words, with the field that is wrong', async () => {
  const card = workerCard();
  const wrong = { ...card, cache: { ...card.cache, slots: 'two' } };
  await assert.rejects(
    introduced(wrong as unknown as WorkerCard, undefined),
    /^Error: [^\n]*cache\.slots[^\n]*$/,
  );
});

async function introduced(card: WorkerCard, kvSecret: string | undefined) {
  const server = createServer((_, response) => response.end(JSON.stringify(card)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const config = WorkerConfig.parse({ url });
  const upstream = new StatorUpstream({
    ...{ config, silenceUsMax: 5_000_000, kvSecret },
    known: () => undefined,
    compareTokens: () => Promise.reject(new Error('its card says it')),
  });
  try {
    return await upstream.introduce();
  } finally {
    upstream.close();
    server.close();
  }
}
