/** Responses that run in the background, over the real walk. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../wire/fields.ts';
import { type MemoryReply, Rig, until } from './rig.test.ts';

const BODY = { model: 'm', input: 'one', background: true };

test('it is queued, runs while nobody waits, and is there when it is whole', async () => {
  const rig = new Rig();
  rig.answers = ['wait'];
  const made = await rig.create(BODY);
  assert.deepEqual([made.status, made.background, made.output], ['queued', true, []]);
  const get = async () => (await rig.call('GET', `/v1/responses/${made.id}`)).json();
  await until(async () => rig.jobs.length === 1);
  await untilStatus(get, 'in_progress');
  rig.go();
  const whole = await untilStatus(get, 'completed');
  assert.equal(textOf(whole), 'begun and ended');
  assert.equal(whole.id, made.id);
  // What goes on from it has all of it.
  await rig.create({ input: 'two', previous_response_id: made.id });
  assert.ok(rig.prompt().includes('begun and ended'));
});

test('its stream can be left and gone on with, from any event, and misses none', async () => {
  const rig = new Rig();
  rig.answers = ['wait'];
  const { reply, over, leave } = rig.open('POST', '/v1/responses', {
    body: { ...BODY, stream: true },
  });
  await until(() => reply.text.includes('begun'));
  leave();
  await over;
  const { id } = reply.events()[0].response as Json;
  const seen = numbersOf(reply);
  const following = rig.open(
    'GET',
    `/v1/responses/${id}?stream=true&starting_after=${seen.at(-1)}`,
  );
  rig.go();
  await following.over;
  const all = await rig.call('GET', `/v1/responses/${id}?stream=true`);
  const from2 = await rig.call('GET', `/v1/responses/${id}?stream=true&starting_after=2`);
  const numbers = numbersOf(all);
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => i),
  );
  assert.deepEqual([...seen, ...numbersOf(following.reply)], numbers);
  assert.deepEqual(numbersOf(from2), numbers.slice(3));
  const last = all.events().at(-1)?.response as Json;
  assert.deepEqual((await rig.call('GET', `/v1/responses/${id}`)).json(), last);
  for (const wrong of ['x', '-2', '1.5']) {
    const target = `/v1/responses/${id}?stream=true&starting_after=${wrong}`;
    assert.equal((await rig.call('GET', target)).status, 400);
  }
});

test('cancelled it stops its engine, stays cancelled, and is nobody else’s to cancel', async () => {
  const rig = new Rig();
  rig.answers = ['wait'];
  const { id } = await rig.create(BODY);
  await until(() => rig.jobs.length === 1);
  const path = `/v1/responses/${id}`;
  assert.equal((await rig.call('POST', `${path}/cancel`, { tenant: 'other' })).status, 404);
  const cancelled = (await rig.call('POST', `${path}/cancel`)).json();
  assert.equal(cancelled.status, 'cancelled');
  assert.deepEqual((await rig.call('POST', `${path}/cancel`)).json(), cancelled);
  assert.deepEqual((await rig.call('GET', path)).json(), cancelled);
  await until(() => rig.receipts.length === 1);
  assert.notEqual(rig.receipts[0].actual.status, 'done');
  const plain = await rig.create({ input: 'x' });
  assert.equal((await rig.call('POST', `/v1/responses/${plain.id}/cancel`)).status, 400);
});

test('what is wrong with it is said at once; what goes wrong later is its failure', async () => {
  const rig = new Rig();
  for (const [wrong, status] of [
    [{ input: [{ role: 'nobody', content: '' }] }, 400],
    [{ model: 'other' }, 404],
    [{ store: false }, 400],
  ] as const) {
    const reply = await rig.call('POST', '/v1/responses', { body: { ...BODY, ...wrong } });
    assert.equal(reply.status, status, reply.text);
  }
  rig.answers = ['fail'];
  const { id } = await rig.create(BODY);
  const get = async () => (await rig.call('GET', `/v1/responses/${id}`)).json();
  const failed = await untilStatus(get, 'failed');
  assert.match(String((failed.error as Json).message), /As the test says/);
});

test('so many at once, and each is there to be deleted while it runs', async () => {
  const rig = new Rig();
  rig.answers = ['wait', 'wait'];
  const [first] = [await rig.create(BODY), await rig.create(BODY)];
  const third = await rig.call('POST', '/v1/responses', { body: BODY });
  assert.deepEqual([third.status, third.code()], [503, 'queue_full']);
  assert.ok(third.headers['retry-after']);
  assert.equal((await rig.call('DELETE', `/v1/responses/${first.id}`)).status, 200);
  await until(() => rig.receipts.length === 1);
  assert.equal((await rig.call('GET', `/v1/responses/${first.id}`)).status, 404);
  await rig.create(BODY);
});

function numbersOf(reply: MemoryReply): number[] {
  return reply.events().map(({ sequence_number }) => Number(sequence_number));
}

function textOf(response: Json): unknown {
  const [message] = response.output as { content: { text: string }[] }[];
  return message.content[0].text;
}

async function untilStatus(get: () => Promise<Json>, status: string): Promise<Json> {
  for (;;) {
    const response = await get();
    if (response.status === status) return response;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
