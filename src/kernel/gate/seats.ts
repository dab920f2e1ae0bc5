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
 * Between tenants whoever had less memory for its weight goes first (`shares.ts`), and takes room of those
 * who had more; within a tenant claims decide. A claim is a program's slowdown, so all are slowed alike, whatever they want: one that has done little
 * waits little, and one that has done much keeps its seat for long. Between that and the ratio by which
 * a claim must exceed the one it replaces, a program changes seats as often as the logarithm of its work:
 * contexts are seldom computed again. Claims in line grow without bound and those at work do not, so
 * nobody waits for ever. A program stands up as a whole and between turns: no parent holds room for a
 * child that cannot run. Where everything fits, none of this does anything.
 *
 * Seats of this kind, with fixed tenures: `seats` in the project's policy study; attained service as
 * a claim: Autellix (arXiv 2502.13965).
 */
import { must } from '../../base/assert.ts';
import { RunningMean } from '../../base/running-mean.ts';
import type { TenantId, WorkerId } from '../../model/ids.ts';
import type { Arrival } from '../../model/kernel-io.ts';
import type { Program } from '../program/programs.ts';
import type { Waiter } from '../queue/waiting.ts';
import { obstacle } from '../route/filter.ts';
import { SURVEYED_MAX } from '../route/survey.ts';
import type { Thread } from '../session/threads.ts';
import type { WorkerState } from '../workers.ts';
import { Fronts } from './fronts.ts';
import { type Admission, type Gate, type GateView, HELD, OPEN, some } from './gate.ts';
import { Line } from './line.ts';
import { Shares } from './shares.ts';
import { claimOf, type Sitting, sittingOn } from './sitting.ts';

/** A claim replaces one, or stops others from passing, that is so many times weaker. */
const CLAIM_RATIO = 2.5;
/**
 * A seat is held for so many times what it costs to compute its context again, reckoned in its share of
 * the worker: computing contexts again takes at most one in so many microseconds, however long the line.
 */
const TENURES_MIN = 10;
/** Room is left for so many turns' growth of all who sit there, up to a share of what there is. */
const TURNS_AHEAD = 4;
const AHEAD_SHARE_MAX = 1 / 8;
/** Claims grow and seats wear out also while nothing happens. */
const LOOK_US = 500_000;
/** Of the line, so many are tried at once. */
const TRIED_MAX = 64;
/** Of turns, to see how much contexts grow. */
const MEMORY = 200;

/** A program that wants room. */
interface Wanting {
  program: Program;
  /** Of its context with this turn's answer. */
  tokens: number;
  /** Who may serve it. */
  states: readonly WorkerState[];
}

interface Entrant extends Wanting {
  model: string;
}

/** Of a program that has a seat. */
interface Turn {
  program: Program;
  thread: Thread;
  home: WorkerState;
  tokens: number;
}

export class Seats implements Gate {
  readonly #view: GateView;
  readonly #fronts: Fronts;
  readonly #shares: Shares;
  readonly #line = new Line();
  readonly #growth = new RunningMean({ memory: MEMORY, prior: 0 });

  constructor(view: GateView) {
    this.#view = view;
    this.#fronts = new Fronts(view, CLAIM_RATIO);
    const { threads, weightOf } = view;
    this.#shares = new Shares({ held: () => threads.heldTokens(), weightOf });
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
    const entrant = { program, model: request.model, tokens, states };
    const isIn = program.running > 0 || (home === undefined && this.#sits(program));
    if (isIn) return this.#joinIn(nowUs, entrant, rooms);
    return this.#enter(nowUs, entrant, rooms);
  }

  /** Tenants in turn, whoever had least first, and of each its strongest claims; models apart. */
  inOrder(nowUs: number, line: readonly Waiter[]): readonly Waiter[] {
    const { threads, programs } = this.#view;
    threads.lapse(nowUs);
    this.#count(nowUs);
    const claims = new Map<Program, number>();
    const groups = new Map<string, Group>();
    for (const waiter of line) {
      const { model, tenant } = waiter.request;
      const program = programs.of(threads.of(waiter.request));
      let claim = program === undefined ? Number.POSITIVE_INFINITY : claims.get(program);
      if (claim === undefined) claim = claimOf(nowUs, must(program, 'else its claim is known'));
      if (program !== undefined) claims.set(program, claim);
      const key = `${model} ${tenant}`;
      const group = groups.get(key);
      if (group !== undefined) group.waiters.push({ waiter, claim });
      else groups.set(key, { used: this.#shares.usedBy(tenant), waiters: [{ waiter, claim }] });
    }
    const byUse = [...groups.values()].sort((a, b) => a.used - b.used);
    for (const { waiters } of byUse) waiters.sort((a, b) => b.claim - a.claim);
    const order: Waiter[] = [];
    const tried = Math.min(TRIED_MAX, line.length);
    for (let i = 0; order.length < tried; i++) {
      for (const { waiters } of byUse) if (i < waiters.length) order.push(waiters[i].waiter);
    }
    return order;
  }

  nextUs(nowUs: number): number | undefined {
    return this.#line.isEmpty ? undefined : nowUs + LOOK_US;
  }

  placed(nowUs: number, { request }: Waiter, worker: WorkerId): number | undefined {
    const { threads, programs, workers } = this.#view;
    const program = programs.of(threads.of(request));
    const state = workers.get(worker);
    if (program === undefined || state === undefined) return undefined;
    return this.#fronts.dueUs(nowUs, program, state);
  }

  /** Whether it keeps its seat with what it brings now; others may lose theirs for it. */
  #stays(nowUs: number, turn: Turn): boolean {
    const { program, thread, home, tokens } = turn;
    const { live, worker } = home;
    const own = this.#view.threads.seatOf(thread)?.tokens ?? 0;
    const grown = Math.max(0, tokens - thread.sharedTokens - own);
    this.#growth.add(grown);
    if (live.tokens + grown <= worker.cacheTokens) return true;
    const roomTokens = this.#roomTokens(home);
    const sitting = sittingOn(nowUs, home, this.#view);
    const entrant = { program, tokens, states: [home] };
    for (const one of this.#leastOwed(sitting, entrant)) {
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
    const { program, model } = entrant;
    const claim = claimOf(nowUs, program);
    let others = 0;
    for (const rival of this.#line.rivals(nowUs, model, program)) {
      // Who is owed room has it before those who had more, whatever they claim.
      const isOwed = this.#isAhead(program.tenant, rival.tenant, entrant);
      if (isOwed) others = Number.POSITIVE_INFINITY;
      else if (rival.tenant === program.tenant) others = Math.max(others, rival.claim);
    }
    if (rooms.length > 0 && others <= CLAIM_RATIO * claim) return this.#sit(nowUs, program, rooms);
    const freed = claim >= others ? this.#makeRoom(nowUs, entrant, claim) : undefined;
    if (freed !== undefined) return this.#sit(nowUs, program, [freed]);
    this.#line.add(model, program);
    this.#count(nowUs);
    return HELD;
  }

  /** Somebody who is idle makes room, or caches would let go of whoever waits for it the longest. */
  #joinIn(nowUs: number, entrant: Entrant, rooms: readonly WorkerState[]): Admission {
    if (rooms.length > 0) return some(rooms.map(({ worker }) => worker.id));
    const freed = this.#makeRoom(nowUs, entrant, 'at once');
    return freed === undefined ? OPEN : some([freed.worker.id]);
  }

  #sit(nowUs: number, program: Program, rooms: readonly WorkerState[]): Admission {
    this.#line.delete(program);
    program.seatedUs = nowUs;
    return some(rooms.map(({ worker }) => worker.id));
  }

  /** On the worker where the least must be computed again; undefined where nobody need make room. */
  #makeRoom(nowUs: number, entrant: Entrant, claim: number | 'at once'): WorkerState | undefined {
    let best: { state: WorkerState; leaving: Program[]; us: number } | undefined;
    for (const state of entrant.states) {
      const { live, curve } = state;
      let missing = live.tokens + entrant.tokens - this.#roomTokens(state);
      let us = 0;
      const leaving: Program[] = [];
      const sitting = sittingOn(nowUs, state, this.#view);
      for (const one of this.#leastOwed(sitting, entrant)) {
        if (missing <= 0) break;
        const againUs = curve.prefillUs(allOf(one.tokens));
        if (one.program === entrant.program || one.program.running + one.program.waiting > 0)
          continue;
        const by = { isWeaker: this.#isWeaker(one, entrant, claim), againUs, state };
        if (claim !== 'at once' && !mayReplace(nowUs, one, by)) continue;
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

  /** Whether its seat may be taken by the entrant, in due time. */
  #isWeaker(one: Sitting, entrant: Entrant, claim: number | 'at once'): boolean {
    const { tenant } = one.program;
    if (claim === 'at once') return true;
    if (tenant !== entrant.program.tenant) {
      return this.#isAhead(tenant, entrant.program.tenant, entrant);
    }
    return claim >= CLAIM_RATIO * one.claim;
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
    if (!this.#line.isEmpty) return false;
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

  #count(nowUs: number): void {
    this.#shares.count(nowUs, this.#line.tenants(nowUs));
  }

  /**
   * Whether a tenant had so much more than another that the other is owed its room: as much as the
   * entrant must hold a seat for, so that two who are alike change seats no more often than that.
   */
  #isAhead(tenant: TenantId, over: TenantId, { tokens, states }: Wanting): boolean {
    if (tenant === over) return false;
    const [{ curve, worker }] = states;
    const seatUs = TENURES_MIN * curve.prefillUs(allOf(tokens));
    return this.#shares.lead(tenant, over) >= (seatUs / 1e6) * worker.cacheTokens;
  }

  /** Of tenants that had more than the entrant's first, and of those that had less last. */
  #leastOwed(sitting: Sitting[], entrant: Wanting): readonly Sitting[] {
    const { tenant } = entrant.program;
    if (sitting.every(({ program }) => program.tenant === tenant)) return sitting;
    const rank = ({ program }: Sitting) =>
      Number(this.#isAhead(tenant, program.tenant, entrant)) -
      Number(this.#isAhead(program.tenant, tenant, entrant));
    return sitting.sort((a, b) => rank(a) - rank(b));
  }
}

/** Of one model and tenant. */
interface Group {
  used: number;
  waiters: { waiter: Waiter; claim: number }[];
}

/** Who is away for so long that holding its context cost more than computing it again; who sat for long. */
function mayReplace(
  nowUs: number,
  { program, tokens }: Sitting,
  by: { isWeaker: boolean; againUs: number; state: WorkerState },
): boolean {
  const breakEvenUs = (by.againUs * by.state.worker.cacheTokens) / Math.max(1, tokens);
  if (nowUs - program.reckonedUs > breakEvenUs) return true;
  const tenureUs = nowUs - program.seatedUs;
  return by.isWeaker && tenureUs >= TENURES_MIN * breakEvenUs;
}

function allOf(tokens: number) {
  const none = { hostTokens: 0, diskTokens: 0, decoding: 0 };
  return { uncachedTokens: tokens, contextTokens: tokens, ...none };
}
