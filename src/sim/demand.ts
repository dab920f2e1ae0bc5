/**
 * Who asks the fleet for what, and when. Closed loop: so many sessions are alive at any time, each sends
 * its next turn after thinking, and one that is over is replaced. Open loop: arrivals come as recorded
 * (faster or slower) or by chance at a rate, whatever the fleet can take.
 */
import { assert } from '../base/assert.ts';
import type { Prng } from '../base/prng.ts';
import type { Fleet, Outcome } from './fleet.ts';
import { Play } from './play.ts';
import type { Playbook, SessionScript } from './playbook.ts';
import { aloneUs, type Profile } from './profile.ts';

export type Load =
  | { kind: 'closed'; sessions: number; thinkUsMax: number }
  | { kind: 'open'; speedup: number }
  | { kind: 'rate'; requestsPerS: number };

export interface DemandParts {
  fleet: Fleet;
  playbook: Playbook;
  profile: Profile;
  rng: Prng;
  load: Load;
  /** Nothing begins later. */
  endUs: number;
  /** A request ended or was refused. */
  note: (outcome: Outcome) => void;
  /** All turns of a session ended. */
  over: (play: Play) => void;
}

export class Demand {
  readonly #parts: DemandParts;
  readonly #alive = new Set<Play>();
  /** Sessions in the order they will be played; then again, shuffled anew. */
  #order: number[] = [];
  #next = 0;
  #plays = 0;
  readonly #sharedBase: number;

  constructor(parts: DemandParts) {
    this.#parts = parts;
    const { fleet, playbook } = parts;
    assert(playbook.sessions.length > 0, 'there is a session to play');
    this.#sharedBase = fleet.space.open(Math.max(1, playbook.sharedBlocks));
  }

  /** Sessions that are not over. */
  get alive(): ReadonlySet<Play> {
    return this.#alive;
  }

  begin(): void {
    const { load } = this.#parts;
    if (load.kind === 'closed') this.#beginClosed(load);
    else if (load.kind === 'open') this.#beginRecorded(load.speedup);
    else this.#beginAtRate(load.requestsPerS);
  }

  /** Sessions that begin are in the middle of their work; those that replace them are new. */
  #beginClosed({ sessions, thinkUsMax }: Extract<Load, { kind: 'closed' }>): void {
    const { fleet, rng } = this.#parts;
    for (let i = 0; i < sessions; i++) {
      const script = this.#draw();
      const startTurn = rng.below(script.mainTurns);
      const atUs = rng.below(Math.max(1, thinkUsMax));
      fleet.at(atUs, () => this.#play(script, startTurn));
    }
  }

  #beginRecorded(speedup: number): void {
    const { fleet, playbook, endUs } = this.#parts;
    const { trace } = playbook;
    assert(trace.about.clock === 'trace', 'recorded arrivals have a common clock');
    for (const { script, atMs } of spreadArrivals(playbook)) {
      const atUs = Math.round((atMs * 1000) / speedup);
      if (atUs < endUs) fleet.at(atUs, () => this.#play(script, 0));
    }
  }

  #beginAtRate(requestsPerS: number): void {
    const { fleet, playbook, rng, endUs } = this.#parts;
    const turns = playbook.sessions.reduce((sum, script) => sum + script.turns.length, 0);
    const sessionsPerUs = (requestsPerS * playbook.sessions.length) / turns / 1e6;
    let atUs = 0;
    for (;;) {
      atUs += Math.round(-Math.log(1 - rng.next()) / sessionsPerUs);
      if (atUs >= endUs) return;
      fleet.at(atUs, () => this.#play(this.#draw(), 0));
    }
  }

  #play(script: SessionScript, startTurn: number): void {
    const { fleet, load, profile } = this.#parts;
    const ownBase = fleet.space.open(Math.max(1, script.ownBlocks));
    const play: Play = new Play(this.#plays++, script, fleet.nowUs, {
      startTurn,
      thinkUsMax: load.kind === 'closed' ? load.thinkUsMax : Number.POSITIVE_INFINITY,
      ownBase,
      aloneUs: (turn) => {
        const { promptTokens, outputTokens, newTokens } = script.turns[turn];
        const uncachedTokens = turn === startTurn ? promptTokens : newTokens;
        return aloneUs(profile, { promptTokens, uncachedTokens, outputTokens });
      },
      send: (turn, atUs) => fleet.at(atUs, () => this.#send(play, turn)),
    });
    this.#alive.add(play);
    play.begin();
  }

  #send(play: Play, turn: number): void {
    const { fleet, playbook, note } = this.#parts;
    if (fleet.nowUs >= this.#parts.endUs) return;
    const script = play.script.turns[turn];
    const { thread, promptTokens, outputTokens, end } = script;
    const isFirst = turn === play.settings.startTurn;
    const own = play.settings.ownBase;
    const path = playbook.path(script, { own, shared: this.#sharedBase });
    play.sent(turn, fleet.nowUs);
    // A trace of single prompts has no threads to tell apart.
    const isThread = play.script.turns.length > 1;
    fleet.arrive(
      {
        thread: isThread ? `${play.id}/${thread}` : undefined,
        session: isThread ? String(play.id) : undefined,
        parent: isThread && thread > 0 ? `${play.id}/0` : undefined,
        end,
        path,
        promptTokens,
        outputTokens,
        newTokens: isFirst ? promptTokens : script.newTokens,
        returnsUs: () => play.returnsUs(thread),
      },
      (outcome) => {
        note(outcome);
        play.ended(turn, fleet.nowUs);
        if (play.isOver) this.#over(play);
      },
    );
  }

  #over(play: Play): void {
    const { fleet, load, over } = this.#parts;
    this.#alive.delete(play);
    fleet.space.close(play.settings.ownBase);
    over(play);
    if (load.kind === 'closed') this.#play(this.#draw(), 0);
  }

  #draw(): SessionScript {
    const { playbook, rng } = this.#parts;
    if (this.#next === this.#order.length) {
      this.#order = rng.shuffle(playbook.sessions.map((_, i) => i));
      this.#next = 0;
    }
    return playbook.sessions[this.#order[this.#next++]];
  }
}

/**
 * When each session begins. Recorded stamps may be coarse (Mooncake's are buckets of about three
 * seconds): arrivals with one stamp are spread evenly up to the next, or a replay is burstier than life.
 */
function spreadArrivals(playbook: Playbook): { script: SessionScript; atMs: number }[] {
  const { trace, sessions } = playbook;
  const arrivals = sessions
    .map((script) => ({ script, stampMs: trace.startMs[script.firstTurn] }))
    .sort((a, b) => a.stampMs - b.stampMs);
  const beginMs = arrivals[0].stampMs;
  const found: { script: SessionScript; atMs: number }[] = [];
  for (let i = 0; i < arrivals.length; ) {
    const { stampMs } = arrivals[i];
    let end = i;
    while (end < arrivals.length && arrivals[end].stampMs === stampMs) end++;
    const nextMs = end < arrivals.length ? arrivals[end].stampMs : stampMs;
    for (let j = i; j < end; j++) {
      const atMs = stampMs - beginMs + ((nextMs - stampMs) * (j - i)) / (end - i);
      found.push({ script: arrivals[j].script, atMs });
    }
    i = end;
  }
  return found;
}
