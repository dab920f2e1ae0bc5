/** The simulated worker: what it answers is a function of prompt and seed, on every worker. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { WorkerCard } from '../../src/model/worker-card.ts';
import type { EngineReport } from '../../src/ports.ts';
import { get, openStream, post, streamChat } from './client.ts';
import { type Running, type Stack, startUp, startWorker, until } from './stack.ts';

type Completion = { choices: { text: string; finish_reason: string }[] };
type Worker = Running & { card: WorkerCard };

let one: Worker;
let two: Worker;
let up: Stack;
before(async () => {
  up = await startUp(['--engine=sim', '--workers=2']);
  [one, two] = await Promise.all([
    startWorker(['--engine=sim', '--name=one']),
    startWorker(['--engine=sim', '--name=two']),
  ]);
});

const PROMPT = 'What did the king say to the other king?';

test('every worker answers the same prompt with the same tokens', async () => {
  const ids = await tokensOf(one, PROMPT);
  const answers = [
    await complete(one, ids, 30),
    await complete(two, ids, 30),
    await complete(one, ids, 30),
  ];
  assert.ok(answers[0].length >= 20);
  assert.deepEqual(answers[1], answers[0], 'another worker');
  assert.deepEqual(answers[2], answers[0], 'from its cache');
  const other = await complete(one, await tokensOf(one, `${PROMPT}!`), 30);
  assert.notDeepEqual(other, answers[0], 'another prompt');
});

test('prompt and emitted tokens are continued as if nothing had happened', async () => {
  const ids = await tokensOf(one, `${PROMPT} Go on.`);
  const whole = await complete(one, ids, 40);
  for (const cut of [1, 7, 16, 19]) {
    const rest = await complete(two, [...ids, ...whole.slice(0, cut)], 40 - cut);
    assert.deepEqual(rest, whole.slice(cut), `after ${cut} tokens`);
  }
});

test('its disk is modelled where one is asked for: KV goes there, and no file is written', async () => {
  assert.equal(one.card.disk, null);
  const worker = await startWorker(['--engine=sim', '--disk=100MB']);
  const { disk } = worker.card;
  assert.ok(disk !== null && disk.blocks > 0 && disk.folder === '');
  const ids = await tokensOf(worker, PROMPT.repeat(20));
  await complete(worker, ids, 5);
  await until('it is on the disk', async () => {
    const { body } = await get<EngineReport>(`${worker.card.url}/stator/v1/report`);
    return body.diskBlocks === Math.floor((ids.length + 4) / 16);
  });
  const small = await startWorker(['--engine=sim', '--disk=1kB']);
  assert.match(
    small.stderr,
    /^KV is not kept on disk, because 1000 B are less than .*--disk 0\.$/m,
  );
  assert.equal(small.card.disk, null);
});

test('through the gateway both workers say the same', async () => {
  const messages = [{ role: 'user', content: PROMPT }];
  const texts = new Map<unknown, string>();
  await post(`${up.url}/stator/v1/policies`, { policy: 'round-robin' });
  for (let i = 0; i < 4; i++) {
    const answer = await streamChat(up.url, { messages });
    texts.set(answer.headers['x-stator-worker'], answer.text);
  }
  assert.equal(texts.size, 2, 'both were asked');
  assert.equal(new Set(texts.values()).size, 1);
});

test('text, one token list and a list of one text are the same prompt', async () => {
  const ids = await tokensOf(one, PROMPT);
  const texts = await Promise.all(
    [PROMPT, [PROMPT], ids].map(async (prompt) => {
      const body = { model: 'demo', prompt, max_tokens: 10 };
      const reply = await post<Completion>(`${one.card.url}/v1/completions`, body);
      assert.equal(reply.status, 200, reply.text);
      return reply.body.choices[0].text;
    }),
  );
  assert.equal(new Set(texts).size, 1);
});

test('a token that does not exist and a prompt that is none are refused', async () => {
  for (const prompt of [[1, 2, 10_000_000], [], '', [1.5], [-1], [[1], [2]], 7, null]) {
    const body = { model: 'demo', prompt, max_tokens: 3 };
    const { status, text } = await post(`${one.card.url}/v1/completions`, body);
    assert.equal(status, 400, `${JSON.stringify(prompt)}: ${text}`);
  }
  assert.equal((await complete(one, await tokensOf(one, PROMPT), 3)).length, 3);
});

test('what is tokenized is detokenized to the same text', async () => {
  const text = 'Größe, 漢字 and 👩‍👩‍👧 — “quotes”\n\n\tindented  twice';
  const tokens = await tokensOf(one, text);
  const { body } = await post<{ prompt: string }>(`${one.card.url}/detokenize`, { tokens });
  assert.equal(body.prompt, text);
});

test('a worker whose parent goes, goes', async () => {
  two.child.stdin?.end();
  await two.ended;
});

async function tokensOf(worker: Worker, prompt: string): Promise<number[]> {
  const reply = await post<{ tokens: number[] }>(`${worker.card.url}/tokenize`, { prompt });
  assert.equal(reply.status, 200);
  return reply.body.tokens;
}

/** The ids of the answer, as vLLM tells them. */
async function complete(worker: Worker, prompt: number[], count: number): Promise<number[]> {
  const body = {
    model: 'demo',
    prompt,
    max_tokens: count,
    stream: true,
    return_token_ids: true,
  };
  const { events } = await openStream(`${worker.card.url}/v1/completions`, body);
  const ids: number[] = [];
  for await (const { data } of events) {
    if (data === '[DONE]') break;
    const chunk = JSON.parse(data) as { choices: { token_ids?: number[] }[] };
    ids.push(...(chunk.choices[0]?.token_ids ?? []));
  }
  return ids;
}
