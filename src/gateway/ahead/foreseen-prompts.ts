/**
 * What was foreseen of each thread's next prompt, until that comes, and what came of it. Of the blocks that
 * were computed ahead those count as used that the next prompt begins with and its engine found in cache.
 */
import { FairLru } from '../../base/fair-lru.ts';
import { Lru } from '../../base/lru.ts';
import { wordsOf } from '../../kernel/index/descent.ts';
import { sharedBlocks } from '../../kernel/underway.ts';
import type { BlockHashes } from '../../model/block.ts';
import type { TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { Receipt } from '../../model/receipt.ts';
import type { SendsReasoning } from './known-next.ts';

export interface ForeseenPrompt {
  readonly tenant: TenantId;
  readonly thread: ThreadId;
  /** The answer it follows has reasoning. */
  readonly reasoned: boolean;
  /** Of its full blocks; empty until it was rendered. */
  hashes: BlockHashes;
  /** Leading blocks [from, to) that were computed ahead, and where; undefined: none were. */
  computed: { worker: WorkerId; fromBlock: number; toBlock: number } | undefined;
  /** The next request is there: what is still under way for this comes too late. */
  isOver: boolean;
}

export interface Outcome {
  /** Computed ahead, and of them those that were used. */
  blocks: number;
  usedBlocks: number;
}

export interface ForeseenPromptsGiven {
  bytesMax: number;
  /** Hears of blocks that were computed for a thread that never came back. */
  onLost: (blocks: number) => void;
}

/** What one entry takes besides its hashes. */
const ENTRY_BYTES = 256;
const HABITS_MAX = 10_000;

export class ForeseenPrompts {
  readonly #prompts: FairLru<TenantId, ThreadId, ForeseenPrompt>;
  /** Whether clients send reasoning back, by thread and by wire. */
  readonly #habits = new Lru<string, boolean>(HABITS_MAX);
  /** Threads whose last prompt did not begin as foreseen: from then on it is only watched. */
  readonly #strays = new Lru<string, true>(HABITS_MAX);

  constructor({ bytesMax, onLost }: ForeseenPromptsGiven) {
    this.#prompts = new FairLru({
      bytesMax,
      onEvict: (_tenant, _thread, prompt) => {
        prompt.isOver = true;
        const { computed } = prompt;
        if (computed !== undefined) onLost(computed.toBlock - computed.fromBlock);
      },
    });
  }

  /** Its turn is over: from now on its next prompt may be foreseen. */
  open(given: Pick<ForeseenPrompt, 'tenant' | 'thread' | 'reasoned'>): ForeseenPrompt {
    const hashes = new BigUint64Array(0);
    const prompt: ForeseenPrompt = { ...given, hashes, computed: undefined, isOver: false };
    this.#keep(prompt);
    return prompt;
  }

  /** This is how it begins. */
  rendered(prompt: ForeseenPrompt, hashes: BlockHashes): void {
    prompt.hashes = hashes;
    this.#keep(prompt);
  }

  /** The thread's next request came. */
  take(tenant: TenantId, thread: ThreadId): ForeseenPrompt | undefined {
    const prompt = this.#prompts.peek(tenant, thread);
    if (prompt === undefined) return undefined;
    this.#prompts.delete(tenant, thread);
    prompt.isOver = true;
    return prompt;
  }

  /** The request it was foreseen for has ended, or could not be served. */
  settle(
    prompt: ForeseenPrompt,
    next: { hashes: BlockHashes; blockTokens: number; receipt: Receipt },
  ): Outcome {
    const shared = sharedBlocks(wordsOf(prompt.hashes), wordsOf(next.hashes), 0);
    const key = keyOf(prompt.tenant, prompt.thread);
    if (shared === prompt.hashes.length) this.#strays.delete(key);
    else this.#strays.set(key, true);
    const { computed } = prompt;
    if (computed === undefined) return { blocks: 0, usedBlocks: 0 };
    const { worker, fromBlock, toBlock } = computed;
    const { receipt, blockTokens } = next;
    const cachedTokens = receipt.worker === worker ? (receipt.actual.cachedTokens ?? 0) : 0;
    const usedTo = Math.min(toBlock, shared, Math.floor(cachedTokens / blockTokens));
    return { blocks: toBlock - fromBlock, usedBlocks: Math.max(0, usedTo - fromBlock) };
  }

  /** Whether its last one came as foreseen; true where there was none. */
  isTrusted(tenant: TenantId, thread: ThreadId): boolean {
    return this.#strays.peek(keyOf(tenant, thread)) === undefined;
  }

  /** What its client does with reasoning, as its thread showed, else others that speak its wire. */
  habit(tenant: TenantId, { thread, wire }: { thread: ThreadId; wire: string }): SendsReasoning {
    return this.#habits.get(keyOf(tenant, thread)) ?? this.#habits.get(keyOf(tenant, wire));
  }

  sawReasoning(
    tenant: TenantId,
    { thread, wire, isSent }: { thread: ThreadId; wire: string; isSent: boolean },
  ): void {
    for (const name of [thread, wire]) this.#habits.set(keyOf(tenant, name), isSent);
  }

  #keep(prompt: ForeseenPrompt): void {
    const bytes = ENTRY_BYTES + prompt.hashes.byteLength;
    this.#prompts.set(prompt.tenant, prompt.thread, { value: prompt, bytes });
  }
}

function keyOf(tenant: TenantId, name: string): string {
  return JSON.stringify([tenant, name]);
}
