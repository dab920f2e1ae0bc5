/** 2,000 requests at once for 4 slots: each is answered or refused in a sentence, none hangs. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import type { EngineReport } from '../../src/ports.ts';
import { get } from './client.ts';
import { inTime, procFile, SMALL, startUp, startWorker, until } from './stack.ts';

const CROWD = 2000;
const CROWD_MS_MAX = 120_000;
/** For 2,000 requests that wait, with their sockets and prompts. */
const GROWTH_BYTES_MAX = 200_000_000;

interface Outcome {
  status: number;
  text: string;
  retryAfter: string | undefined;
}

test('a worker takes what it said it would and refuses the rest at once, in words', async () => {
  const worker = await startWorker([...SMALL.slice(0, 2), '--slots=4', '--disk=0']);
  const { url, requestsMax } = worker.card;
  await ask(url, '/v1/completions', { model: 'demo', prompt: 'warm', max_tokens: 1 });
  const before = rssBytes(worker.pid);
  const outcomes = await crowd(url, '/v1/completions', (i) => ({
    model: 'demo',
    prompt: `The ${i}th`,
    max_tokens: 1,
  }));
  const { answered, refused } = sorted(outcomes);
  assert.ok(answered >= requestsMax, `${answered} of the ${requestsMax} it has room for`);
  console.log(`  worker: ${answered} answered, ${refused} refused`);
  assertBounded(worker.pid, before);
  const { body } = await get<EngineReport>(`${url}/stator/v1/report`);
  assert.deepEqual([body.running, body.waiting], [0, 0]);
});

test('a gateway before it keeps them waiting, or refuses with Retry-After', async () => {
  const stack = await startUp([...SMALL.slice(0, 2), '--slots=4', '--workers=1', '--disk=0']);
  const outcomes = await crowd(stack.url, '/v1/chat/completions', (i) => ({
    model: 'demo',
    messages: [{ role: 'user', content: `Number ${i}?` }],
    max_tokens: 1,
  }));
  const { answered, refused } = sorted(outcomes);
  console.log(`  gateway: ${answered} answered, ${refused} refused`);
  for (const { status, retryAfter } of outcomes) {
    if (status !== 200) assert.match(retryAfter ?? '', /^\d+$/);
  }
  await until('nothing runs any more', () => stack.isIdle());
});

/** All are sent before the first is answered. */
function crowd(url: string, path: string, body: (i: number) => object): Promise<Outcome[]> {
  const all = Array.from({ length: CROWD }, (_, i) => ask(url, path, body(i)));
  return inTime('all are answered or refused', Promise.all(all), CROWD_MS_MAX);
}

function ask(url: string, path: string, body: object): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const options = {
      method: 'POST',
      agent: false,
      headers: { 'content-type': 'application/json' },
    };
    request(`${url}${path}`, options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const retryAfter = response.headers['retry-after'];
        resolve({ status: response.statusCode ?? 0, text, retryAfter });
      });
    })
      .on('error', reject)
      .end(JSON.stringify(body));
  });
}

function sorted(outcomes: readonly Outcome[]): { answered: number; refused: number } {
  let answered = 0;
  for (const { status, text } of outcomes) {
    const reply = JSON.parse(text) as { choices?: unknown[]; error?: { message: string } };
    if (status === 200) {
      assert.equal(reply.choices?.length, 1);
      answered++;
      continue;
    }
    assert.ok([429, 503].includes(status), `${status}: ${text}`);
    assert.match(reply.error?.message ?? '', /^[A-Z].*\.$/);
  }
  return { answered, refused: outcomes.length - answered };
}

function assertBounded(pid: number, beforeBytes: number | undefined): void {
  const bytes = rssBytes(pid);
  if (bytes === undefined || beforeBytes === undefined) return;
  const grown = bytes - beforeBytes;
  console.log(`  memory of the worker: ${mb(beforeBytes)} MB before, ${mb(bytes)} after`);
  assert.ok(grown < GROWTH_BYTES_MAX, `it grew by ${mb(grown)} MB`);
}

/** Undefined where the system does not tell. */
function rssBytes(pid: number): number | undefined {
  if (process.platform !== 'linux') return undefined;
  return 1024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(procFile(pid, 'status'))?.[1]);
}

function mb(bytes: number): number {
  return Math.round(bytes / 1e6);
}
