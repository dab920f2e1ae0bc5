/**
 * `node --import tsx test/vllm/record.ts URL FOLDER`: asks a vLLM server what our adapter asks it, and
 * writes down what it answered, as fixtures of unit tests. Its model is the one of model-folder.ts.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Dealer } from 'zeromq';

const [url, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

/** Two blocks of 32 and a bit more. */
const IDS = Array.from({ length: 70 }, (_, i) => 300 + i);
const completion = {
  ...{ model: 'demo', prompt: IDS, max_tokens: 4, temperature: 0, stream: true },
  ...{ stream_options: { include_usage: true }, return_token_ids: true },
};
const BATCHES_KEPT = 12;
const messages = [{ role: 'user', content: 'Once upon a time' }];

const introduction: Record<string, unknown> = {
  'GET /version': await asked('GET', '/version'),
  'GET /v1/models': await asked('GET', '/v1/models'),
  'GET /kv_event_sources': await asked('GET', '/kv_event_sources'),
  'GET /server_info?config_format=json': settings(
    await asked('GET', '/server_info?config_format=json'),
  ),
  'POST /tokenize': await asked('POST', '/tokenize', { model: 'demo', prompt: 'Hello world' }),
  'GET /metrics': plain(await (await fetch(`${url}/metrics`)).text()),
};
keep('introduction.json', JSON.stringify(introduction, null, 1));
keep('tokens.sse', await text('/v1/completions', completion));
keep('tokens-cached.sse', await text('/v1/completions', completion));
keep(
  'tokens-logprobs.sse',
  await text('/v1/completions', { ...completion, prompt: IDS.slice(0, 9), logprobs: 2 }),
);
keep(
  'chat.sse',
  await text('/v1/chat/completions', {
    ...{ model: 'demo', messages, max_tokens: 4, temperature: 0, stream: true },
    stream_options: { include_usage: true },
  }),
);
const tooLong = Array.from({ length: 40_000 }, () => 300);
keep('too-long.json', await text('/v1/completions', { model: 'demo', prompt: tooLong }));
await keepEvents();

async function asked(method: string, path: string, body?: object): Promise<unknown> {
  const response = await fetch(url + path, {
    method,
    headers: { 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  return response.json();
}

async function text(path: string, body: object): Promise<string> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
  return response.text();
}

/** Without what nobody reads. */
function plain(metrics: string): string {
  const lines = metrics.split('\n');
  return lines.filter((line) => !/_bucket\{|_created(\{| )|^#/.test(line)).join('\n');
}

function settings(told: unknown): unknown {
  const { vllm_config } = told as { vllm_config?: Record<string, unknown> };
  if (vllm_config === undefined) return told;
  const { cache_config, scheduler_config } = vllm_config;
  return { vllm_config: { cache_config, scheduler_config } };
}

function keep(name: string, content: string): void {
  console.log(name);
  writeFileSync(join(folder, name), `${content.trimEnd()}\n\n`);
}

/** The first batches it numbered, as it repeats them; the bytes are its own. */
async function keepEvents(): Promise<void> {
  const sources = (await (await fetch(`${url}/kv_event_sources`)).json()) as Record<
    string,
    { replay_endpoint?: string }
  >;
  const replay = sources['0']?.replay_endpoint;
  if (replay === undefined) return;
  const dealer = new Dealer({ linger: 0, receiveTimeout: 10_000 });
  dealer.connect(replay);
  await dealer.send(['', Buffer.alloc(8)]);
  const frames: string[][] = [];
  for await (const [, ...message] of dealer) {
    const isEnd = message.some((frame) => frame.length === 8 && frame.readBigInt64BE() < 0n);
    if (isEnd || frames.length < BATCHES_KEPT) {
      frames.push(message.map((frame) => frame.toString('base64')));
    }
    if (isEnd) break;
  }
  dealer.close();
  writeFileSync(join(folder, 'replay.json'), `${JSON.stringify(frames, null, 1)}\n`);
}
