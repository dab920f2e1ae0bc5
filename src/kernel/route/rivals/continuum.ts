/**
 * Continuum (arXiv 2511.02230): when a turn ends in a tool call its KV stays pinned for a time to live,
 * and programs are served in the order in which they first came. The time to live is the one that pays
 * most, for a context of c tokens on a worker that holds C:
 *
 *   F(τ) · (prefill(c) + mean wait) − τ · c / C
 *
 * F is the share of gaps seen that were no longer; an exponential of 10 s before any was seen. What is
 * pinned cannot be used by others until then, so a request waits until its context fits beside what runs
 * and what is pinned; pins of programs that came later give way to it, the latest first, and any where
 * nothing runs. Placement on several workers is not Continuum's: programs stay where the least was used.
 */
import { Histogram } from '../../../base/histogram.ts';
import { Lru } from '../../../base/lru.ts';
import { RunningMean } from '../../../base/running-mean.ts';
import type { RequestId, WorkerId } from '../../../model/ids.ts';
import type { Arrival, Fact } from '../../../model/kernel-io.ts';
import type { Worker } from '../../../model/worker.ts';
import { type Admission, type Gate, type GateView, HELD, OPEN, some } from '../../gate/gate.ts';
import { type Policy, programKey } from '../../policy.ts';
import type { Waiter } from '../../queue/waiting.ts';
import { prefill } from '../cost.ts';
import { leastRequests } from './least-requests.ts';

const UNSEEN_GAP_US = 10_000_000;
/** Times to live are tried at these shares of the gaps seen. */
const SHARES = [0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];
const MEMORY = 200;
const LOOK_US = 500_000;

interface Agent {
  readonly arrivedUs: number;
  worker: WorkerId | undefined;
  tokens: number;
  /** Calls that run. */
  running: number;
  endedUs: number;
  /** Its KV is kept until then. */
  pinnedUs: number;
}

export function continuum({ threadsMax }: { threadsMax: number }): Policy {
  const agents = new Lru<string, Agent>(threadsMax);
  const placing = leastRequests();
  return {
    name: 'continuum',
    view: 'load',
    gate: (view) => new PinningGate(view, agents),
    // The gate has said where.
    choose: (request, seen, rng) => placing.choose(request, seen, rng),
  };
}

class PinningGate implements Gate {
  readonly #view: GateView;
  readonly #agents: Lru<string, Agent>;
  readonly #requests = new Map<RequestId, { agent: Agent; runs: boolean }>();
  readonly #gaps = new Histogram();
  readonly #waitUs = new RunningMean({ memory: MEMORY, prior: 0 });

  constructor(view: GateView, agents: Lru<string, Agent>) {
    this.#view = view;
    this.#agents = agents;
  }

  admit(nowUs: number, { request, arrivedUs }: Waiter): Admission {
    const open = this.#requests.get(request.id);
    const workers = this.#workers();
    if (open === undefined || workers.length === 0) return OPEN;
    const { agent } = open;
    const home = workers.find(({ id }) => id === agent.worker) ?? this.#leastUsed(nowUs, workers);
    agent.worker = home.id;
    const tokens = request.promptTokens + this.#view.outputTokens();
    if (!this.#fits(nowUs, agent, home, tokens)) return HELD;
    this.#waitUs.add(nowUs - arrivedUs);
    agent.tokens = tokens;
    return some([home.id]);
  }

  /** First come, first served, by program. */
  inOrder(_nowUs: number, line: readonly Waiter[]): readonly Waiter[] {
    const since = ({ request }: Waiter) => this.#requests.get(request.id)?.agent.arrivedUs ?? 0;
    return [...line].sort((a, b) => since(a) - since(b));
  }

  /** Pins end also while nothing happens. */
  nextUs(nowUs: number): number | undefined {
    for (const { runs } of this.#requests.values()) if (!runs) return nowUs + LOOK_US;
    return undefined;
  }

  placed(_nowUs: number, { request }: Waiter): undefined {
    const open = this.#requests.get(request.id);
    if (open === undefined || open.runs) return;
    open.runs = true;
    open.agent.running++;
  }

  refused(nowUs: number, request: RequestId): void {
    this.#ended(nowUs, request, undefined);
  }

  hears(nowUs: number, fact: Fact): void {
    if (fact.kind === 'arrived') this.#arrived(nowUs, fact.request);
    else if (fact.kind === 'finished') this.#ended(nowUs, fact.request, fact.outputTokens);
    else if (fact.kind === 'cancelled') this.#ended(nowUs, fact.request, undefined);
    else if (fact.kind === 'failed' && !fact.retry) this.#ended(nowUs, fact.request, undefined);
    else if (fact.kind === 'failed') this.#failed(fact.request);
  }

  #arrived(nowUs: number, request: Arrival): void {
    const key = programKey(request);
    if (key === undefined) return;
    let agent = this.#agents.get(key);
    if (agent === undefined) {
      const none = { worker: undefined, tokens: 0, running: 0, endedUs: nowUs, pinnedUs: 0 };
      agent = { arrivedUs: nowUs, ...none };
      this.#agents.set(key, agent);
    } else if (agent.running === 0) this.#gaps.record((nowUs - agent.endedUs) / 1e6);
    this.#requests.set(request.id, { agent, runs: false });
  }

  #ended(nowUs: number, request: RequestId, outputTokens: number | undefined): void {
    const open = this.#requests.get(request);
    if (open === undefined) return;
    this.#requests.delete(request);
    if (!open.runs) return;
    const { agent } = open;
    agent.running--;
    agent.endedUs = nowUs;
    if (outputTokens === undefined || agent.running > 0) return;
    const home = this.#workers().find(({ id }) => id === agent.worker);
    if (home !== undefined) agent.pinnedUs = nowUs + this.#ttlUs(home, agent.tokens);
  }

  #failed(request: RequestId): void {
    const open = this.#requests.get(request);
    if (open === undefined || !open.runs) return;
    open.runs = false;
    open.agent.running--;
    open.agent.worker = undefined;
  }

  /** Whether its context fits; pins may give way for it. */
  #fits(nowUs: number, agent: Agent, home: Worker, tokens: number): boolean {
    const others: Agent[] = [];
    for (const one of this.#agents.values()) {
      if (one === agent || one.worker !== home.id) continue;
      if (one.running > 0 || one.pinnedUs > nowUs) others.push(one);
    }
    let used = others.reduce((sum, one) => sum + one.tokens, 0);
    const isIdle = others.every(({ running }) => running === 0);
    const pins = others.filter(({ running }) => running === 0);
    pins.sort((a, b) => b.arrivedUs - a.arrivedUs);
    const givesWay = pins.filter((one) => isIdle || one.arrivedUs > agent.arrivedUs);
    const freed: Agent[] = [];
    for (const one of givesWay) {
      if (used + tokens <= home.cacheTokens) break;
      used -= one.tokens;
      freed.push(one);
    }
    if (used + tokens > home.cacheTokens && used > 0) return false;
    for (const one of freed) one.pinnedUs = 0;
    return true;
  }

  #ttlUs(home: Worker, tokens: number): number {
    const reloadUs = prefill(home.prefill, tokens, tokens) + this.#waitUs.mean;
    const share = tokens / home.cacheTokens;
    let best = { us: 0, worthUs: 0 };
    for (const q of SHARES) {
      const gapS = this.#gaps.quantile(q);
      const us = gapS === undefined ? -Math.log(1 - q) * UNSEEN_GAP_US : gapS * 1e6;
      const worthUs = q * reloadUs - us * share;
      if (worthUs > best.worthUs) best = { us: Math.ceil(us), worthUs };
    }
    return best.us;
  }

  #leastUsed(nowUs: number, workers: readonly Worker[]): Worker {
    const used = new Map<WorkerId | undefined, number>();
    for (const { worker, tokens, running, pinnedUs } of this.#agents.values()) {
      if (running > 0 || pinnedUs > nowUs) used.set(worker, (used.get(worker) ?? 0) + tokens);
    }
    // Those that wait for a worker will use it.
    for (const { agent, runs } of this.#requests.values()) {
      if (!runs && agent.worker !== undefined) {
        used.set(agent.worker, (used.get(agent.worker) ?? 0) + agent.tokens);
      }
    }
    const free = ({ id, cacheTokens }: Worker) => cacheTokens - (used.get(id) ?? 0);
    return workers.reduce((most, one) => (free(one) > free(most) ? one : most));
  }

  #workers(): Worker[] {
    return [...this.#view.workers.values()]
      .filter(({ healthy, draining }) => healthy && !draining)
      .map(({ worker }) => worker);
  }
}
