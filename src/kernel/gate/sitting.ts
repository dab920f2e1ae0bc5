/** Who sits on a worker, by program. */
import type { Program } from '../program/programs.ts';
import { slowdownOf } from '../program/programs.ts';
import type { WorkerState } from '../workers.ts';
import type { GateView } from './gate.ts';

export interface Sitting {
  readonly program: Program;
  /** What its threads hold there. */
  tokens: number;
  readonly claim: number;
}

/** The weakest claim first; equal ones in the order they sat down. */
export function sittingOn(nowUs: number, state: WorkerState, view: GateView): Sitting[] {
  const found = new Map<Program, Sitting>();
  for (const thread of view.threads.seated(state.worker.id)) {
    const program = view.programs.of(thread);
    if (program === undefined) continue;
    const tokens = view.threads.seatOf(thread)?.tokens ?? 0;
    const one = found.get(program);
    if (one !== undefined) one.tokens += tokens;
    else found.set(program, { program, tokens, claim: claimOf(nowUs, program) });
  }
  return [...found.values()].sort((a, b) => a.claim - b.claim);
}

/** How much it is its turn: its slowdown, twice as much with each step of priority. */
export function claimOf(nowUs: number, program: Program): number {
  return slowdownOf(nowUs, program) * weightOf(program);
}

/** Ten steps are a thousandfold: beyond that more says nothing. */
const PRIORITY_MAX = 10;

export function weightOf({ priority }: Program): number {
  return 2 ** Math.max(-PRIORITY_MAX, Math.min(PRIORITY_MAX, priority));
}
