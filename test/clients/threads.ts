/** What a gateway's receipts tell of one client's session. */
import assert from 'node:assert/strict';
import type { Receipt } from '../../src/model/receipt.ts';
import { get } from '../e2e/client.ts';

export interface Thread {
  /** Undefined: nobody knows whose requests these are. */
  id: string | undefined;
  knownBy: string;
  /** Requests that were answered to their end, the oldest first. */
  turns: Turn[];
  /** Requests that ended otherwise, by their errors. */
  failures: string[];
}

interface Turn {
  promptTokens: number;
  cachedTokens: number;
}

/** Less of what follow-up turns ask is a prefix that was lost. */
const SHARE_MIN = 0.95;
const RECEIPTS = 1_000;

/** Reads what came in since the last time. */
export class ThreadReader {
  readonly #url: string;
  readonly #seen = new Set<string>();

  constructor(url: string) {
    this.#url = url;
  }

  /** Threads by their lengths, the longest first. */
  async read(): Promise<Thread[]> {
    const { body } = await get<{ receipts: Receipt[] }>(
      `${this.#url}/stator/v1/receipts?limit=${RECEIPTS}`,
    );
    const byThread = new Map<string | null, Receipt[]>();
    for (const receipt of body.receipts.toReversed()) {
      if (this.#seen.has(receipt.id)) continue;
      this.#seen.add(receipt.id);
      const turns = byThread.get(receipt.thread) ?? [];
      byThread.set(receipt.thread, [...turns, receipt]);
    }
    return [...byThread.values()].map(threadOf).sort((a, b) => b.turns.length - a.turns.length);
  }
}

/** `turns`: of the session, and of each call beside it. */
export function assertThreads(threads: readonly Thread[], turns: readonly number[]): void {
  const told = JSON.stringify(threads, undefined, 1);
  for (const { id, failures } of threads) {
    assert.deepEqual(failures, [], `no request failed: ${told}`);
    assert.notEqual(id, undefined, `each request belongs to a thread: ${told}`);
  }
  assert.deepEqual(
    threads.map((thread) => thread.turns.length),
    turns,
    `one thread for the session, and one for each call beside it: ${told}`,
  );
  const share = cachedShare(threads);
  assert.ok(share >= SHARE_MIN, `${share} of what follow-up turns asked was cached: ${told}`);
}

/** Cached tokens of all tokens of the prompts of all turns but each thread's first. */
export function cachedShare(threads: readonly Thread[]): number {
  const followUps = threads.flatMap(({ turns }) => turns.slice(1));
  const cachedTokens = followUps.reduce((sum, turn) => sum + turn.cachedTokens, 0);
  const promptTokens = followUps.reduce((sum, turn) => sum + turn.promptTokens, 0);
  return promptTokens === 0 ? 0 : cachedTokens / promptTokens;
}

function threadOf(receipts: readonly Receipt[]): Thread {
  const [first] = receipts;
  const done = receipts.filter(({ actual }) => actual.status === 'done');
  return {
    id: first.thread ?? undefined,
    knownBy: first.knownBy,
    turns: done.map(({ promptTokens, actual }) => ({
      promptTokens: promptTokens ?? 0,
      cachedTokens: actual.cachedTokens ?? 0,
    })),
    failures: receipts.flatMap(({ actual }) =>
      actual.status === 'done' ? [] : [actual.error ?? actual.status],
    ),
  };
}
