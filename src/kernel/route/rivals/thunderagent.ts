/**
 * ThunderAgent (arXiv 2602.13692; `scheduler/router.py` of its repository) as NVIDIA Dynamo ships it
 * (`components/src/dynamo/thunderagent_router`), with the defaults documented there. A program is one
 * session, reasoning while a call of its runs and acting between calls. Each worker's budget is what its
 * caches hold; on it count the contexts of active programs and a buffer for each, those of acting ones
 * halved with each `ACTING_HALF_US` of acting. Every five seconds:
 *
 *   resume   paused programs, the smallest first, each on the worker it fills best, up to 0.85 of the budget
 *   pause    above 0.95: acting programs, the smallest first, down to 0.80; then reasoning ones, to be
 *            paused when their call ends
 *
 * Who is paused for half an hour is resumed whatever there is. New programs start where the least is
 * used, if it fits. Ours: an empty worker takes anybody, and whose context has decayed to nothing holds
 * nothing, for nobody says when a session is over. Left out: soft demotion and the boost after a resume, by 2 s and 1 s in the priority
 * queue of engines that have one.
 */
import { Lru } from '../../../base/lru.ts';
import type { RequestId, WorkerId } from '../../../model/ids.ts';
import type { Arrival, Fact } from '../../../model/kernel-io.ts';
import { type Admission, type Gate, type GateView, HELD, OPEN, some } from '../../gate/gate.ts';
import { type Policy, programKey } from '../../policy.ts';
import type { Waiter } from '../../queue/waiting.ts';
import { leastRequests } from './least-requests.ts';

const TICK_US = 5_000_000;
const PAUSE_THRESHOLD = 0.95;
const PAUSE_TARGET = 0.8;
const RESUME_HYSTERESIS = 0.1;
/** Per program: a token, a hundred and room to grow. */
const BUFFER_TOKENS = 1 + 100 + 256;
const ACTING_HALF_US = 1_000_000;
const FORCED_US = 1_800_000_000;

interface Agent {
  tokens: number;
  /** Calls that run or wait. */
  calls: number;
  actingUs: number;
  /** Undefined: paused. */
  worker: WorkerId | undefined;
  pausedUs: number;
  /** To be paused when its call ends. */
  isMarked: boolean;
}

export function thunderagent({ threadsMax }: { threadsMax: number }): Policy {
  const agents = new Lru<string, Agent>(threadsMax);
  const placing = leastRequests();
  return {
    name: 'thunderagent',
    view: 'load',
    gate: (view) => new PausingGate(view, agents),
    // The gate has said where.
    choose: (request, seen, rng) => placing.choose(request, seen, rng),
  };
}

class PausingGate implements Gate {
  readonly #view: GateView;
  readonly #agents: Lru<string, Agent>;
  readonly #requests = new Map<RequestId, Agent>();
  #tickedUs = 0;

  constructor(view: GateView, agents: Lru<string, Agent>) {
    this.#view = view;
    this.#agents = agents;
  }

  admit(_nowUs: number, { request }: Waiter): Admission {
    const agent = this.#requests.get(request.id);
    if (agent === undefined) return OPEN;
    const workers = this.#workers();
    if (agent.worker !== undefined && !workers.some(({ id }) => id === agent.worker)) {
      agent.worker = undefined;
    }
    return agent.worker === undefined ? HELD : some([agent.worker]);
  }

  inOrder(_nowUs: number, line: readonly Waiter[]): readonly Waiter[] {
    return line;
  }

  nextUs(): number | undefined {
    // Where nobody calls there is nothing to pause, and nobody to resume.
    return this.#requests.size > 0 ? this.#tickedUs + TICK_US : undefined;
  }

  hears(nowUs: number, fact: Fact): void {
    this.#tick(nowUs);
    if (fact.kind === 'arrived') this.#arrived(nowUs, fact.request);
    else if (fact.kind === 'finished') this.#ended(nowUs, fact.request, fact.outputTokens);
    else if (fact.kind === 'cancelled') this.#ended(nowUs, fact.request, 0);
    else if (fact.kind === 'failed' && !fact.retry) this.#ended(nowUs, fact.request, 0);
  }

  refused(nowUs: number, request: RequestId): void {
    this.#ended(nowUs, request, 0);
  }

  #arrived(nowUs: number, request: Arrival): void {
    const key = programKey(request);
    if (key === undefined) return;
    let agent = this.#agents.get(key);
    if (agent === undefined) {
      agent = newAgent(nowUs);
      this.#agents.set(key, agent);
      const needed = request.promptTokens + BUFFER_TOKENS;
      const least = this.#workers()
        .map(({ id, cacheTokens }) => ({ id, ...this.#roomOn(nowUs, id, cacheTokens) }))
        .filter(({ left, isEmpty }) => isEmpty || left >= needed)
        .sort((a, b) => b.left - a.left)
        .at(0);
      agent.worker = least?.id;
    }
    agent.tokens = request.promptTokens;
    agent.calls++;
    this.#requests.set(request.id, agent);
  }

  #ended(nowUs: number, request: RequestId, outputTokens: number): void {
    const agent = this.#requests.get(request);
    if (agent === undefined) return;
    this.#requests.delete(request);
    agent.tokens += outputTokens;
    agent.calls--;
    agent.actingUs = nowUs;
    if (agent.isMarked && agent.calls === 0) pause(nowUs, agent);
  }

  #tick(nowUs: number): void {
    if (nowUs < this.#tickedUs + TICK_US) return;
    this.#tickedUs = nowUs;
    this.#resume(nowUs);
    for (const { id, cacheTokens } of this.#workers()) this.#relieve(nowUs, id, cacheTokens);
  }

  #resume(nowUs: number): void {
    const paused = [...this.#agents.values()].filter(({ worker }) => worker === undefined);
    paused.sort((a, b) => a.tokens - b.tokens);
    const share = PAUSE_THRESHOLD - RESUME_HYSTERESIS;
    const rooms = this.#workers().map(({ id, cacheTokens }) => ({
      id,
      ...this.#roomOn(nowUs, id, share * cacheTokens),
    }));
    for (const agent of paused) {
      // Those whose tool still runs have nothing to be resumed for.
      if (agent.calls === 0 || rooms.length === 0) continue;
      const needed = agent.tokens + BUFFER_TOKENS;
      const fitting = rooms.filter(({ left, isEmpty }) => isEmpty || left >= needed);
      const best = fitting.sort((a, b) => a.left - b.left)[0];
      const isForced = nowUs - agent.pausedUs >= FORCED_US;
      if (best === undefined && !isForced) continue;
      const room = best ?? rooms.reduce((most, one) => (one.left > most.left ? one : most));
      room.left -= needed;
      room.isEmpty = false;
      agent.worker = room.id;
    }
  }

  #relieve(nowUs: number, worker: WorkerId, budget: number): void {
    let used = this.#usedTokens(nowUs, worker);
    if (used <= PAUSE_THRESHOLD * budget) return;
    const there = [...this.#agents.values()].filter((agent) => agent.worker === worker);
    there.sort((a, b) => Number(a.calls > 0) - Number(b.calls > 0) || a.tokens - b.tokens);
    for (const agent of there) {
      if (used <= PAUSE_TARGET * budget) return;
      if (agent.isMarked) continue;
      used -= countedTokens(nowUs, agent);
      if (agent.calls > 0) agent.isMarked = true;
      else pause(nowUs, agent);
    }
  }

  #roomOn(nowUs: number, worker: WorkerId, budget: number): { left: number; isEmpty: boolean } {
    const used = this.#usedTokens(nowUs, worker);
    return { left: budget - used, isEmpty: used === 0 };
  }

  #usedTokens(nowUs: number, worker: WorkerId): number {
    let used = 0;
    for (const agent of this.#agents.values()) {
      if (agent.worker === worker) used += countedTokens(nowUs, agent);
    }
    return used;
  }

  #workers() {
    return [...this.#view.workers.values()]
      .filter(({ healthy, draining }) => healthy && !draining)
      .map(({ worker }) => worker);
  }
}

function countedTokens(nowUs: number, { tokens, calls, actingUs }: Agent): number {
  if (calls > 0) return tokens + BUFFER_TOKENS;
  const left = tokens * 2 ** (-(nowUs - actingUs) / ACTING_HALF_US);
  return left < 1 ? 0 : left + BUFFER_TOKENS;
}

function pause(nowUs: number, agent: Agent): void {
  agent.worker = undefined;
  agent.pausedUs = nowUs;
  agent.isMarked = false;
}

function newAgent(nowUs: number): Agent {
  return {
    tokens: 0,
    calls: 0,
    actingUs: nowUs,
    worker: undefined,
    pausedUs: nowUs,
    isMarked: false,
  };
}
