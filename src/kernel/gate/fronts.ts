/**
 * Whose turns go first on a worker that keeps more contexts than its device can run. As many programs as
 * the device holds are up front: their turns begin at once, and others are set aside for them. Those
 * behind fill what is left over, and each of their turns is due when its program's slowdown will have
 * grown to where it would be up front: so nobody waits for ever, and a few fast turns in a row, then
 * none for a while, take no longer than as many slow ones.
 */
import type { Program } from '../program/programs.ts';
import type { WorkerState } from '../workers.ts';
import type { GateView } from './gate.ts';
import { claimOf, type Sitting, sittingOn, weightOf } from './sitting.ts';

export class Fronts {
  readonly #view: GateView;
  readonly #claimRatio: number;

  /** Who is up front makes room for claims so many times its own. */
  constructor(view: GateView, claimRatio: number) {
    this.#view = view;
    this.#claimRatio = claimRatio;
  }

  /** A turn of the program was placed: by when it should begin. */
  dueUs(nowUs: number, program: Program, state: WorkerState): number | undefined {
    const { worker, live } = state;
    if (worker.deviceTokens === undefined) return undefined;
    if (live.tokens <= worker.deviceTokens) {
      program.front = worker.id;
      return nowUs;
    }
    const sitting = sittingOn(nowUs, state, this.#view);
    const fronts = sitting.filter((one) => one.program.front === worker.id);
    const others = fronts.filter((one) => one.program !== program);
    const own = sitting.find((one) => one.program === program);
    const othersTokens = others.reduce((sum, one) => sum + one.tokens, 0);
    const missing = othersTokens + (own?.tokens ?? 0) - worker.deviceTokens;
    if (program.front === worker.id) this.#shrink(fronts, missing);
    else if (this.#makeWay(others, missing, claimOf(nowUs, program))) program.front = worker.id;
    if (program.front === worker.id) return nowUs;
    return this.#promotedUs(nowUs, program, others[0]?.claim ?? 1);
  }

  /** Contexts grew: the weakest claims step back. */
  #shrink(fronts: readonly Sitting[], missing: number): void {
    let left = missing;
    for (const { program, tokens } of fronts) {
      if (left <= 0) return;
      program.front = undefined;
      left -= tokens;
    }
  }

  /** Between turns only, and only where it is enough. */
  #makeWay(others: readonly Sitting[], missing: number, claim: number): boolean {
    let left = missing;
    const back: Program[] = [];
    for (const one of others) {
      if (left <= 0 || one.claim * this.#claimRatio > claim) break;
      if (one.program.running > 0) continue;
      back.push(one.program);
      left -= one.tokens;
    }
    if (left > 0) return false;
    for (const program of back) program.front = undefined;
    return true;
  }

  /** When its claim, growing while it waits, will be enough for the weakest up front to step back. */
  #promotedUs(nowUs: number, program: Program, weakest: number): number {
    const slowdown = (weakest * this.#claimRatio) / weightOf(program);
    const { ageUs, aloneUs, openUs, reckonedUs } = program;
    const atUs = reckonedUs + slowdown * (aloneUs + openUs) - ageUs - openUs;
    return Math.max(nowUs + 1, Math.round(atUs));
  }
}
