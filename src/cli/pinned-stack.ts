/**
 * A stack to measure its engine by: each worker is pinned to a core of its own as far as there are cores, and
 * this process, client and gateway in one, yields to them.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Calibrated, calibrate } from '../bench/calibrate.ts';
import type { ScriptedSession } from '../bench/drive.ts';
import { plainVocabulary, replayOf, type Target } from '../bench/replayed.ts';
import type { Profile } from '../sim/profile.ts';
import { generateSessions } from '../traces/generate/coding-agents.ts';
import { LIVE_CODING_AGENTS } from '../traces/generate/settings.ts';
import type { Trace } from '../traces/trace.ts';
import { type Stack, startStack } from './stack.ts';
import { measuredStack } from './stack-flags.ts';

export interface EngineFlags {
  engine: 'llama' | 'sim';
  model?: string;
  seed: number;
}

/** Of `validate` and `fit`: small coding agents, as many per worker as are alive with time to think. */
export const SMALL_AGENTS = { sessionsPerWorker: 6, turns: 6, livePerWorker: 2 } as const;

const SLOTS = 4;
/** Twice what the longest of these sessions comes to. */
const CONTEXT_TOKENS = 32_768;
const NICE = 10;

export class PinnedStack {
  readonly stack: Stack;
  readonly target: Target;
  /** Whether workers keep to their cores; else the system moves them. */
  readonly isPinned: boolean;
  readonly #folder: string;

  static async start(flags: EngineFlags, workers: number): Promise<PinnedStack> {
    const folder = mkdtempSync(join(tmpdir(), 'stator-steps-'));
    const { engine, model } = flags;
    const sizes = { workers, slots: SLOTS, context: CONTEXT_TOKENS };
    const options = measuredStack({ engine, model, ...sizes });
    options.config.listen.port = 0;
    try {
      const stack = await startStack({
        ...options,
        allowForcedOutput: true,
        diskBytes: 0,
        threads: 1,
        stepLogs: folder,
        log: () => {},
      });
      // Children started later would yield too: nobody may go back to a higher priority.
      setPriority(NICE);
      return new PinnedStack(stack, folder);
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  private constructor(stack: Stack, folder: string) {
    this.stack = stack;
    this.#folder = folder;
    const ids = plainVocabulary(stack.tokens);
    const { model, tokens } = stack;
    this.target = { model: model.name, tokens, ids, forced: true, ignoresEos: false };
    const pins = [...stack.workers.pids().values()].map((pid, i) =>
      pinned(pid, i % availableParallelism()),
    );
    this.isPinned = pins.every((done) => done);
  }

  /** The profile of a worker among so many that run, and what a request takes besides steps. */
  async calibrate(
    { workers, seed, otherwise }: { workers: number; seed: number; otherwise: Profile },
    onProgress: (text: string) => void,
  ): Promise<Calibrated> {
    const { stack } = this;
    return await calibrate({
      url: stack.url,
      target: this.target,
      stepLogs: Array.from({ length: workers }, (_, i) =>
        join(this.#folder, `worker-${i + 1}.jsonl`),
      ),
      sessions: this.sessions(smallAgents(workers, seed), seed),
      live: workers * SMALL_AGENTS.livePerWorker,
      seed,
      name: `${stack.engine}-${stack.model.name}`,
      about: `${stack.model.name} on one core of this machine, ${stack.engine}`,
      source: `Fitted to the steps of ${workers === 1 ? 'a stator worker' : `${workers} stator workers at once`}, playing generated coding agents of seed ${seed}${this.isPinned ? ', pinned to a core' : ''}.`,
      otherwise,
      onProgress,
    });
  }

  sessions(trace: Trace, seed: number): ScriptedSession[] {
    const { target } = this;
    return replayOf(trace, {
      target,
      seed,
      thinkMsMax: Number.MAX_SAFE_INTEGER,
      prompts: undefined,
    });
  }

  async close(): Promise<void> {
    await this.stack.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export function smallAgents(workers: number, seed: number): Trace {
  const { sessionsPerWorker, turns } = SMALL_AGENTS;
  const sessions = workers * sessionsPerWorker;
  return generateSessions(
    { ...LIVE_CODING_AGENTS, sessions, turns: { kind: 'fixed', value: turns } },
    seed,
  );
}

/** All its threads; whether it could be done. */
function pinned(pid: number, core: number): boolean {
  if (process.platform !== 'linux') return false;
  return spawnSync('taskset', ['-acp', `${core}`, `${pid}`], { stdio: 'ignore' }).status === 0;
}
