/**
 * Programs: an agent with its sub-agents. Of each is known how long it has been at its work, and how
 * long the same work would have taken on a fleet of its own: the ratio is its slowdown, by which a gate
 * is fair to it.
 *
 *   thinking ──last answer ends──► acting ──next turn arrives──► thinking
 *                                     └──away for longer than live ones are──► it begins anew
 *
 *   age    time since it began, gaps in which its tools ran included
 *   alone  the same gaps, and for each turn the predicted time with all it knew before in cache and
 *          nobody beside it
 *
 * A parent that waits for its child does nothing itself: the child thinks or acts for the program.
 * Both sums are forgotten evenly beyond `MEMORY_US` of work, so that what a long one once waited is not
 * held against others for ever.
 */
import { assert } from '../../base/assert.ts';
import { Lru } from '../../base/lru.ts';
import type { TenantId, WorkerId } from '../../model/ids.ts';
import type { Arrival } from '../../model/kernel-io.ts';
import type { Thread } from '../session/threads.ts';

export interface Program {
  readonly tenant: TenantId;
  /** Those that may sit somewhere. */
  readonly threads: Set<Thread>;
  /** Requests that wait for a place, and that have one. */
  waiting: number;
  running: number;
  /** Of its last request; larger is more urgent. */
  priority: number;
  /** When it was let in last. */
  seatedUs: number;
  /** Where its turns go before those of others. */
  front: WorkerId | undefined;
  /** Up to `reckonedUs`: its last end, or the arrival that ended its last gap. */
  ageUs: number;
  aloneUs: number;
  reckonedUs: number;
  /** Since then: predicted time alone of its longest open request, and of those that ended. */
  openUs: number;
  endedUs: number;
  /** Its last request was refused: the gap until it tries again is waiting, not work. */
  wasRefused: boolean;
}

export class Programs {
  readonly #byTenant: Lru<TenantId, Lru<string, Program>>;
  readonly #programsMax: number;
  readonly #ofThread = new WeakMap<Thread, Program>();

  /** As many programs of a tenant are remembered as threads. */
  constructor(limits: { tenantsMax: number; threadsMax: number }) {
    this.#byTenant = new Lru(limits.tenantsMax);
    this.#programsMax = limits.threadsMax;
  }

  of(thread: Thread | undefined): Program | undefined {
    return thread && this.#ofThread.get(thread);
  }

  /**
   * One of its threads asks for something. `parent`: the thread that spawned it, where it is known here;
   * `aloneUs`: the predicted time of that on an empty worker; `lapseUs`: after a longer silence the
   * program has begun anew.
   */
  arrived(
    nowUs: number,
    request: Arrival,
    given: { thread: Thread; parent?: Thread | undefined; aloneUs: number; lapseUs: number },
  ): Program {
    const { thread, parent, aloneUs, lapseUs } = given;
    // Some clients give a sub-agent a session of its own.
    const program = this.of(thread) ?? this.of(parent) ?? this.#programOf(nowUs, request);
    this.#ofThread.set(thread, program);
    program.threads.add(thread);
    if (program.waiting + program.running === 0) {
      const gapUs = nowUs - program.reckonedUs;
      if (gapUs > lapseUs) program.ageUs = program.aloneUs = 0;
      else pass(program, { ageUs: gapUs, aloneUs: program.wasRefused ? 0 : gapUs });
      program.reckonedUs = nowUs;
      program.openUs = program.endedUs = 0;
    }
    program.openUs = Math.max(program.openUs, aloneUs);
    program.priority = request.priority;
    program.waiting++;
    return program;
  }

  placed(program: Program): void {
    assert(program.waiting > 0, 'who is placed has waited');
    program.waiting--;
    program.running++;
  }

  /** A request that waited was refused, or its client left. */
  left(nowUs: number, program: Program): void {
    assert(program.waiting > 0, 'who leaves has waited');
    program.waiting--;
    this.#closed(nowUs, program, 0);
    program.wasRefused = true;
  }

  /** `aloneUs`: what its time alone turned out to be. */
  ended(nowUs: number, program: Program, aloneUs: number): void {
    assert(program.running > 0, 'a program ends what it runs');
    program.running--;
    this.#closed(nowUs, program, aloneUs);
    program.wasRefused = false;
  }

  /** Its worker failed: it waits again. */
  retried(program: Program): void {
    assert(program.running > 0, 'a program loses what it runs');
    program.running--;
    program.waiting++;
  }

  #closed(nowUs: number, program: Program, aloneUs: number): void {
    program.endedUs += aloneUs;
    if (program.waiting + program.running > 0) return;
    const usedUs = nowUs - program.reckonedUs;
    // Sub-agents work side by side: together they are no quicker than the time that went by.
    pass(program, { ageUs: usedUs, aloneUs: Math.min(usedUs, program.endedUs) });
    program.reckonedUs = nowUs;
  }

  #programOf(nowUs: number, request: Arrival): Program {
    const { tenant, thread, session } = request;
    // Names of sessions and of threads are kept apart: a thread that is no session's is its own program.
    const key = session === undefined ? `thread ${thread}` : `session ${session}`;
    let programs = this.#byTenant.get(tenant);
    if (programs === undefined) {
      programs = new Lru(this.#programsMax);
      this.#byTenant.set(tenant, programs);
    }
    const known = programs.get(key);
    if (known !== undefined) return known;
    const program = newProgram(nowUs, tenant);
    programs.set(key, program);
    return program;
  }
}

/** How many times as long its work takes as it would alone; at least 1. */
export function slowdownOf(nowUs: number, program: Program): number {
  const { ageUs, aloneUs, endedUs, openUs } = program;
  const sinceUs = nowUs - program.reckonedUs;
  const isBusy = program.waiting + program.running > 0;
  if (!isBusy) return aloneUs + sinceUs > 0 ? (ageUs + sinceUs) / (aloneUs + sinceUs) : 1;
  // What is open is reckoned as if it were served from now on.
  const doneUs = Math.min(sinceUs, endedUs);
  const wouldUs = aloneUs + doneUs + openUs;
  return wouldUs > 0 ? Math.max(1, (ageUs + sinceUs + openUs) / wouldUs) : 1;
}

/** Work that is looked back upon. */
const MEMORY_US = 600_000_000;

function pass(program: Program, { ageUs, aloneUs }: { ageUs: number; aloneUs: number }): void {
  program.ageUs += ageUs;
  program.aloneUs += aloneUs;
  if (program.aloneUs <= MEMORY_US) return;
  program.ageUs *= MEMORY_US / program.aloneUs;
  program.aloneUs = MEMORY_US;
}

function newProgram(nowUs: number, tenant: TenantId): Program {
  return {
    tenant,
    threads: new Set(),
    waiting: 0,
    running: 0,
    priority: 0,
    seatedUs: nowUs,
    front: undefined,
    ageUs: 0,
    aloneUs: 0,
    reckonedUs: nowUs,
    openUs: 0,
    endedUs: 0,
    wasRefused: false,
  };
}
