/** `stator serve` in front of vLLM servers, as tests ask it. */
import assert from 'node:assert/strict';
import type { Snapshot } from '../../src/gateway/state.ts';
import type { Receipt } from '../../src/model/receipt.ts';
import { get, post, type Reply } from '../e2e/client.ts';
import { Running, runToEnd, until, write } from '../e2e/stack.ts';
import { BLOCK_TOKENS } from './server.ts';

export interface Finding {
  about: string;
  check: string;
  well: boolean;
  says: string;
}

export interface Answered {
  worker: string;
  promptTokens: number;
  /** As the engine reported, and as was predicted. */
  cachedTokens: number;
  predictedTokens: number;
  text: string;
}

export class Gateway {
  readonly url: string;
  readonly #running: Running;

  private constructor(running: Running, url: string) {
    this.#running = running;
    this.url = url;
  }

  /** JSON is YAML too. */
  static async start(model: string, urls: readonly string[], policy = 'stator'): Promise<Gateway> {
    const config = {
      listen: { port: 0 },
      models: [{ name: 'demo', path: model, blockTokens: BLOCK_TOKENS }],
      workers: urls.map((url) => ({ url, kind: 'vllm' })),
      policy,
    };
    const path = write(`stator-${policy}-${urls.length}.yaml`, JSON.stringify(config));
    const running = new Running(['serve', `--config=${path}`]);
    let url = '';
    await until('serve prints where it serves', () => {
      if (running.hasEnded) assert.fail(`serve ended at once: ${running.stderr}`);
      url = /serves on (http\S+)/.exec(running.stdout)?.[1] ?? '';
      return url !== '';
    });
    return new Gateway(running, url);
  }

  /** What it wrote to its log. */
  get log(): string {
    return this.#running.stderr;
  }

  async snapshot(): Promise<Snapshot> {
    return (await get<Snapshot>(`${this.url}/stator/v1/snapshot`)).body;
  }

  /** So many are there, and all they hold is known. */
  async knows(count: number): Promise<void> {
    await until(
      `${count} workers are exact`,
      async () => {
        const { workers } = await this.snapshot();
        return workers.filter(({ healthy, mode }) => healthy && mode === 'exact').length === count;
      },
      MEETING_MS_MAX,
    );
  }

  /** All that ended is told of: what comes next is decided with it. */
  async isSettled(): Promise<void> {
    let before = '';
    await until('the index stands still', async () => {
      const { workers, running } = await this.snapshot();
      const now = workers.map(({ feed }) => feed?.counts.batches).join();
      const isStill = running === 0 && now === before;
      before = now;
      return isStill;
    });
  }

  ask(session: string, body: Record<string, unknown>): Promise<Reply<ChatAnswer>> {
    const headers = { 'x-stator-session-id': session };
    const whole = { model: 'demo', max_tokens: 8, temperature: 0, ignore_eos: true, ...body };
    return post<ChatAnswer>(`${this.url}/v1/chat/completions`, whole, headers);
  }

  /** Fails where it is not answered. */
  async answered(session: string, messages: readonly object[]): Promise<Answered> {
    const { status, headers, body, text } = await this.ask(session, { messages });
    assert.equal(status, 200, text);
    const receipt = await get<Receipt>(
      `${this.url}/stator/v1/receipts/${headers.get('x-stator-receipt')}`,
    );
    return {
      worker: headers.get('x-stator-worker') ?? '',
      promptTokens: body.usage.prompt_tokens,
      cachedTokens: body.usage.prompt_tokens_details?.cached_tokens ?? -1,
      predictedTokens: receipt.body.predicted?.cachedTokens ?? -1,
      text: body.choices[0].message.content ?? '',
    };
  }

  async doctor(): Promise<{ code: number | null; findings: Finding[] }> {
    const { code, stdout } = await runToEnd(['doctor', `--url=${this.url}`, '--json']);
    const { findings } = JSON.parse(stdout) as { findings: Finding[] };
    return { code, findings };
  }

  async stop(): Promise<void> {
    assert.equal(await this.#running.stop(), 0, this.#running.stderr);
  }
}

/** A server is asked some fifty questions, one after the other, beside whatever it computes. */
const MEETING_MS_MAX = 90_000;

export interface ChatAnswer {
  choices: {
    message: {
      content: string | null;
      tool_calls?: { function: { name: string; arguments: string } }[];
    };
    finish_reason: string;
    logprobs?: { content: { token: string; logprob: number; top_logprobs: object[] }[] } | null;
  }[];
  usage: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details?: { cached_tokens: number };
  };
}
