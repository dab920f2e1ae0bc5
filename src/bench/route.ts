/**
 * How long the kernel takes to decide: from a request whose tokens are hashed to its dispatch, with index,
 * filter, price and booking. CPU time of single decisions, with wall time beside it: on a shared machine
 * most of what lies beyond the median of that is somebody else. Percentiles of the best of five runs.
 */
import { must } from '../base/assert.ts';
import { Prng } from '../base/prng.ts';
import { Kernel, type KernelSettings } from '../kernel/kernel.ts';
import type { BlockHash } from '../model/block.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Arrival } from '../model/kernel-io.ts';
import type { Worker } from '../model/worker.ts';
import { pathOf, type Trace } from '../traces/trace.ts';
import type { BenchReport } from './figure.ts';

export interface RouteBenchInput {
  limits: Omit<KernelSettings, 'policy'>;
  policies: readonly string[];
  traces: readonly { name: string; trace: Trace }[];
  onProgress: (text: string) => void;
}

/** A prompt as the kernel sees it. */
interface Prompt {
  thread: string;
  tokens: number;
  blockTokens: number;
  hashes: BigUint64Array;
}

interface Percentiles {
  p50: number;
  p99: number;
  wallP50: number;
  wallP99: number;
}

/** Microseconds that one decision took. */
interface Took {
  cpuUs: number;
  wallUs: number;
}

const RUNS = 5;
const WARM = 300;
const TIMED = 1000;
const MODEL = 'm';
/** 100,000 tokens in blocks of 16, of which a sixth is a system prompt that all threads share. */
const LONG = { tokens: 100_005, blockTokens: 16, blocks: 6250, sharedBlocks: 1000, threads: 200 };
const RUNNING_PER_WORKER = 4;
const RUNNING_MAX = 1000;

export function benchRoute(input: RouteBenchInput): BenchReport {
  const long = longPrompts();
  const figures: Record<string, number> = {};
  const beside: Record<string, unknown> = {};
  for (const workers of [64, 10_000]) {
    input.onProgress(`prompts of 100,000 tokens, ${workers} workers`);
    const runs = best(input, { workers, policy: 'stator', prompts: long, runs: RUNS });
    figures[workers === 64 ? 'decisionUsP99' : 'decision10000WorkersUsP99'] = runs.best.p99;
    beside[`long prompts, ${workers} workers`] = runs;
  }
  for (const { name, trace } of input.traces) {
    const prompts = promptsOf(trace);
    for (const policy of input.policies) {
      input.onProgress(`${name}, 64 workers, ${policy}`);
      const one = best(input, { workers: 64, policy, prompts, runs: 1 });
      beside[`${name}, 64 workers, ${policy}`] = one.best;
    }
  }
  const settings = {
    promptTokens: LONG.tokens,
    promptBlocks: LONG.blocks,
    decisionsPerRun: TIMED,
    runs: RUNS,
    unit: 'µs of CPU time; wall: of wall time',
  };
  return { bench: 'route', settings, figures, beside };
}

interface Given {
  workers: number;
  policy: string;
  prompts: readonly Prompt[];
  runs: number;
}

function best(input: RouteBenchInput, given: Given): { best: Percentiles; all: Percentiles[] } {
  const all: Percentiles[] = [];
  const fleet = new Fleet(given, input.limits);
  for (let i = 0; i < WARM; i++) fleet.turn();
  for (let run = 0; run < given.runs; run++) {
    const cpuUs = new Float64Array(TIMED);
    const wallUs = new Float64Array(TIMED);
    for (let i = 0; i < TIMED; i++) ({ cpuUs: cpuUs[i], wallUs: wallUs[i] } = fleet.turn());
    const at = (us: Float64Array, share: number) =>
      Number(us.sort()[Math.floor(share * TIMED)].toFixed(1));
    const cpu = { p50: at(cpuUs, 0.5), p99: at(cpuUs, 0.99) };
    all.push({ ...cpu, wallP50: at(wallUs, 0.5), wallP99: at(wallUs, 0.99) });
  }
  const least = (name: keyof Percentiles) => Math.min(...all.map((one) => one[name]));
  const wall = { wallP50: least('wallP50'), wallP99: least('wallP99') };
  return { best: { p50: least('p50'), p99: least('p99'), ...wall }, all };
}

/** Engines that hold what was computed there lately, under steady load. */
class Fleet {
  readonly #kernel: Kernel;
  readonly #given: Given;
  readonly #rng = new Prng(1);
  readonly #running: { request: Arrival; worker: WorkerId }[] = [];
  /** Prompts each worker holds, oldest first. */
  readonly #held = new Map<WorkerId, BigUint64Array[]>();
  #nowUs = 0;
  #turns = 0;

  constructor(given: Given, limits: Omit<KernelSettings, 'policy'>) {
    this.#given = given;
    const settings = { ...limits, policy: given.policy };
    this.#kernel = new Kernel({ settings, rng: new Prng(1) });
    const { blockTokens } = given.prompts[0];
    for (let i = 0; i < given.workers; i++) {
      const worker = workerOf(`worker-${i}` as WorkerId, blockTokens);
      this.#kernel.handle(0, { kind: 'workerJoined', worker });
    }
    const running = Math.min(RUNNING_MAX, given.workers * RUNNING_PER_WORKER);
    for (let i = 0; i < running; i++) this.#ask();
  }

  /** One request ends, one comes: returns what its decision took. */
  turn(): Took {
    this.#end();
    return this.#ask();
  }

  #ask(): Took {
    const { prompts } = this.#given;
    const prompt = prompts[this.#turns++ % prompts.length];
    const request: Arrival = {
      id: `r${this.#turns}` as RequestId,
      tenant: 't' as TenantId,
      model: MODEL,
      thread: prompt.thread as ThreadId,
      promptTokens: prompt.tokens,
      hashes: prompt.hashes,
      blockTokens: prompt.blockTokens,
      outputTokensMax: 1000,
      priority: 0,
    };
    this.#nowUs += 1000;
    const cpu = process.cpuUsage();
    const start = process.hrtime.bigint();
    const orders = this.#kernel.handle(this.#nowUs, { kind: 'arrived', request });
    const wallUs = Number(process.hrtime.bigint() - start) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    const dispatch = orders.find((order) => order.kind === 'dispatch');
    if (dispatch?.kind === 'dispatch') this.#running.push({ request, worker: dispatch.worker });
    return { cpuUs: user + system, wallUs };
  }

  #end(): void {
    const at = this.#rng.below(this.#running.length);
    const { request, worker } = must(this.#running.splice(at, 1)[0], 'somebody runs');
    const kernel = this.#kernel;
    const tell = (us: number) => (this.#nowUs += us);
    kernel.handle(tell(100), { kind: 'firstTokenSent', request: request.id });
    kernel.handle(this.#nowUs, {
      ...{ kind: 'blocksStored', worker, hashes: request.hashes, tier: 'device' },
    });
    const held = this.#held.get(worker) ?? [];
    this.#held.set(worker, held);
    held.push(request.hashes);
    if (held.length > 4) this.#drop(worker, must(held.shift(), 'it holds some'), held);
    const answer = { outputTokens: 100, cachedTokens: undefined };
    kernel.handle(tell(10_000), { kind: 'finished', request: request.id, ...answer });
  }

  /** What no other prompt held there shares; chains that part never meet again. */
  #drop(worker: WorkerId, prompt: BigUint64Array, held: readonly BigUint64Array[]): void {
    let shared = 0;
    for (const other of held) {
      let depth = shared;
      while (depth < prompt.length && other[depth] === prompt[depth]) depth++;
      shared = Math.max(shared, depth);
    }
    const hashes = prompt.subarray(shared);
    if (hashes.length === 0) return;
    this.#kernel.handle(this.#nowUs, { kind: 'blocksRemoved', worker, hashes, tier: 'device' });
  }
}

function workerOf(id: WorkerId, blockTokens: number): Worker {
  return {
    id,
    models: [MODEL],
    blockTokens,
    contextTokens: 1_000_000,
    slots: 16,
    requestsMax: 256,
    cacheTokens: 400_000,
    hasEvents: true,
    class: 'bench',
    prefill: { perTokenUs: 40, perTokenContextUs: 0.0013 },
    decode: { stepUs: 6000, perSequenceUs: 20 },
  };
}

function longPrompts(): Prompt[] {
  return Array.from({ length: LONG.threads }, (_, thread) => ({
    thread: `t${thread}`,
    tokens: LONG.tokens,
    blockTokens: LONG.blockTokens,
    hashes: BigUint64Array.from({ length: LONG.blocks }, (_, i) =>
      hashOf(i < LONG.sharedBlocks ? i : (thread + 1) * LONG.blocks + i),
    ),
  }));
}

/** All turns, sessions beside each other as if they were live together. */
function promptsOf(trace: Trace): Prompt[] {
  const prompts: Prompt[] = [];
  const path = new Uint32Array(trace.tree.nodeCount);
  for (let turn = 0; ; turn++) {
    const before = prompts.length;
    for (let thread = 0; thread < trace.threadCount; thread++) {
      const index = trace.threadTurns[thread] + turn;
      if (index >= trace.threadTurns[thread + 1]) continue;
      const depth = pathOf(trace.tree, trace.leaf[index], path);
      prompts.push({
        thread: trace.threadIds[thread] + thread,
        tokens: trace.promptTokens[index],
        blockTokens: trace.blockTokens,
        hashes: BigUint64Array.from({ length: depth }, (_, i) => hashOf(path[i])),
      });
    }
    if (prompts.length === before || prompts.length > WARM + RUNS * TIMED) return prompts;
  }
}

/** Spread over 64 bits, as hashes are. */
function hashOf(block: number): BlockHash {
  return BigInt.asUintN(64, (BigInt(block) + 1n) * 0x9e37_79b9_7f4a_7c15n);
}
