/**
 * A worker that has served many requests of many sessions takes no more memory than one that has served
 * some: all tiers are filled first, then the median of each quarter is compared.
 *
 *   STATOR_FLAT_REQUESTS=20000 node --import tsx --test test/e2e/flat-memory.test.ts     the full size
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Prng } from '../../src/base/prng.ts';
import { openStream, post } from './client.ts';
import { procFile, startWorker } from './stack.ts';

const REQUESTS = Number(process.env.STATOR_FLAT_REQUESTS ?? 400);
/**
 * Not counted: what fills the tiers, the runtime's own heap, and the 10,000 batches of KV events that are
 * kept for replay, one and more a request.
 */
const FILLING = Math.max(400, REQUESTS / 2);
const SESSIONS = 60;
const AT_ONCE = 8;
const CONTEXT = 512;
/** Short prompts: it is their number that counts. */
const PROMPT_MAX = 400;
const SAMPLE_EVERY = 10;
/** The line; the heaps of both threads settle only after some thousand requests. */
const SHARE_MAX = 0.05;
const SETTLED = 10_000;
/** Before that, no more than they are known to grow by. */
const GROWTH_BYTES_MAX = 80_000_000;

for (const engine of ['llama', 'sim']) {
  test(`${engine}: memory is flat over ${REQUESTS} requests of ${SESSIONS} sessions`, (t) =>
    flat(engine, t));
}

async function flat(engine: string, t: TestContext): Promise<void> {
  if (process.platform !== 'linux') return t.skip('memory of a process is read from /proc');
  // Little room, so that slots, host store and files are full, and turn over, from early on.
  const flags = [
    `--engine=${engine}`,
    '--memory=215MB',
    `--context=${CONTEXT}`,
    '--slots=4',
    '--disk=20MB',
  ];
  const worker = await startWorker(flags);
  const random = new Prng(1);
  const histories = Array.from({ length: SESSIONS }, () => ids(random, 40 + random.below(100)));
  const samples: number[] = [];
  let begun = 0;
  const client = async () => {
    while (begun < FILLING + REQUESTS) {
      const number = begun++;
      const which = random.below(SESSIONS);
      histories[which] = next(histories[which], random);
      await ask(worker.card.url, histories[which], random.below(20));
      if (number >= FILLING && number % SAMPLE_EVERY === 0) samples.push(rssBytes(worker.pid));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, client));
  const quarter = Math.floor(samples.length / 4);
  const quarters = [0, 1, 2, 3].map((i) => median(samples.slice(i * quarter, (i + 1) * quarter)));
  const said = quarters.map((bytes) => (bytes / 1e6).toFixed(1)).join(', ');
  console.log(
    `  ${engine}: memory by quarters: ${said} MB; of ${worker.card.memory.budgetBytes / 1e6} MB`,
  );
  const [first] = quarters;
  const most = REQUESTS < SETTLED ? GROWTH_BYTES_MAX : SHARE_MAX * first;
  for (const bytes of quarters) assert.ok(Math.abs(bytes - first) <= most, said);
}

/** Most are answered whole, some streamed, and some clients leave before the end. */
async function ask(url: string, prompt: number[], kind: number): Promise<void> {
  const body = { model: 'demo', prompt, max_tokens: 4, temperature: kind < 10 ? 0 : 0.8 };
  if (kind >= 3) {
    const { status, text } = await post(`${url}/v1/completions`, body);
    assert.equal(status, 200, text);
    return;
  }
  const stream = await openStream(`${url}/v1/completions`, { ...body, stream: true });
  assert.equal(stream.status, 200);
  for await (const _ of stream.events) if (kind === 0) break;
  stream.destroy();
}

/** The next turn of a session; one that became too long begins anew. */
function next(history: number[], random: Prng): number[] {
  if (history.length > PROMPT_MAX) return ids(random, 40 + random.below(100));
  return [...history, ...ids(random, 5 + random.below(40))];
}

function ids(random: Prng, count: number): number[] {
  return Array.from({ length: count }, () => 300 + random.below(15_000));
}

function rssBytes(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(procFile(pid, 'status'))?.[1]);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
