/**
 * Our worker beside llama.cpp's own server: the same model, threads and slots, each behind its HTTP, one
 * client for both. What is compared runs in turn, so that a neighbour who comes and goes disturbs both.
 *
 *   cold ─► 95 % reused         prompts of several lengths, one at a time
 *   batch 1, 4, 8               answers written at once
 *   sessions                    twice as many as there are slots, a turn of each in turn: what agents do
 */
import { Prng } from '../base/prng.ts';
import { type Runs, runsOf } from './figure.ts';
import type { ServerAnswer, ServerClient } from './server-client.ts';

/** What the comparison needs of a server. */
export interface ComparedServer {
  client: ServerClient;
  /** Of its process so far; undefined where the system does not tell. */
  cpuMs(): number | undefined;
}

export interface ServerComparisonInput {
  servers: { ours: ComparedServer; theirs: ComparedServer };
  vocabularySize: number;
  slots: number;
  /** Of prompts, ascending. */
  lengths: readonly number[];
  rounds: number;
  sessions: SessionLoad;
  onProgress: (text: string) => void;
}

export interface SessionLoad {
  /** Sessions for each slot. */
  perSlot: number;
  turns: number;
  /** The beginning that all have in common, each session's own, and what each turn adds. */
  sharedTokens: number;
  ownTokens: number;
  turnTokens: number;
  outputTokens: number;
}

type Who = 'ours' | 'theirs';
const BOTH = ['ours', 'theirs'] as const;

interface LengthRuns {
  cold: Runs;
  reused: Runs;
  /** Of the reused prompt, as the server says; the least of the rounds. */
  cachedTokens: number;
}

export interface SessionRuns {
  requests: number;
  wallMs: number;
  cpuMs: number | undefined;
  promptTokens: number;
  computedTokens: number;
  ttftMs: { mean: number; p50: number; p90: number };
}

export interface ServerReport {
  /** TTFT in ms, by length of prompt. */
  ttft: Record<string, LengthRuns>;
  /** Tokens a second by requests at once, best of the rounds. */
  decode: Record<string, number>;
  sessions: SessionRuns;
}

const SHARE = 0.95;
const BATCHES = [1, 4, 8];
const DECODE_CONTEXT = 64;
const DECODE_TOKENS = 128;
const WARM_TOKENS = 256;

export async function compareServers(
  input: ServerComparisonInput,
): Promise<Record<Who, ServerReport>> {
  const { servers, lengths, rounds, slots, onProgress } = input;
  const comparison = new Comparison(input);
  for (const who of BOTH)
    await servers[who].client.ask({ ids: comparison.fresh(WARM_TOKENS), tokens: 8 });
  for (let round = 0; round < rounds; round++) {
    for (const tokens of lengths) {
      onProgress(`beside llama-server, round ${round + 1} of ${rounds}, ${tokens} tokens`);
      await comparison.reuse(tokens);
    }
    for (const batch of BATCHES) if (batch <= slots) await comparison.decode(batch);
  }
  onProgress('beside llama-server, more sessions than slots');
  await comparison.sessions();
  return comparison.report();
}

interface Reuse {
  coldMs: number[];
  reusedMs: number[];
  cachedTokens: number[];
}

class Comparison {
  readonly #input: ServerComparisonInput;
  readonly #prng = new Prng(1);
  readonly #reuse = { ours: new Map<number, Reuse>(), theirs: new Map<number, Reuse>() };
  readonly #decode = { ours: new Map<number, number>(), theirs: new Map<number, number>() };
  readonly #turns = { ours: noTurns(), theirs: noTurns() };

  constructor(input: ServerComparisonInput) {
    this.#input = input;
  }

  /** Ids that no prompt had before. */
  fresh(count: number): number[] {
    return Array.from({ length: count }, () => this.#prng.below(this.#input.vocabularySize));
  }

  async reuse(tokens: number): Promise<void> {
    const kept = Math.floor(SHARE * tokens);
    for (const who of BOTH) {
      const runs = this.#reuse[who].get(tokens) ?? { coldMs: [], reusedMs: [], cachedTokens: [] };
      this.#reuse[who].set(tokens, runs);
      const prompt = this.fresh(tokens);
      runs.coldMs.push(ttftOf(await this.#ask(who, prompt, 1)));
      const next = [...prompt.slice(0, kept), ...this.fresh(tokens - kept)];
      const answer = await this.#ask(who, next, 1);
      runs.reusedMs.push(ttftOf(answer));
      runs.cachedTokens.push(answer.usage?.cachedTokens ?? 0);
    }
  }

  /** From the first of these answers' first token to the last one's last. */
  async decode(batch: number): Promise<void> {
    for (const who of BOTH) {
      const prompts = Array.from({ length: batch }, () => this.fresh(DECODE_CONTEXT));
      const answers = await Promise.all(prompts.map((ids) => this.#ask(who, ids, DECODE_TOKENS)));
      const fromMs = Math.min(...answers.map(ttftOf));
      const toMs = Math.max(...answers.map(({ endMs }) => endMs));
      const written = answers.reduce((sum, { usage }) => sum + (usage?.outputTokens ?? 0) - 1, 0);
      const perS = (1000 * written) / (toMs - fromMs);
      this.#decode[who].set(batch, Math.max(perS, this.#decode[who].get(batch) ?? 0));
    }
  }

  /** A turn of all sessions at the one server, then at the other. */
  async sessions(): Promise<void> {
    const { sessions: load, slots } = this.#input;
    const shared = this.fresh(load.sharedTokens);
    const begin = () =>
      Array.from({ length: load.perSlot * slots }, () => [
        ...shared,
        ...this.fresh(load.ownTokens),
      ]);
    const histories = { ours: begin(), theirs: begin() };
    for (let turn = 0; turn < load.turns; turn++) {
      for (const who of BOTH) {
        for (const history of histories[who]) history.push(...this.fresh(load.turnTokens));
        await this.#turn(who, histories[who]);
      }
    }
  }

  async #turn(who: Who, histories: readonly number[][]): Promise<void> {
    const { sessions: load, slots, servers } = this.#input;
    const startMs = performance.now();
    const startCpuMs = servers[who].cpuMs();
    const ask = (ids: number[]) => this.#ask(who, ids, load.outputTokens);
    const turns = this.#turns[who];
    turns.answers.push(...(await inTurn(histories, slots, ask)));
    turns.wallMs += performance.now() - startMs;
    const cpuMs = servers[who].cpuMs();
    if (cpuMs !== undefined && startCpuMs !== undefined) turns.cpuMs += cpuMs - startCpuMs;
  }

  report(): Record<Who, ServerReport> {
    const of = (who: Who): ServerReport => {
      const { answers, wallMs, cpuMs } = this.#turns[who];
      const sessions = { ...sessionsOf(answers), wallMs, cpuMs: cpuMs === 0 ? undefined : cpuMs };
      const ttft: Record<string, LengthRuns> = {};
      for (const [tokens, { coldMs, reusedMs, cachedTokens }] of this.#reuse[who]) {
        const least = Math.min(...cachedTokens);
        ttft[tokens] = { cold: runsOf(coldMs), reused: runsOf(reusedMs), cachedTokens: least };
      }
      return { ttft, decode: Object.fromEntries(this.#decode[who]), sessions };
    };
    return { ours: of('ours'), theirs: of('theirs') };
  }

  #ask(who: Who, ids: number[], tokens: number): Promise<ServerAnswer> {
    return this.#input.servers[who].client.ask({ ids, tokens });
  }
}

function noTurns(): { answers: ServerAnswer[]; wallMs: number; cpuMs: number } {
  return { answers: [], wallMs: 0, cpuMs: 0 };
}

/** All of them, so many at once. */
async function inTurn<T, R>(items: readonly T[], atOnce: number, run: (item: T) => Promise<R>) {
  const queue = [...items];
  const results: R[] = [];
  const next = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      results.push(await run(item));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, next));
  return results;
}

function sessionsOf(answers: readonly ServerAnswer[]): Omit<SessionRuns, 'wallMs' | 'cpuMs'> {
  const sum = (of: (answer: ServerAnswer) => number) =>
    answers.reduce((total, answer) => total + of(answer), 0);
  const promptTokens = sum(({ usage }) => usage?.promptTokens ?? 0);
  const ttft = answers.map(ttftOf).sort((a, b) => a - b);
  const at = (share: number) => ttft[Math.floor(share * (ttft.length - 1))];
  return {
    requests: answers.length,
    promptTokens,
    computedTokens: promptTokens - sum(({ usage }) => usage?.cachedTokens ?? 0),
    ttftMs: { mean: sum(ttftOf) / answers.length, p50: at(0.5), p90: at(0.9) },
  };
}

/** Servers hold back what is no whole character yet: of such an answer only the end is known. */
function ttftOf({ piecesMs, endMs }: ServerAnswer): number {
  return piecesMs[0] ?? endMs;
}
