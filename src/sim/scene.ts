/** What both simulators set up alike: virtual time, kernel, engines in memory, and a log of decisions. */
import { Prng } from '../base/prng.ts';
import { LocalEngine } from '../engines/local.ts';
import { FixedPace, type StepCurve } from '../engines/perf.ts';
import {
  RunnerSimulated,
  SimulatedMemory,
  type SimulatedModel,
} from '../engines/runner-simulated.ts';
import { Kernel, type KernelSettings } from '../kernel/kernel.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Order } from '../model/kernel-io.ts';
import type { Worker } from '../model/worker.ts';
import { MemoryPlane } from '../planes/memory.ts';
import type { PromptEncoder, Tokens } from '../ports.ts';
import type { Agent } from './agents.ts';
import { SimClock } from './clock.ts';
import type { Faults } from './faults.ts';

export const SIM_MODEL = 'simulated';

/** Of KV events, which come in order here, and cost no time. */
export const FEED_SETTINGS = {
  sliceUs: 2_000,
  queueBytesMax: 64 * 1024 * 1024,
  bytesMax: 32 * 1024 * 1024,
  orphansMax: 8192,
  quietUs: 1_000_000,
  resyncUsMin: 1_000_000,
  resyncUsMax: 60_000_000,
};

export interface SceneOptions {
  seed: number;
  agents: readonly Agent[];
  tokens: Tokens;
  /** The whole simulator's; the fast one encodes every prompt in full. */
  prompts: PromptEncoder;
  workers: number;
  slots: number;
  contextTokens: number;
  blocksMax: number;
  waitingMax: number;
  feedLagUs: number;
  curve: StepCurve;
  model: SimulatedModel;
  kernel: KernelSettings;
  /** What goes wrong; the whole simulator alone knows. */
  faults?: Faults;
}

export interface Scene {
  clock: SimClock;
  kernel: Kernel;
  plane: MemoryPlane;
  workers: { worker: Worker; engine: LocalEngine }[];
  /** Another worker, of that name and place in the fleet. */
  start: (id: WorkerId) => { worker: Worker; engine: LocalEngine };
}

export function setScene(options: SceneOptions): Scene {
  const clock = new SimClock();
  const rng = new Prng(options.seed);
  const kernel = new Kernel({ settings: options.kernel, rng: rng.fork('kernel') });
  const plane = new MemoryPlane({ clock, lagUs: options.feedLagUs });
  const start = (id: WorkerId) => makeWorker(id, options, clock, plane);
  const count = options.faults === undefined ? options.workers : 0;
  const workers = Array.from({ length: count }, (_, i) => start(`worker-${i + 1}` as WorkerId));
  return { clock, kernel, plane, workers, start };
}

function makeWorker(id: WorkerId, options: SceneOptions, clock: SimClock, plane: MemoryPlane) {
  const { slots, contextTokens, blocksMax, waitingMax, model, tokens } = options;
  const curve = curveOf(id, options);
  const { blockTokens } = tokens.hasher;
  const memory = new SimulatedMemory(slots, model);
  const engine = new LocalEngine({
    worker: id,
    runner: new RunnerSimulated({ memory, curve, clock, fileUs: 0 }),
    pace: new FixedPace(curve),
    tokens,
    events: plane.publisher(id),
    settings: {
      sizes: {
        slots,
        blockTokens,
        blocksMax,
        hostBlocks: blocksMax,
        matchBlocks: 1,
        disk: undefined,
      },
      batch: {
        blockTokens,
        contextTokens,
        waitingMax,
        stepUsMax: 50_000,
        chunkTokensMax: 512,
        exactChunkTokens: undefined,
      },
      allowForcedOutput: false,
      answerTokens: undefined,
      grammars: 'derived',
      embeddings: { kind: 'made', note: undefined },
    },
    onFailure: (error) => {
      throw error;
    },
  });
  const worker: Worker = {
    id,
    models: [SIM_MODEL],
    blockTokens,
    contextTokens,
    slots,
    requestsMax: slots + waitingMax,
    cacheTokens: blocksMax * blockTokens,
    hasEvents: true,
    class: SIM_MODEL,
    prefill: {
      perTokenUs: options.curve.perTokenUs,
      perTokenContextUs: options.curve.perTokenContextUs,
    },
    decode: { stepUs: options.curve.baseUs, perSequenceUs: options.curve.perSequenceUs },
  };
  return { worker, engine };
}

/** A slow worker takes longer for all it does. */
function curveOf(id: WorkerId, { curve, faults }: SceneOptions): StepCurve {
  const slow = faults?.slow;
  if (slow === undefined || id.split('.')[0] !== `worker-${slow.worker + 1}`) return curve;
  const figures = Object.entries(curve).map(([name, us]) => [name, us * slow.factor]);
  return Object.fromEntries(figures) as StepCurve;
}

/** Decisions as text, one a line, in the order they were made. */
export class DecisionLog {
  readonly lines: string[] = [];

  note(atUs: number, orders: readonly Order[]): void {
    for (const order of orders) {
      if (order.kind === 'dispatch') {
        const { candidates, chosen, attempt, queuedUs } = order.decision;
        const prices = candidates
          .map(({ worker, matchedTokens, totalUs }) => `${worker}:${matchedTokens}:${totalUs}`)
          .join(' ');
        this.lines.push(`${atUs} ${chosen} attempt ${attempt} queued ${queuedUs} of ${prices}`);
      } else if (order.kind === 'reject') {
        this.lines.push(`${atUs} reject ${order.code}`);
      }
    }
  }
}
