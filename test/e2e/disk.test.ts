/** KV in files: found again after a restart, refused where damaged, and never in the way of serving. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type BuiltWorker, buildWorker } from '../../src/cli/build-worker.ts';
import { WorkerSettings } from '../../src/model/config.ts';
import { demoModel } from '../../src/weights/demo-model.ts';
import { plainJob } from '../plain-job.ts';
import { CACHE, FOLDER, startWorker, until } from './stack.ts';

const PROMPT_TOKENS = 1300;
const CHUNK = 256;

test('after a restart KV comes from disk, and logits are those of computing it', async () => {
  const diskFolder = folder();
  const first = await start(diskFolder);
  const cold = [];
  for (let seed = 0; seed < 4; seed++) cold.push(await answer(first, seed));
  assert.ok(cold.every(({ cachedTokens }) => cachedTokens === 0));
  await saved(first, 4 * Math.floor(PROMPT_TOKENS / CHUNK) * (CHUNK / 16));
  await first.close();

  const second = await start(diskFolder);
  assert.equal(second.card.disk?.folder, first.card.disk?.folder);
  assert.ok((second.card.disk?.blocksFound ?? 0) > 0);
  for (let seed = 0; seed < 4; seed++) {
    const again = await answer(second, seed);
    assert.equal(again.cachedTokens, Math.floor(PROMPT_TOKENS / CHUNK) * CHUNK);
    assert.equal(again.digests, cold[seed].digests);
  }
  const other = await answer(second, 0, 'another tenant');
  assert.equal(other.cachedTokens, 0, 'nothing crosses a salt');
  assert.equal(other.digests, cold[0].digests);
  await second.close();

  const ours = second.card.disk?.folder ?? '';
  for (const [i, name] of readdirSync(ours).filter(isBlockFile).entries()) {
    const bytes = readFileSync(join(ours, name));
    bytes[i % 2 === 0 ? bytes.length - 1000 - i : 60] ^= 4;
    writeFileSync(join(ours, name), bytes);
  }
  const third = await start(diskFolder);
  for (let seed = 0; seed < 4; seed++) {
    const again = await answer(third, seed);
    assert.equal(again.digests, cold[seed].digests, 'a damaged file is a miss');
  }
  await third.close();
});

test('killed while it writes, a worker starts again and finds what is whole', async () => {
  const diskFolder = folder();
  const flags = ['--memory=500MB', '--slots=2', '--context=4096', `--disk-folder=${diskFolder}`];
  const worker = await startWorker([...flags, '--disk=200MB']);
  const ours = worker.card.disk?.folder ?? assert.fail('it has a disk');
  const asking = Array.from({ length: 6 }, (_, seed) => ask(worker.card.url, seed).catch(() => {}));
  await until('it has begun to write', () => readdirSync(ours).length > 1);
  worker.child.kill('SIGKILL');
  await Promise.all([worker.ended, ...asking]);
  const again = await startWorker([...flags, '--disk=200MB']);
  assert.equal(again.card.disk?.folder, ours, 'the lock went with its holder');
  assert.deepEqual(
    readdirSync(ours).filter((name) => name !== 'lock' && !isBlockFile(name)),
    [],
  );
  const beside = await startWorker([...flags, '--disk=200MB']);
  assert.notEqual(beside.card.disk?.folder, ours, 'two workers do not share a folder');
  const answers = await Promise.all(
    [again, beside].map(async ({ card }) => (await ask(card.url, 0)).choices[0].text),
  );
  assert.equal(answers[0], answers[1]);
});

test('a folder that cannot be written is said in a sentence, and serving goes on', async () => {
  const inTheWay = join(folder(), 'file');
  writeFileSync(inTheWay, '');
  const worker = await startWorker([
    '--memory=500MB',
    '--slots=1',
    '--context=2048',
    '--disk=100MB',
    `--disk-folder=${inTheWay}`,
  ]);
  assert.match(worker.stderr, /^KV is not kept on disk, because .* cannot be used .*--disk 0\.$/m);
  assert.equal(worker.card.disk, null);
  assert.equal((await ask(worker.card.url, 1)).choices.length, 1);
});

interface Completion {
  choices: { text: string }[];
}

async function ask(url: string, seed: number): Promise<Completion> {
  const body = { model: 'demo', prompt: idsOf(seed), max_tokens: 4, temperature: 0 };
  const reply = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    body: JSON.stringify(body),
  });
  assert.equal(reply.status, 200);
  return (await reply.json()) as Completion;
}

async function answer(
  { engine }: BuiltWorker,
  seed: number,
  cacheSalt = '',
): Promise<{ digests: string; cachedTokens: number }> {
  const parts = engine.generate(
    plainJob({
      model: 'demo',
      prompt: { kind: 'tokens', ids: Uint32Array.from(idsOf(seed)) },
      outputTokensMax: 3,
      cacheSalt,
      engineData: true,
    }),
    new AbortController().signal,
  );
  const digests: string[] = [];
  let cachedTokens = -1;
  for await (const part of parts) {
    assert.notEqual(part.kind, 'error');
    if (part.kind === 'text') digests.push(...(part.engineData?.logitsDigests ?? []));
    if (part.kind === 'done') cachedTokens = part.usage.cachedTokens ?? 0;
  }
  assert.ok(digests.length > 0);
  return { digests: digests.join(), cachedTokens };
}

async function saved({ engine }: BuiltWorker, blocks: number): Promise<void> {
  await until('all is on disk', async () => ((await engine.report())?.diskBlocks ?? 0) >= blocks);
}

function idsOf(seed: number): number[] {
  return Array.from({ length: PROMPT_TOKENS }, (_, i) => 300 + ((i * 7 + seed * 131) % 4000));
}

function isBlockFile(name: string): boolean {
  return /^[0-9a-f]{16}-[0-9a-z]+\.kv$/.test(name);
}

function folder(): string {
  return mkdtempSync(join(FOLDER, 'kv-'));
}

function start(diskFolder: string): Promise<BuiltWorker> {
  const settings = WorkerSettings.parse({
    engine: 'llama',
    name: 'disk',
    model: demoModel(CACHE),
    modelName: 'demo',
    memoryBytes: 500_000_000,
    contextTokens: 2048,
    exact: true,
    diskBytes: 200_000_000,
    diskFolder,
    tokenSlices: 0,
  });
  return buildWorker(settings, (error) => {
    throw error;
  });
}
