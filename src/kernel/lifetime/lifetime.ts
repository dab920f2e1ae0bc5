/**
 * How long threads' KV stays: hears what the kernel hears, and says what workers that take wishes
 * (`Worker.takesWishes`) should keep, and what they should let go.
 *
 *   arrived    its gap ends, and is learnt from; its parent's is for its children from now on
 *   dispatch   room is needed there: whoever is least worth keeping goes first, as much as is needed
 *   finished   a gap begins; what nobody comes back for is let go at once
 *   kept       what a wish came to: where it made less room than was thought, others have to
 */
import { Lru } from '../../base/lru.ts';
import { RunningMean } from '../../base/running-mean.ts';
import type { BlockHashes } from '../../model/block.ts';
import type { RequestId, TenantId, ThreadId } from '../../model/ids.ts';
import type { Arrival, Fact, KeepOrder, Order, TurnEnd } from '../../model/kernel-io.ts';
import type { ExactIndex } from '../index/exact.ts';
import type { Policy } from '../policy.ts';
import { oddsWithin } from '../program/return-odds.ts';
import { doingOf, returnUs, type Standing } from '../program/standing.ts';
import { type Away, ToolTimes } from '../program/tool-times.ts';
import type { Typical } from '../route/survey.ts';
import type { Threads } from '../session/threads.ts';
import type { WorkerState, Workers } from '../workers.ts';
import { type KeepTerms, termsOf } from './keeping.ts';
import { type Rest, Rests } from './resting.ts';
import { Sent } from './sent.ts';

export interface LifetimeParts {
  workers: Workers;
  threads: Threads;
  exact: ExactIndex;
  placing: { readonly typical: Typical; readonly policy: Policy };
}

export interface LifetimeLimits {
  /** Tools whose times are remembered, of all tenants. */
  toolsMax: number;
  /** Of what threads left in caches: how many, and of how many blocks together. */
  threadsMax: number;
  predictedBlocksMax: number;
}

/** Running means look back so many turns. */
const MEMORY = 200;
/** Wishes whose outcome is waited for. */
const ASKED_MAX = 4096;

const NOT_KNOWN: TurnEnd = { kind: 'tools', tools: [] };

export class Lifetime {
  readonly #parts: LifetimeParts;
  readonly #toolTimes: ToolTimes;
  readonly #rests: Rests;
  readonly #sent = new Sent();
  /** Room that a turn takes beyond what it finds. */
  readonly #need = new RunningMean({ memory: MEMORY, prior: 0 });
  readonly #asked = new Lru<number, Rest>(ASKED_MAX);
  /** What workers are to be told after this fact. */
  #wishes: KeepOrder[] = [];
  #moves = 0;

  constructor(parts: LifetimeParts, limits: LifetimeLimits) {
    this.#parts = parts;
    this.#toolTimes = new ToolTimes({ curvesMax: limits.toolsMax });
    const { threadsMax: restsMax, predictedBlocksMax: blocksMax } = limits;
    this.#rests = new Rests({ restsMax, blocksMax });
  }

  /** Before the kernel acts on it. */
  hears(nowUs: number, fact: Fact): void {
    switch (fact.kind) {
      case 'arrived':
        return this.#arrived(nowUs, fact.request);
      case 'firstTokenSent':
        return this.#computed(fact.request);
      case 'blocksStored':
        if (fact.tier === 'device') this.#stored(fact);
        return;
      case 'kept':
        return this.#answered(nowUs, fact);
      case 'finished':
        return this.#ended(nowUs, fact.request, fact);
      case 'cancelled':
        return this.#ended(nowUs, fact.request, NOTHING);
      case 'failed':
        return fact.retry
          ? this.#takenBack(fact.request)
          : this.#ended(nowUs, fact.request, NOTHING);
      case 'threadEnded':
        for (const rest of [...this.#rests.of(fact)]) this.#nobodys(nowUs, rest);
        return;
      case 'workerLeft':
      case 'blocksCleared':
        for (const rest of [...this.#rests.on(fact.worker)]) this.#forget(nowUs, rest);
        return;
    }
  }

  /** What the kernel decided; what workers have to be told goes before it. */
  decided(nowUs: number, orders: Order[]): void {
    for (const order of orders) {
      if (order.kind === 'dispatch') this.#dispatched(nowUs, order);
      else if (order.kind === 'reject') this.#ended(nowUs, order.request, NOTHING);
    }
    if (this.#wishes.length === 0) return;
    orders.unshift(...this.#wishes);
    this.#wishes = [];
  }

  /** What the thread does now; undefined where nothing is known of it. */
  standing(nowUs: number, thread: { tenant: TenantId; thread: ThreadId }): Standing | undefined {
    const open = this.#sent.ofThread(thread);
    const rest = this.#rests.of(thread).at(0);
    if (open !== undefined) {
      const { request, arrivedUs, worker } = open;
      const { session, parent, promptTokens: contextTokens } = request;
      const never = { tool: undefined, returnsUs: undefined };
      return {
        doing: 'thinking',
        sinceUs: arrivedUs,
        session,
        parent,
        worker,
        contextTokens,
        ...never,
      };
    }
    if (rest === undefined) return undefined;
    const { gap, sinceUs, session, parent, worker, contextTokens } = rest;
    return {
      doing: gap === undefined ? 'ended' : doingOf(gap.away),
      tool: gap?.tool,
      ...{ sinceUs, session, parent, worker, contextTokens },
      returnsUs: gap && returnUs(nowUs, gap, this.#toolTimes.odds(nowUs, gap)),
    };
  }

  check(): void {
    this.#rests.check();
    this.#sent.check();
  }

  #arrived(nowUs: number, request: Arrival): void {
    if (request.thread === undefined || request.whenIdle) return;
    this.#sent.arrived(nowUs, request);
    const rest = this.#rests.of(request).at(0);
    if (rest?.gap !== undefined && !isLeft(rest.gap.away)) {
      this.#toolTimes.ends(nowUs, rest.gap, request.toolsRan);
      // Until it is sent somewhere.
      rest.gap = this.#toolTimes.begins(nowUs, { kind: 'inLine' });
    }
    const parent = this.#rests.of({ tenant: request.tenant, thread: request.parent }).at(0);
    if (parent?.gap?.away.kind !== 'tools') return;
    this.#toolTimes.letGo(nowUs, parent.gap);
    parent.gap = this.#toolTimes.begins(nowUs, { kind: 'children' });
  }

  #dispatched(
    nowUs: number,
    { request: id, worker, decision }: Extract<Order, { kind: 'dispatch' }>,
  ): void {
    const open = this.#sent.of(id);
    const state = this.#parts.workers.get(worker);
    if (open === undefined || state === undefined) return;
    const { request } = open;
    const chosen = decision.candidates.find((one) => one.worker === worker);
    const matchedTokens = chosen?.matchedTokens ?? 0;
    let sharedTokens = matchedTokens;
    for (const rest of [...this.#rests.of(request)]) {
      // What it finds of its own there is not shared.
      sharedTokens = Math.min(sharedTokens, rest.sharedTokens);
      this.#resumed(nowUs, rest, { ...request, worker });
    }
    const freshTokens = request.promptTokens - matchedTokens;
    this.#need.add(freshTokens);
    const owedTokens = freshTokens + this.#parts.placing.typical.outputTokens;
    this.#sent.sent(open, worker, { sharedTokens, owedTokens });
    if (this.#decidesFor(state)) this.#makeRoom(nowUs, state);
  }

  /** Its thread is back: what it left is in use, or it was left behind. */
  #resumed(nowUs: number, rest: Rest, by: Pick<Rest, 'hashes' | 'worker'>): void {
    const { hashes, blockTokens, gap } = rest;
    const last = hashes.length - 1;
    const goesOn = last < 0 || by.hashes[last] === hashes[last];
    if (rest.worker === by.worker) {
      if (goesOn) return this.#forget(nowUs, rest, 'ends');
      const common = commonBlocks(hashes, by.hashes);
      rest.sharedTokens = Math.max(rest.sharedTokens, common * blockTokens);
    }
    if (gap === undefined || isLeft(gap.away)) return;
    this.#toolTimes.ends(nowUs, gap);
    rest.gap = this.#toolTimes.begins(nowUs, { kind: goesOn ? 'copy' : 'branch' });
  }

  #ended(
    nowUs: number,
    id: RequestId,
    { outputTokens, turn }: { outputTokens: number; turn?: TurnEnd | undefined },
  ): void {
    const open = this.#sent.of(id);
    if (open === undefined) return;
    const { request, worker, sharedTokens } = open;
    this.#sent.over(open);
    const { tenant, thread, session, parent, hashes, blockTokens, retainUs } = request;
    if (thread === undefined || worker === undefined || !this.#parts.workers.get(worker)) {
      const before = this.#rests.of(request).at(0);
      if (before?.gap?.away.kind === 'inLine') this.#waits(nowUs, before, NOT_KNOWN);
      return;
    }
    const rest: Rest = {
      ...{ tenant, thread, session, parent, worker, hashes, blockTokens, sharedTokens },
      contextTokens: request.promptTokens + outputTokens,
      sinceUs: nowUs,
      keptUntilUs: retainUs === undefined ? undefined : nowUs + retainUs,
      ...{ gap: undefined, told: undefined },
    };
    for (const old of this.#rests.add(rest)) this.#nobodys(nowUs, old);
    if (isLast(request)) this.#nobodys(nowUs, rest);
    else this.#waits(nowUs, rest, turn ?? NOT_KNOWN);
  }

  #waits(nowUs: number, rest: Rest, turn: TurnEnd): void {
    if (rest.gap !== undefined) this.#toolTimes.letGo(nowUs, rest.gap);
    rest.gap = this.#toolTimes.begins(nowUs, awayOf(rest, turn));
    const state = this.#parts.workers.get(rest.worker);
    if (state === undefined || !this.#decidesFor(state)) return;
    if (!this.#isAwaited(nowUs, rest)) this.#tell(rest, 'release');
  }

  /** Its thread is more likely away than gone. */
  #isAwaited(nowUs: number, rest: Rest): boolean {
    const { gap } = rest;
    if (gap === undefined || isLeft(gap.away)) return false;
    const odds = this.#toolTimes.odds(nowUs, gap);
    return oddsWithin(odds, nowUs - gap.begunUs, Number.POSITIVE_INFINITY) > 0.5;
  }

  /** As much as is missing, of those that are least worth keeping. */
  #makeRoom(nowUs: number, state: WorkerState): void {
    if (this.#parts.placing.policy.keepsKv !== 'all') return;
    const { worker } = state;
    const takenTokens = this.#residentTokens(state) + this.#sent.owedTokens(worker.id);
    // Answers may be longer than expected: room for one more turn.
    let missing = takenTokens + this.#need.mean - worker.cacheTokens;
    if (missing <= 0) return;
    const ranked: { rest: Rest; terms: KeepTerms }[] = [];
    for (const rest of this.#rests.on(worker.id)) {
      ranked.push({ rest, terms: this.#termsOf(nowUs, rest, state) });
    }
    ranked.sort((a, b) => a.terms.perTokenS - b.terms.perTokenS);
    for (const { rest, terms } of ranked) {
      if (missing > 0) {
        missing -= this.#roomIn(nowUs, rest, state);
        if (rest.told !== 'release' && this.#rests.has(rest)) this.#tell(rest, 'release');
        // It was to go, and by now others are worth less.
      } else if (rest.told === 'release' && this.#isAwaited(nowUs, rest)) {
        this.#tell(rest, 'retain', terms.untilUs);
      }
    }
  }

  #termsOf(nowUs: number, rest: Rest, { curve }: WorkerState): KeepTerms {
    const { gap, contextTokens, sharedTokens, keptUntilUs } = rest;
    const tokens = Math.max(1, contextTokens - sharedTokens);
    const none = { hostTokens: 0, diskTokens: 0, decoding: 0 };
    return termsOf({
      returnOdds: gap && this.#toolTimes.odds(nowUs, gap),
      ageUs: gap === undefined ? 0 : nowUs - gap.begunUs,
      savedUs: curve.prefillUs({ uncachedTokens: tokens, contextTokens, ...none }),
      tokens,
      boundUs: (keptUntilUs ?? Number.POSITIVE_INFINITY) - nowUs,
    });
  }

  /** What lies there and is its own. What nobody asks for, and is not there any more, is forgotten. */
  #roomIn(nowUs: number, rest: Rest, { worker, mode }: WorkerState): number {
    const { exact } = this.#parts;
    let tokens = rest.contextTokens;
    if (mode === 'exact') {
      exact.look(rest.hashes);
      tokens = (exact.matched(worker.id)?.disk ?? 0) * rest.blockTokens;
    }
    const own = Math.max(0, tokens - rest.sharedTokens);
    if (own >= rest.blockTokens) return own;
    if (rest.gap === undefined || rest.told === 'release') this.#forget(nowUs, rest);
    return 0;
  }

  #residentTokens({ worker, mode }: WorkerState): number {
    if (mode === 'exact') return this.#parts.exact.count(worker.id) * worker.blockTokens;
    let tokens = 0;
    for (const rest of this.#rests.on(worker.id)) tokens += rest.contextTokens - rest.sharedTokens;
    return tokens;
  }

  #answered(nowUs: number, { move, answer, tokens }: Extract<Fact, { kind: 'kept' }>): void {
    const rest = this.#asked.peek(move);
    this.#asked.delete(move);
    const state = rest && this.#parts.workers.get(rest.worker);
    if (rest === undefined || state === undefined || !this.#rests.has(rest)) return;
    if (answer === 'missing') return this.#forget(nowUs, rest);
    if (rest.told !== 'release' || answer === undefined) return;
    const own = this.#roomIn(nowUs, rest, state);
    if (tokens >= own) return;
    // Others share it: that stays.
    rest.sharedTokens += own - tokens;
    if (this.#decidesFor(state)) this.#makeRoom(nowUs, state);
  }

  /** Nobody comes back for it. */
  #nobodys(nowUs: number, rest: Rest): void {
    if (rest.gap !== undefined) this.#toolTimes.letGo(nowUs, rest.gap);
    rest.gap = undefined;
    this.#rests.disown(rest);
    const state = this.#parts.workers.get(rest.worker);
    if (state !== undefined && this.#decidesFor(state)) this.#tell(rest, 'release');
    else this.#rests.drop(rest);
  }

  /** `lost`: nobody will see the end of its gap; `ends`: its thread is back for it. */
  #forget(nowUs: number, rest: Rest, how: 'lost' | 'ends' = 'lost'): void {
    if (rest.gap !== undefined) {
      if (how === 'ends') this.#toolTimes.ends(nowUs, rest.gap);
      else this.#toolTimes.letGo(nowUs, rest.gap);
    }
    rest.gap = undefined;
    this.#rests.drop(rest);
  }

  #tell(rest: Rest, wish: 'release' | 'retain', ttlUs?: number): void {
    const { worker, tenant, thread, hashes } = rest;
    rest.told = wish;
    const move = this.#moves++;
    this.#asked.set(move, rest);
    this.#wishes.push({ kind: 'keep', move, worker, wish, ttlUs, tenant, thread, hashes });
  }

  #takenBack(id: RequestId): void {
    const open = this.#sent.of(id);
    if (open !== undefined) this.#sent.takenBack(open);
  }

  /** Its answer is still to come. */
  #computed(id: RequestId): void {
    const open = this.#sent.of(id);
    if (open?.worker !== undefined) open.owedTokens = this.#parts.placing.typical.outputTokens;
  }

  #stored({ worker, hashes }: Extract<Fact, { kind: 'blocksStored' }>): void {
    const blockTokens = this.#parts.workers.get(worker)?.worker.blockTokens ?? 0;
    this.#sent.stored(worker, hashes.length * blockTokens);
  }

  /** Gaps are learnt from in any case. */
  #decidesFor({ worker }: WorkerState): boolean {
    return this.#parts.placing.policy.keepsKv !== undefined && worker.takesWishes === true;
  }
}

const NOTHING = { outputTokens: 0 };

function awayOf({ tenant, parent }: Rest, turn: TurnEnd): Away {
  if (turn.kind === 'tools') return { kind: 'tools', tenant, tools: turn.tools };
  return { kind: parent === undefined ? 'person' : 'childDone' };
}

/** Whether its thread came back, and left it behind. */
function isLeft({ kind }: Away): boolean {
  return kind === 'branch' || kind === 'copy';
}

/** Nobody goes on from its prompt: its client says so, or it asked for something beside its session. */
function isLast({ isFinal, purpose }: Arrival): boolean {
  return isFinal === true || purpose === 'compaction' || purpose === 'side';
}

/** Leading blocks that both have: chained hashes agree up to somewhere, and from there on no more. */
function commonBlocks(a: BlockHashes, b: BlockHashes): number {
  let [least, most] = [0, Math.min(a.length, b.length)];
  while (least < most) {
    const middle = (least + most + 1) >> 1;
    if (a[middle - 1] === b[middle - 1]) least = middle;
    else most = middle - 1;
  }
  return least;
}
