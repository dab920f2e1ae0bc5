import { test } from 'node:test';
import { assertGolden } from '../../../test/golden.ts';
import { Prng } from '../../base/prng.ts';
import { table } from '../../base/text.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Decision, Fact, Terms } from '../../model/kernel-io.ts';
import { Kernel } from '../kernel.ts';

test('a morning of decisions, with every price', () => {
  const story = new Story();
  story.worker('idle');
  story.worker('warm');
  story.says('A new thread goes where nothing waits; equal prices go to the first.');
  story.asks('t1', { tokens: 4000, prefix: 'system' });
  story.says(
    'Another one at the same time: the first worker is computing now, so the other serves.',
  );
  story.asks('t2', { tokens: 4000, prefix: 'system' });
  story.says('Both were answered; both workers hold the system prompt.');
  story.answers('t1', 'system', 4000);
  story.answers('t2', 'system', 4000);
  story.says('A third thread finds the prompt on both, and goes where fewer live tokens sit.');
  story.asks('t3', { tokens: 4100, prefix: 'system' });
  story.answers('t3', 'system', 4100);
  story.says('The first thread comes back: its own history is on its own worker.');
  story.grows('idle', 'system', 400);
  story.asks('t1', { tokens: 6500, prefix: 'system', blocks: 400 });
  story.says('And again while that is being computed, from a thread that has nothing anywhere.');
  story.asks('t4', { tokens: 3000, prefix: 'other' });
  story.says('A worker joins: a cold start there costs more than a short wait for a warm one.');
  story.worker('fresh');
  story.asks('t5', { tokens: 4100, prefix: 'system' });
  story.says('A prompt that would push live threads out of a cache pays for their return.');
  story.asks('t6', { tokens: 9000, prefix: 'large' });
  assertGolden('decisions.txt', story.text());
});

class Story {
  readonly #kernel: Kernel;
  readonly #lines: string[] = [];
  #nowUs = 0;
  #requests = 0;
  readonly #running = new Map<string, string>();

  constructor() {
    const { limits } = Config.parse({});
    // Without its gate, which would let some of them wait: here all places are priced.
    const settings = { policy: 'stator-ungated', ...limits };
    this.#kernel = new Kernel({ settings, rng: new Prng(1) });
  }

  worker(name: string): void {
    const worker = {
      id: name as WorkerId,
      models: ['m'],
      blockTokens: 16,
      contextTokens: 32_768,
      slots: 4,
      requestsMax: 64,
      cacheTokens: 12_000,
      hasEvents: true,
      class: 'c',
      prefill: { perTokenUs: 100, perTokenContextUs: 0.05 },
      decode: { stepUs: 500, perSequenceUs: 300 },
    };
    this.#tell({ kind: 'workerJoined', worker });
  }

  says(sentence: string): void {
    this.#lines.push('', `# ${sentence}`);
  }

  asks(thread: string, given: { tokens: number; prefix: string; blocks?: number }): void {
    this.#nowUs += 10_000;
    const id = `r${++this.#requests}`;
    this.#running.set(thread, id);
    const request = {
      id: id as RequestId,
      tenant: 'default' as TenantId,
      model: 'm',
      thread: thread as ThreadId,
      promptTokens: given.tokens,
      hashes: chain(given.prefix, given.blocks ?? 240),
      blockTokens: 16,
      outputTokensMax: 200,
      priority: 0,
    };
    for (const order of this.#tell({ kind: 'arrived', request })) {
      if (order.kind === 'dispatch') this.#show(thread, given.tokens, order.decision);
    }
  }

  answers(thread: string, prefix: string, tokens: number): void {
    this.#nowUs += 500_000;
    const id = this.#running.get(thread) as RequestId;
    const worker = this.#kernel.state(this.#nowUs).workers.find(({ requests }) => requests > 0);
    if (worker !== undefined) this.grows(worker.id, prefix, Math.floor(tokens / 16));
    this.#tell({ kind: 'finished', request: id, outputTokens: 100, cachedTokens: undefined });
  }

  grows(worker: string, prefix: string, blocks: number): void {
    const hashes = chain(prefix, blocks);
    this.#tell({ kind: 'blocksStored', worker: worker as WorkerId, hashes, tier: 'device' });
  }

  text(): string {
    return `${this.#lines.join('\n').trimStart()}\n`;
  }

  #tell(fact: Fact) {
    return this.#kernel.handle(this.#nowUs, fact);
  }

  #show(thread: string, tokens: number, { candidates, chosen }: Decision): void {
    const names = Object.keys(candidates[0].terms) as (keyof Terms)[];
    const rows = candidates.map(({ worker, matchedTokens, liveTokens, terms, totalUs }) => [
      worker === chosen ? '►' : '',
      worker,
      matchedTokens,
      liveTokens,
      ...names.map((name) => terms[name]),
      totalUs,
    ]);
    const head = [
      '',
      'worker',
      'matched',
      'live',
      ...names.map((name) => `${name} µs`),
      'total µs',
    ];
    this.#lines.push(`${thread}, ${tokens} tokens`, table([head, ...rows]));
  }
}

function chain(prefix: string, length: number): BigUint64Array {
  const seed = BigInt([...prefix].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7));
  return BigUint64Array.from({ length }, (_, i) => seed * 1_000_003n + BigInt(i));
}
