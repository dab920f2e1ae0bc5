/** A client that stops reading holds its engine, not our memory, and nobody else. */
import assert from 'node:assert/strict';
import { type IncomingMessage, request } from 'node:http';
import { before, test } from 'node:test';
import { assertCleanEnd, streamChat } from './client.ts';
import { begin, chunkOf, type EngineCall, FakeEngine, finish, serveBefore } from './fake-engine.ts';
import { inTime, procFile, type Stack, until } from './stack.ts';

/** What the engine would say if it were let. */
const FLOOD_BYTES = 400_000_000;
/** Socket buffers of the system on both sides of the gateway; on Linux up to 4 + 6 MB each. */
const UNDERWAY_BYTES_MAX = 40_000_000;
const GROWTH_BYTES_MAX = 80_000_000;

const engine = new FakeEngine({ slots: 4, stepUs: 1 });
let stack: Stack;
before(async () => {
  await engine.start();
  stack = await serveBefore(engine, { readerUsMax: 4_000_000 });
  await answered('warm', 20);
});

const sent = (content: string) => ({ model: 'm', messages: [{ role: 'user', content }] });

test('the engine is held, memory is bounded, others go on, and it ends in words', async () => {
  const beforeBytes = rssBytes();
  const opening = open(sent('flood'));
  const flooding = await callOf('flood');
  begin(flooding);
  const response = await opening;
  response.once('data', () => response.pause());
  const flooded = flood(flooding);
  const other = await answered('other', 2000);
  assert.equal(other.text.length, 'begun'.length + 2000 * 10);
  // Nothing but the limit for readers ends it.
  const saidBytes = await flooded;
  assert.ok(flooding.isClosed, 'the engine was left');
  assert.ok(saidBytes < UNDERWAY_BYTES_MAX, `${saidBytes} bytes were taken for a stopped reader`);
  const grownBytes = rssBytes() - beforeBytes;
  console.log(`  taken ${mb(saidBytes)} MB, gateway grown by ${mb(grownBytes)} MB`);
  assert.ok(grownBytes < GROWTH_BYTES_MAX, `it grew by ${mb(grownBytes)} MB`);
  const { running, waiting } = await stack.snapshot();
  assert.deepEqual([running, waiting], [0, 0], 'its place is free');
  const end = await inTime('the rest is there', lastOf(response));
  assert.match(
    end,
    /"message":"The client read nothing of this stream for 4 s, so it ended here\."/,
  );
  await answered('after', 20);
});

test('who reads slowly, but reads, gets all of it', async () => {
  const opening = open(sent('steady'));
  const steady = await callOf('steady');
  begin(steady);
  const response = await opening;
  const bytes = 20_000_000;
  const whole = flood(steady, bytes).then(() => finish(steady));
  let received = 0;
  let rested = 0;
  for await (const chunk of response) {
    received += (chunk as Buffer).length;
    if (received - rested < 200_000) continue;
    rested = received;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await whole;
  assert.ok(received > bytes, `${received}`);
});

/** Says as much as is taken; resolves to how much that was. */
async function flood(call: EngineCall, bytesMax = FLOOD_BYTES): Promise<number> {
  const { response } = call;
  const chunk = chunkOf('x'.repeat(1000));
  let bytes = 0;
  while (bytes < bytesMax && !call.isClosed) {
    bytes += chunk.length;
    if (response.write(chunk)) continue;
    await new Promise<void>((resolve) => {
      const go = () => {
        response.off('drain', go).off('close', go);
        resolve();
      };
      response.once('drain', go).once('close', go);
    });
  }
  return bytes;
}

/** An answer of so many parts of ten characters, read as it comes. */
async function answered(content: string, parts: number) {
  const streamed = streamChat(stack.url, sent(content));
  const call = await callOf(content);
  begin(call);
  for (let i = 0; i < parts; i++) {
    call.response.write(chunkOf('0123456789'));
    if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  finish(call);
  const answer = await streamed;
  assertCleanEnd(answer);
  return answer;
}

async function callOf(content: string): Promise<EngineCall> {
  const find = () => engine.calls.find(({ prompt }) => prompt === content);
  await until(`the engine is asked for ${content}`, () => find() !== undefined);
  return find() ?? assert.fail();
}

function open(body: object): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = {
      method: 'POST',
      agent: false as const,
      headers: { 'content-type': 'application/json' },
    };
    request(`${stack.url}/v1/chat/completions`, options, resolve)
      .on('error', reject)
      .end(JSON.stringify({ ...body, stream: true }));
  });
}

/** Reads on to the end; resolves to the last that came. */
async function lastOf(response: IncomingMessage): Promise<string> {
  let last = '';
  for await (const chunk of response) last = (last + String(chunk)).slice(-2000);
  return last;
}

/** 0 where the system does not tell. */
function rssBytes(): number {
  if (process.platform !== 'linux') return 0;
  return 1024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(procFile(stack.pid, 'status'))?.[1]);
}

function mb(bytes: number): number {
  return Math.round(bytes / 1e6);
}
