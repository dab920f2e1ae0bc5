/**
 * What a runner moves between tiers and how fast, seen from around it: a step's time less the time it
 * computed. `around` gives the runner that the engine is to be built on.
 */
import type { FileId, FileNews, Move, StepPlan, StepResult } from '../model/step.ts';
import type { Runner } from '../ports.ts';

/** Blocks that went one way, and how long that took. */
export interface Flow {
  blocks: number;
  ms: number;
}

export interface Flows {
  /** Slot → host store. */
  slotToHost: Flow;
  /** Host store → slot. */
  hostToSlot: Flow;
  /** Host store or slot → file, from the order to write to the news that it is on disk. */
  toDisk: Flow;
  /** File → host store. */
  diskToHost: Flow;
}

/** Fewer blocks at a time are not timed: they take less than the hop to the runner's thread. */
const BLOCKS_MIN = 16;

export class RunnerWatch {
  readonly flows: Flows = {
    slotToHost: nothing(),
    hostToSlot: nothing(),
    toDisk: nothing(),
    diskToHost: nothing(),
  };
  readonly #saving = new Flight(this.flows.toDisk);
  readonly #loading = new Flight(this.flows.diskToHost);

  /** Resolves when the runner has let go of all it held; an engine does not wait for that. */
  closed: Promise<void> = Promise.resolve();

  /** Resolves when no file was being written for a while: true, or false where that takes too long. */
  async written(msMax: number, quietMs: number): Promise<boolean> {
    const startMs = performance.now();
    let quietSinceMs = startMs;
    while (performance.now() - quietSinceMs < quietMs) {
      if (performance.now() - startMs > msMax) return false;
      if (this.#saving.count > 0) quietSinceMs = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return true;
  }

  around(runner: Runner): Runner {
    return {
      step: (plan, done) => {
        this.#ordered(plan);
        const startMs = performance.now();
        runner.step(plan, (outcome) => {
          if (!(outcome instanceof Error)) this.#carriedOut(plan, outcome, startMs);
          done(outcome);
        });
      },
      listen: (on) =>
        runner.listen((news) => {
          for (const one of news) this.#heard(one);
          on(news);
        }),
      close: () => {
        this.closed = runner.close();
        return this.closed;
      },
    };
  }

  #ordered({ moves }: StepPlan): void {
    for (const move of moves) {
      if (move.kind === 'load') this.#loading.begin(move.file, move.handles.length);
      if (move.kind === 'save') this.#saving.begin(move.file, move.content.hashes.length);
    }
  }

  /** Both ways in one step are told apart by nothing: it counts as what there is far more of. */
  #carriedOut({ moves }: StepPlan, { elapsedUs }: StepResult, startMs: number): void {
    const ms = performance.now() - startMs - elapsedUs / 1000;
    const out = blocksOf(moves, 'copyOut');
    const back = blocksOf(moves, 'copyIn');
    const { slotToHost, hostToSlot } = this.flows;
    if (out >= BLOCKS_MIN && out > 8 * back) add(slotToHost, out, ms);
    if (back >= BLOCKS_MIN && back > 8 * out) add(hostToSlot, back, ms);
  }

  #heard(news: FileNews): void {
    if (news.kind === 'off') {
      this.#saving.clear();
      this.#loading.clear();
    } else if (news.kind === 'saved') this.#saving.end(news.file);
    else if (news.kind === 'loaded') this.#loading.end(news.file);
    else {
      this.#saving.drop(news.file);
      this.#loading.drop(news.file);
    }
  }
}

/** Files on their way, side by side: time runs while any is. */
class Flight {
  readonly #flow: Flow;
  readonly #blocks = new Map<FileId, number>();
  #sinceMs = 0;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  get count(): number {
    return this.#blocks.size;
  }

  begin(file: FileId, blocks: number): void {
    if (this.#blocks.size === 0) this.#sinceMs = performance.now();
    this.#blocks.set(file, blocks);
  }

  end(file: FileId): void {
    const blocks = this.#blocks.get(file);
    if (blocks === undefined) return;
    this.#blocks.delete(file);
    const nowMs = performance.now();
    add(this.#flow, blocks, nowMs - this.#sinceMs);
    this.#sinceMs = nowMs;
  }

  drop(file: FileId): void {
    this.#blocks.delete(file);
  }

  clear(): void {
    this.#blocks.clear();
  }
}

/** Bytes a second; null where nothing went that way. */
export function rateOf({ blocks, ms }: Flow, blockBytes: number): number | null {
  return blocks === 0 ? null : Math.round((blocks * blockBytes) / (ms / 1000));
}

function nothing(): Flow {
  return { blocks: 0, ms: 0 };
}

function add(flow: Flow, blocks: number, ms: number): void {
  flow.blocks += blocks;
  flow.ms += ms;
}

function blocksOf(moves: readonly Move[], kind: 'copyOut' | 'copyIn'): number {
  let count = 0;
  for (const move of moves) if (move.kind === kind) count += move.handles.length;
  return count;
}
