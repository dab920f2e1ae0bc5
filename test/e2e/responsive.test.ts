/** A worker that computes a long prompt still answers, and so does its gateway. */
import assert from 'node:assert/strict';
import { get as httpGet } from 'node:http';
import { before, test } from 'node:test';
import { post } from './client.ts';
import { type Stack, startUp, until } from './stack.ts';

const PROMPT_TOKENS = 16_000;
const ASKS = 200;
/** The line is 50 ms; here it is the bound at which something is surely wrong. */
const P99_MS_MAX = 250;

let stack: Stack;
before(async () => {
  stack = await startUp(['--workers=1', '--memory=1GB', '--context=32768', '--slots=2']);
});

test('/health of worker and gateway while a prompt of 16k tokens is computed', async () => {
  const [card] = (await stack.cards()).values();
  const words = Array.from({ length: PROMPT_TOKENS }, (_, i) => ['one', 'two', 'ten'][i % 3]);
  let ended = false;
  let askedMeanwhile = 0;
  const figures: Record<string, number[]> = { worker: [], gateway: [] };
  const measure = async () => {
    for (let i = 0; i < ASKS; i++) {
      for (const [who, url] of Object.entries({ worker: card.url, gateway: stack.url })) {
        figures[who].push(await healthMs(url));
        if (!ended) askedMeanwhile++;
      }
    }
  };
  const prompt = words.join(' ');
  const { body } = await post<{ count: number }>(`${card.url}/tokenize`, { prompt });
  assert.ok(body.count >= PROMPT_TOKENS, `${body.count} tokens`);
  const leaving = new AbortController();
  const prefill = fetch(`${card.url}/v1/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'demo', prompt, max_tokens: 1 }),
    signal: leaving.signal,
  })
    .then(({ status }) => status)
    .catch(() => 'left')
    .finally(() => {
      ended = true;
    });
  await until('it computes', async () => !(await stack.isIdle()));
  await measure();
  // Enough was measured: the rest of the prompt would only take time.
  leaving.abort();
  await prefill;
  await until('nothing runs any more', () => stack.isIdle());
  assert.ok(askedMeanwhile >= ASKS, `${askedMeanwhile} were asked while it computed`);
  for (const [who, ms] of Object.entries(figures)) {
    ms.sort((a, b) => a - b);
    const at = (share: number) => ms[Math.min(ms.length - 1, Math.floor(ms.length * share))];
    const [p50, p99] = [at(0.5), at(0.99)];
    console.log(
      `  /health of the ${who}: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms (${askedMeanwhile} of ${2 * ASKS} during the prefill)`,
    );
    assert.ok(p99 <= P99_MS_MAX, `${who}: p99 ${p99} ms`);
  }
});

function healthMs(url: string): Promise<number> {
  const startMs = performance.now();
  return new Promise((resolve, reject) => {
    httpGet(`${url}/health`, (response) => {
      response.resume().on('end', () => {
        assert.equal(response.statusCode, 200);
        resolve(performance.now() - startMs);
      });
    }).on('error', reject);
  });
}
