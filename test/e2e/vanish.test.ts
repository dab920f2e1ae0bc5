/** Clients that leave: what they held is free again, and everybody else is served. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Receipt } from '../../src/model/receipt.ts';
import { assertCleanEnd, get, type OpenStream, openStream, streamChat } from './client.ts';
import { SMALL, type Stack, scripted, startUp, until } from './stack.ts';

const TOGETHER = 20;
/** Longer than any of these tests: whoever ends sooner was stopped. */
const ENDLESS = 'and so on '.repeat(4000);

let computing: Stack;
let simulated: Stack;
before(async () => {
  const rules = [
    { match: 'wait for it', text: 'late', delayMs: 600_000 },
    { match: 'never stop', text: ENDLESS, tokenDelayMs: 20 },
  ];
  [computing, simulated] = await Promise.all([
    startUp([...SMALL, '--allow-forced-output', '--context=65536']),
    startUp(scripted(rules)),
  ]);
});

const endless = {
  model: 'demo',
  stream: true,
  messages: [{ role: 'user', content: 'never stop' }],
  nvext: { forced_output: ENDLESS },
};

test('a client that leaves in mid-stream frees gateway and engine', async () => {
  const stream = await openStream(`${computing.url}/v1/chat/completions`, endless);
  await textsOf(stream, 3);
  assert.equal((await computing.snapshot()).running, 1);
  assert.equal(await busySlots(computing), 1);
  stream.destroy();
  await until('nothing runs any more', () => computing.isIdle());
  assert.equal((await receiptOf(computing, stream)).actual.status, 'cancelled');
  await assertServes(computing);
});

test(`${TOGETHER} clients that leave together free all they held`, async () => {
  const streams = await Promise.all(
    Array.from({ length: TOGETHER }, (_, i) => {
      const messages = [{ role: 'user', content: `never stop, number ${i}` }];
      return openStream(`${simulated.url}/v1/messages`, {
        model: 'demo',
        stream: true,
        max_tokens: 8000,
        messages,
      });
    }),
  );
  await Promise.all(streams.map((stream) => textsOf(stream, 2)));
  assert.equal((await simulated.snapshot()).running, TOGETHER);
  const other = streamChat(simulated.url, { messages: [{ role: 'user', content: 'Me too.' }] });
  for (const stream of streams) stream.destroy();
  await until('nothing runs any more', () => simulated.isIdle());
  assertCleanEnd(await other);
  for (const stream of streams) {
    assert.equal((await receiptOf(simulated, stream)).actual.status, 'cancelled');
  }
  await assertServes(simulated);
});

test('clients that leave while they wait for a slot are forgotten', async () => {
  // Two workers of two slots, and no more requests than four a slot: the rest waits in the gateway.
  const streams = Array.from({ length: TOGETHER }, (_, i) =>
    openStream(`${computing.url}/v1/chat/completions`, {
      ...endless,
      messages: [{ role: 'user', content: `never stop, waiter ${i}` }],
    }),
  );
  const all = Promise.allSettled(streams);
  await until('some run and some wait', async () => {
    const { running, waiting } = await computing.snapshot();
    return running === 16 && waiting === TOGETHER - 16;
  });
  // Those who still wait have had no answer: their sockets are broken off before any header.
  const slow = new AbortController();
  const extra = fetch(`${computing.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify(endless),
    signal: slow.signal,
  }).catch(() => 'left');
  await until('one more waits', async () => (await computing.snapshot()).waiting === 5);
  slow.abort();
  assert.equal(await extra, 'left');
  await until('it is forgotten', async () => (await computing.snapshot()).waiting === 4);
  const open = new Set<OpenStream>();
  for (const stream of streams) void stream.then((it) => open.add(it)).catch(() => {});
  await until('everybody has left', async () => {
    // Each that leaves lets another in, who leaves then.
    for (const stream of open) stream.destroy();
    return computing.isIdle();
  });
  await all;
  await assertServes(computing);
});

test('a client that leaves before the first token frees what it held', async () => {
  const leaving = new AbortController();
  const reply = fetch(`${simulated.url}/v1/messages`, {
    method: 'POST',
    body: JSON.stringify({
      model: 'demo',
      max_tokens: 50,
      messages: [{ role: 'user', content: 'wait for it' }],
    }),
    signal: leaving.signal,
  }).catch(() => 'left');
  await until('it runs', async () => (await simulated.snapshot()).running === 1);
  leaving.abort();
  assert.equal(await reply, 'left');
  await until('nothing runs any more', () => simulated.isIdle());
  await assertServes(simulated);
});

async function textsOf(stream: OpenStream, count: number): Promise<void> {
  assert.equal(stream.status, 200);
  for (let texts = 0; texts < count; ) {
    const { value } = await stream.events.next();
    if (/"(content|text)":"[^"]+"/.test(value.data)) texts++;
  }
}

async function busySlots(stack: Stack): Promise<number> {
  const { workers } = await stack.snapshot();
  return workers.flatMap(({ engine }) => engine?.slots ?? []).filter(({ busy }) => busy).length;
}

async function receiptOf(stack: Stack, { headers }: OpenStream): Promise<Receipt> {
  const id = headers['x-stator-receipt'];
  return (await get<Receipt>(`${stack.url}/stator/v1/receipts/${id}`)).body;
}

/** All slots of all workers at once, so that none is lost. */
async function assertServes(stack: Stack): Promise<void> {
  const asks = Array.from({ length: 8 }, (_, i) =>
    streamChat(stack.url, { messages: [{ role: 'user', content: `Next, please: ${i}.` }] }),
  );
  for (const answer of await Promise.all(asks)) {
    assertCleanEnd(answer);
    assert.notEqual(answer.text, '');
  }
  await until('nothing runs any more', () => stack.isIdle());
}
