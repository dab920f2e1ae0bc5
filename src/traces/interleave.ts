/**
 * In which order the turns of all sessions come: what reuse distances are about. A trace with one clock says
 * it. Where each session has a clock of its own, or none, `live` of them run at once: each turn follows what it
 * waits for after the recorded time, a session that ends makes room for the next of the file.
 */
import { Heap } from '../base/heap.ts';
import type { Trace } from './trace.ts';

export interface Interleaving {
  /** Sessions at once; undefined: by the trace's clock. */
  live: number | undefined;
  /** Longer waits are cut to this, so that one who went home does not hold his place; undefined: as recorded. */
  thinkMsMax: number | undefined;
  /** Sessions to take, in the order in which they come. */
  sessions: readonly number[];
}

/** Turns by the time of their sending. Those that wait for each other in a circle are never sent. */
export function interleave(trace: Trace, given: Interleaving): Uint32Array {
  return given.live === undefined
    ? byClock(trace, given.sessions)
    : new ClosedLoop(trace, given).run(given.live);
}

function byClock(trace: Trace, sessions: readonly number[]): Uint32Array {
  const turns: number[] = [];
  for (const session of sessions) {
    for (let turn = firstTurn(trace, session); turn < firstTurn(trace, session + 1); turn++) {
      turns.push(turn);
    }
  }
  return Uint32Array.from(turns).sort((a, b) => trace.startMs[a] - trace.startMs[b] || a - b);
}

/** Of a session, or, one further than the last, the number of turns. */
function firstTurn({ sessionThreads, threadTurns }: Trace, session: number): number {
  return threadTurns[sessionThreads[session]];
}

class ClosedLoop {
  readonly #trace: Trace;
  readonly #thinkMsMax: number;
  readonly #sessions: readonly number[];
  readonly #due = new Heap<number>();
  /** By turn: waits not met yet, and when the last of those that are met was. */
  readonly #missing: Uint32Array;
  readonly #readyMs: Float64Array;
  /** Whom a turn lets go: waits by the turn they are on. */
  readonly #followers: { begin: Uint32Array; wait: Uint32Array; turn: Uint32Array };
  /** By session: turns not ended. */
  readonly #open: Uint32Array;
  #next = 0;

  constructor(trace: Trace, given: Interleaving) {
    this.#trace = trace;
    this.#thinkMsMax = given.thinkMsMax ?? Number.POSITIVE_INFINITY;
    this.#sessions = given.sessions;
    const { turnCount, sessionCount, waits } = trace;
    this.#missing = new Uint32Array(turnCount);
    this.#readyMs = new Float64Array(turnCount);
    for (let turn = 0; turn < turnCount; turn++) {
      this.#missing[turn] = waits.begin[turn + 1] - waits.begin[turn];
    }
    this.#followers = followersOf(trace);
    this.#open = new Uint32Array(sessionCount);
  }

  run(live: number): Uint32Array {
    const order: number[] = [];
    for (let i = 0; i < live; i++) this.#begin(0);
    for (let due = this.#due.pop(); due !== undefined; due = this.#due.pop()) {
      order.push(due.value);
      this.#send(due.value, due.key);
    }
    return Uint32Array.from(order);
  }

  /** The next session of the file, if there is one. */
  #begin(nowMs: number): void {
    const session = this.#sessions.at(this.#next);
    if (this.#next++ >= this.#sessions.length || session === undefined) return;
    const first = firstTurn(this.#trace, session);
    const end = firstTurn(this.#trace, session + 1);
    this.#open[session] = end - first;
    for (let turn = first; turn < end; turn++) {
      if (this.#missing[turn] > 0) continue;
      const afterMs = this.#trace.startMs[turn] - this.#trace.startMs[first];
      this.#due.push(nowMs + this.#capped(afterMs), turn);
    }
  }

  #send(turn: number, nowMs: number): void {
    const { waits, serviceMs, turnThread, threadSession } = this.#trace;
    const endMs = nowMs + serviceMs[turn];
    const { begin, wait, turn: follower } = this.#followers;
    for (let i = begin[turn]; i < begin[turn + 1]; i++) {
      const afterMs = waits.onDispatch[wait[i]] === 1 ? nowMs : endMs;
      const next = follower[i];
      const metMs = afterMs + this.#capped(waits.delayMs[wait[i]]);
      this.#readyMs[next] = Math.max(this.#readyMs[next], metMs);
      if (--this.#missing[next] === 0) this.#due.push(this.#readyMs[next], next);
    }
    const session = threadSession[turnThread[turn]];
    if (--this.#open[session] === 0) this.#begin(endMs);
  }

  #capped(ms: number): number {
    return Math.min(Math.max(0, ms), this.#thinkMsMax);
  }
}

function followersOf({ turnCount, waits }: Trace) {
  const begin = new Uint32Array(turnCount + 1);
  for (const on of waits.on) begin[on + 1]++;
  for (let turn = 0; turn < turnCount; turn++) begin[turn + 1] += begin[turn];
  const at = begin.slice();
  const wait = new Uint32Array(waits.on.length);
  const turn = new Uint32Array(waits.on.length);
  for (let waiting = 0; waiting < turnCount; waiting++) {
    for (let i = waits.begin[waiting]; i < waits.begin[waiting + 1]; i++) {
      const place = at[waits.on[i]]++;
      wait[place] = i;
      turn[place] = waiting;
    }
  }
  return { begin, wait, turn };
}
