/**
 * Stator's gate. A program has a seat where its contexts lie; the seats of a worker hold no more than its
 * caches. Beyond that, recently-used order would throw out each context just before its next turn, and no
 * router helps: whole programs take turns instead.
 *
 *   arrives ──► has a seat? ──yes──► its worker, or a better one with room
 *                  │no                    └─ contexts grew too far: the weakest claims there stand up
 *                  ▼
 *               room somewhere? ──yes──► sits down at the best price, unless it passes a far stronger claim
 *                  │no
 *                  ▼
 *               strongest claim in line? ──yes──► somebody idle stands up for it, if that is fair
 *                  │no                             or is away for longer than its seat is worth
 *                  ▼
 *               waits in line; its claim grows
 *
 * A claim is a program's slowdown, so all are slowed alike, whatever they want: one that has done little
 * waits little, and one that has done much keeps its seat for long. Between that and the ratio by which
 * a claim must exceed the one it replaces, a program changes seats as often as the logarithm of its work:
 * contexts are seldom computed again. Claims in line grow without bound and those at work do not, so
 * nobody waits for ever. A program stands up as a whole and between turns: no parent holds room for a
 * child that cannot run. Where everything fits, none of this does anything.
 *
 * Seats of this kind, with fixed tenures: `seats` in the project's policy study; attained service as
 * a claim: Autellix (arXiv 2502.13965).
 */
import { RunningMean } from '../../base/running-mean.ts';
import type { WorkerId } from '../../model/ids.ts';
import type { Arrival } from '../../model/kernel-io.ts';
import type { Program } from '../program/programs.ts';
import type { Waiter } from '../queue/waiting.ts';
import { obstacle } from '../route/filter.ts';
import { SURVEYED_MAX } from '../route/survey.ts';
import type { Thread } from '../session/threads.ts';
import type { WorkerState } from '../workers.ts';
import { Fronts } from './fronts.ts';
import { type Admission, type Gate, type GateView, HELD, OPEN, some } from './gate.ts';
import { claimOf, type Sitting, sittingOn } from './sitting.ts';

/** A claim replaces one, or stops others from passing, that is so many times weaker. */
const CLAIM_RATIO = 3;
/**
 * A seat is held for so many times what it costs to compute its context again, reckoned in its share of
 * the worker: computing contexts again takes at most one in so many microseconds, however long the line.
 */
const TENURES_MIN = 6;
/** Room is left for so many turns' growth of all who sit there, up to a share of what there is. */
const TURNS_AHEAD = 4;
const AHEAD_SHARE_MAX = 1 / 8;
/** Claims grow and seats wear out also while nothing happens. */
const LOOK_US = 500_000;
/** Of the line, so many are tried at once. */
const TRIED_MAX = 64;
/** Of turns, to see how much contexts grow. */
const MEMORY = 200;

interface Entrant {
  program: Program;
  /** Of its context with this turn's answer. */
  tokens: number;
  /** Who may serve it. */
  states: readonly WorkerState[];
}

export class Seats implements Gate {
  readonly #view: GateView;
  readonly #fronts: Fronts;
  readonly #line = new Set<Program>();
  readonly #growth = new RunningMean({ memory: MEMORY, prior: 0 });
  /** The two strongest claims in line; undefined where the line changed since. */
  #strongest: Strongest | undefined;

  constructor(view: GateView) {
    this.#view = view;
    this.#fronts = new Fronts(view, CLAIM_RATIO);
  }

  admit(nowUs: number, { request }: Waiter): Admission {
    const { threads, programs, workers } = this.#view;
    const thread = threads.of(request);
    const program = programs.of(thread);
    const serving = workers.serving(request.model);
    if (serving.length > SURVEYED_MAX && this.#hasRoom(request, serving)) {
      if (program !== undefined && !this.#sits(program)) program.seatedUs = nowUs;
      return OPEN;
    }
    const states = serving.filter((state) => obstacle(request, state) === undefined);
    // What is of no thread holds room only while it runs.
    if (thread === undefined || program === undefined || states.length === 0) return OPEN;
    const tokens = request.promptTokens + this.#view.outputTokens();
    const seat = threads.seatOf(thread);
    const home = states.find(({ worker }) => worker.id === seat?.worker);
    const rooms = states.filter((state) => this.#fits(state, tokens));
    if (home !== undefined && this.#stays(nowUs, { program, thread, home, tokens })) {
      // Who waits there waits behind it, or it behind them: no price of another place says which.
      const isShared = home.live.tokens > (home.worker.deviceTokens ?? Number.POSITIVE_INFINITY);
      return some((isShared ? [home] : [home, ...rooms]).map(({ worker }) => worker.id));
    }
    // A sub-agent of a program that is in, or a turn whose worker left: its program must not wait for it.
    const isIn = program.running > 0 || (home === undefined && this.#sits(program));
    if (isIn) return rooms.length > 0 ? some(rooms.map(({ worker }) => worker.id)) : OPEN;
    return this.#enter(nowUs, { program, tokens, states }, rooms);
  }

  inOrder(nowUs: number, line: readonly Waiter[]): readonly Waiter[] {
    const { threads, programs } = this.#view;
    threads.lapse(nowUs);
    const claims = new Map<Program, number>();
    const keyed = line.map((waiter) => {
      const program = programs.of(threads.of(waiter.request));
      if (program === undefined) return { waiter, claim: Number.POSITIVE_INFINITY };
      let claim = claims.get(program);
      if (claim === undefined) claims.set(program, (claim = claimOf(nowUs, program)));
      return { waiter, claim };
    });
    keyed.sort((a, b) => b.claim - a.claim);
    return keyed.slice(0, TRIED_MAX).map(({ waiter }) => waiter);
  }

  nextUs(nowUs: number): number | undefined {
    for (const program of this.#line) {
      if (program.waiting > 0) return nowUs + LOOK_US;
      this.#line.delete(program);
    }
    return undefined;
  }

  placed(nowUs: number, { request }: Waiter, worker: WorkerId): number | undefined {
    const { threads, programs, workers } = this.#view;
    const program = programs.of(threads.of(request));
    const state = workers.get(worker);
    if (program === undefined || state === undefined) return undefined;
    return this.#fronts.dueUs(nowUs, program, state);
  }

  /** Whether it keeps its seat with what it brings now; others may lose theirs for it. */
  #stays(
    nowUs: number,
    turn: { program: Program; thread: Thread; home: WorkerState; tokens: number },
  ): boolean {
    const { program, thread, home, tokens } = turn;
    const { live, worker } = home;
    const own = this.#view.threads.seatOf(thread)?.tokens ?? 0;
    const grown = Math.max(0, tokens - thread.sharedTokens - own);
    this.#growth.add(grown);
    if (live.tokens + grown <= worker.cacheTokens) return true;
    const roomTokens = this.#roomTokens(home);
    for (const one of sittingOn(nowUs, home, this.#view)) {
      if (live.tokens + grown <= roomTokens) return true;
      const isSelf = one.program === program;
      if (one.program.running > 0 || (one.program.waiting > 0 && !isSelf)) continue;
      // Alone with what fits nowhere it had better be served.
      if (isSelf && live.tokens === one.tokens) return true;
      this.#standUp(one.program);
      if (isSelf) return false;
    }
    return true;
  }

  #enter(nowUs: number, entrant: Entrant, rooms: readonly WorkerState[]): Admission {
    const { program } = entrant;
    const claim = claimOf(nowUs, program);
    const others = this.#strongestBut(nowUs, program);
    if (rooms.length > 0 && others <= CLAIM_RATIO * claim) return this.#sit(nowUs, program, rooms);
    const freed = claim >= others ? this.#makeRoom(nowUs, entrant, claim) : undefined;
    if (freed !== undefined) return this.#sit(nowUs, program, [freed]);
    if (!this.#line.has(program)) this.#strongest = undefined;
    this.#line.add(program);
    return HELD;
  }

  #sit(nowUs: number, program: Program, rooms: readonly WorkerState[]): Admission {
    if (this.#line.delete(program)) this.#strongest = undefined;
    program.seatedUs = nowUs;
    return some(rooms.map(({ worker }) => worker.id));
  }

  /** On the worker where the least must be computed again; undefined where nobody need make room. */
  #makeRoom(nowUs: number, entrant: Entrant, claim: number): WorkerState | undefined {
    let best: { state: WorkerState; leaving: Program[]; us: number } | undefined;
    for (const state of entrant.states) {
      const { live, curve } = state;
      let missing = live.tokens + entrant.tokens - this.#roomTokens(state);
      let us = 0;
      const leaving: Program[] = [];
      const sitting = sittingOn(nowUs, state, this.#view);
      for (const one of sitting) {
        if (missing <= 0) break;
        const againUs = curve.prefillUs(allOf(one.tokens));
        if (!mayReplace(nowUs, one, { claim, againUs, state })) continue;
        leaving.push(one.program);
        missing -= one.tokens;
        us += againUs;
      }
      // What fits nowhere gets a worker of its own.
      if (missing > 0 && sitting.length > leaving.length) continue;
      if (best === undefined || us < best.us) best = { state, leaving, us };
    }
    for (const program of best?.leaving ?? []) this.#standUp(program);
    return best?.state;
  }

  #standUp(program: Program): void {
    program.front = undefined;
    for (const thread of program.threads) this.#view.threads.unseat(thread);
  }

  #sits(program: Program): boolean {
    for (const thread of program.threads) {
      if (this.#view.threads.seatOf(thread) !== undefined) return true;
    }
    return false;
  }

  /** Nobody waits, and somebody has room: in a fleet that is not looked through, prices see to the rest. */
  #hasRoom(request: Arrival, serving: readonly WorkerState[]): boolean {
    if (this.#line.size > 0) return false;
    const tokens = request.promptTokens + this.#view.outputTokens();
    return serving.some(
      (state) => obstacle(request, state) === undefined && this.#fits(state, tokens),
    );
  }

  #fits(state: WorkerState, tokens: number): boolean {
    const { live } = state;
    return live.threads === 0 || live.tokens + tokens <= this.#roomTokens(state);
  }

  /** What may be taken when somebody sits down: the rest is for those who are there. */
  #roomTokens({ worker, live }: WorkerState): number {
    const ahead = TURNS_AHEAD * live.threads * this.#growth.mean;
    return worker.cacheTokens - Math.min(ahead, AHEAD_SHARE_MAX * worker.cacheTokens);
  }

  #strongestBut(nowUs: number, program: Program): number {
    let strongest = this.#strongest;
    if (strongest?.atUs !== nowUs) this.#strongest = strongest = this.#findStrongest(nowUs);
    const { first, second } = strongest;
    return (first?.program === program ? second?.claim : first?.claim) ?? 0;
  }

  #findStrongest(nowUs: number): Strongest {
    let first: Claim | undefined;
    let second: Claim | undefined;
    for (const program of this.#line) {
      // Its clients left, or were refused.
      if (program.waiting === 0) {
        this.#line.delete(program);
        continue;
      }
      const claim = { program, claim: claimOf(nowUs, program) };
      if (first === undefined || claim.claim > first.claim) [first, second] = [claim, first];
      else if (second === undefined || claim.claim > second.claim) second = claim;
    }
    return { atUs: nowUs, first, second };
  }
}

interface Strongest {
  atUs: number;
  first: Claim | undefined;
  second: Claim | undefined;
}

interface Claim {
  program: Program;
  claim: number;
}

/** Nobody in a turn; who is away for so long that holding its context cost more than computing it again. */
function mayReplace(
  nowUs: number,
  { program, tokens, claim }: Sitting,
  by: { claim: number; againUs: number; state: WorkerState },
): boolean {
  if (program.running + program.waiting > 0) return false;
  const breakEvenUs = (by.againUs * by.state.worker.cacheTokens) / Math.max(1, tokens);
  if (nowUs - program.reckonedUs > breakEvenUs) return true;
  const tenureUs = nowUs - program.seatedUs;
  return by.claim >= CLAIM_RATIO * claim && tenureUs >= TENURES_MIN * breakEvenUs;
}

function allOf(tokens: number) {
  const none = { hostTokens: 0, diskTokens: 0, decoding: 0 };
  return { uncachedTokens: tokens, contextTokens: tokens, ...none };
}
