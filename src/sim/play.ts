/** One session being played: which turns are due when, as others are sent and end. */
import { must } from '../base/assert.ts';
import type { SessionScript } from './playbook.ts';

export interface PlaySettings {
  /** Turns of the first thread before this one count as done, and whatever they spawned. */
  startTurn: number;
  /** No gap between turns is longer. */
  thinkUsMax: number;
  /** The session's own blocks begin here. */
  ownBase: number;
  /** A request's time on an engine that has nothing else to do. */
  aloneUs: (turn: number) => number;
  /** The turn is to be sent at that time. */
  send: (turn: number, atUs: number) => void;
}

const LATER_US = Number.MAX_SAFE_INTEGER;

export class Play {
  readonly id: number;
  readonly script: SessionScript;
  readonly settings: PlaySettings;
  readonly startedUs: number;
  /** Waits of each turn that are not met yet. */
  readonly #waiting: Int32Array;
  /** When the last of those met lets the turn be sent. */
  readonly #dueUs: Float64Array;
  readonly #isSent: Uint8Array;
  readonly #followers: { turn: number; onDispatch: boolean; delayUs: number }[][];
  /** When each turn would be sent, and would end, if nobody else were there; from the session's begin. */
  readonly #aloneSentUs: Float64Array;
  #aloneUs = 0;
  #left = 0;

  constructor(id: number, script: SessionScript, startedUs: number, settings: PlaySettings) {
    this.id = id;
    this.script = script;
    this.settings = settings;
    this.startedUs = startedUs;
    const { turns } = script;
    this.#waiting = new Int32Array(turns.length);
    this.#dueUs = new Float64Array(turns.length);
    this.#isSent = new Uint8Array(turns.length);
    this.#aloneSentUs = new Float64Array(turns.length);
    this.#followers = turns.map(() => []);
    for (const [turn, { waits }] of turns.entries()) {
      for (const { on, ...wait } of waits) this.#followers[on].push({ turn, ...wait });
    }
  }

  /** All its turns ended. */
  get isOver(): boolean {
    return this.#left === 0;
  }

  /** Its makespan so far on an engine of its own. */
  get aloneUs(): number {
    return this.#aloneUs;
  }

  /**
   * When a thread that is away sends its next turn; infinite: never. What waits for others comes later
   * than all that is known, and before never.
   */
  returnsUs(thread: number): number {
    const { turns } = this.script;
    for (const [turn, { thread: of }] of turns.entries()) {
      if (of !== thread || this.#isSent[turn] === 1) continue;
      return this.#waiting[turn] > 0 ? LATER_US : this.#dueUs[turn];
    }
    return Number.POSITIVE_INFINITY;
  }

  /** Sends what waits for nothing. */
  begin(): void {
    const { turns } = this.script;
    const { startTurn } = this.settings;
    const done = this.#doneBefore(startTurn);
    const beginUs = turns[startTurn].startUs;
    const first: number[] = [];
    for (const [turn, { waits, startUs }] of turns.entries()) {
      this.#isSent[turn] = done[turn];
      if (done[turn] === 1) continue;
      this.#left++;
      const open = waits.filter(({ on }) => done[on] === 0);
      this.#waiting[turn] = open.length;
      if (open.length > 0) continue;
      const delayUs = turn === startTurn ? 0 : Math.max(0, startUs - beginUs);
      this.#dueUs[turn] = this.startedUs + delayUs;
      this.#aloneSentUs[turn] = delayUs;
      first.push(turn);
    }
    for (const turn of first) this.settings.send(turn, this.#dueUs[turn]);
  }

  sent(turn: number, nowUs: number): void {
    this.#isSent[turn] = 1;
    for (const follower of this.#followers[turn]) {
      if (follower.onDispatch) this.#met(follower, nowUs, this.#aloneSentUs[turn]);
    }
  }

  ended(turn: number, nowUs: number): void {
    this.#left--;
    const aloneEndUs = this.#aloneSentUs[turn] + this.settings.aloneUs(turn);
    this.#aloneUs = Math.max(this.#aloneUs, aloneEndUs);
    for (const follower of this.#followers[turn]) {
      if (!follower.onDispatch) this.#met(follower, nowUs, aloneEndUs);
    }
  }

  #met(follower: { turn: number; delayUs: number }, nowUs: number, aloneUs: number): void {
    const { turn } = follower;
    const delayUs = Math.min(follower.delayUs, this.settings.thinkUsMax);
    this.#dueUs[turn] = Math.max(this.#dueUs[turn], nowUs + delayUs);
    this.#aloneSentUs[turn] = Math.max(this.#aloneSentUs[turn], aloneUs + delayUs);
    if (--this.#waiting[turn] > 0) return;
    this.settings.send(turn, this.#dueUs[turn]);
  }

  /** 1 for turns of the first thread before `start`, and for threads that those spawned. */
  #doneBefore(start: number): Uint8Array {
    const { turns, mainTurns } = this.script;
    const done = new Uint8Array(turns.length).fill(1, 0, start);
    if (start === 0) return done;
    const beginUs = must(turns[start], 'a session starts at a turn of its own').startUs;
    for (let turn = mainTurns; turn < turns.length; turn++) {
      const { waits, startUs, thread } = turns[turn];
      const isFirst = turns[turn - 1].thread !== thread;
      if (!isFirst) done[turn] = done[turn - 1];
      else if (waits.length > 0) done[turn] = waits.every(({ on }) => done[on] === 1) ? 1 : 0;
      else done[turn] = startUs < beginUs ? 1 : 0;
    }
    return done;
  }
}
