/** Our ids are the engine's: a slice of text at a time, as llama.cpp's own tokenizer makes them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Prng } from '../../src/base/prng.ts';
import { loadModel } from '../../src/cli/load-model.ts';
import { RunnerLlama } from '../../src/engines/runner-llama.ts';
import { demoModel } from '../../src/weights/demo-model.ts';
import { sampleSlices } from '../../src/worker/token-check.ts';
import { CACHE } from './stack.ts';

const SLICES = 10_000;

test(`ids equal llama_tokenize on ${SLICES} slices of the fixtures`, async () => {
  const model = demoModel(CACHE);
  const { tokens } = loadModel(model, 16);
  const runner = await RunnerLlama.start(
    {
      model,
      slots: 1,
      contextTokens: 2048,
      batchTokens: 128,
      blockTokens: 16,
      hostBlocks: 0,
      threads: 1,
      device: 'cpu',
    },
    assert.fail,
  );
  const slices = [...fixtureSlices(SLICES), ...sampleSlices(1000)];
  const theirs = await runner.tokenize(slices);
  const differing = slices.filter((slice, i) => tokens.encode(slice).join() !== theirs[i].join());
  console.log(`  ${slices.length - differing.length} of ${slices.length} slices have the same ids`);
  assert.deepEqual(differing.slice(0, 3), []);
  await runner.close();
});

function fixtureSlices(count: number): string[] {
  const text = Array.from(
    ['tau-bench-airline-10tasks', 'lmcache-mini-swe-agent-6']
      .map((folder) => readFileSync(`test/fixtures/traces/${folder}/messages.jsonl.gz`))
      .map((packed) => gunzipSync(packed).toString('utf8'))
      .join('\n'),
  );
  const rng = new Prng(1);
  return Array.from({ length: count }, () => {
    const start = rng.below(text.length);
    return text.slice(start, start + 1 + rng.below(400)).join('');
  });
}
