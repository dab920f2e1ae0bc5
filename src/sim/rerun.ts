/**
 * The sessions of a trace once each, as clients of a live run play them: so many at a time, in the trace's
 * order, each from its first turn at virtual time 0 on; one that ends makes room for the next. What `sim --validate` sets beside life.
 */

import type { Trace } from '../traces/trace.ts';
import { Fleet, type FleetOptions, type Outcome } from './fleet.ts';
import type { Run } from './measure.ts';
import { Play } from './play.ts';
import { Playbook, type SessionScript } from './playbook.ts';

/** A whole run has to come to an end: four weeks of virtual time. */
const END_US_MAX = 28 * 86_400 * 1e6;

export function rerun(
  trace: Trace,
  given: { fleet: Omit<FleetOptions, 'blockTokens'>; live: number; thinkUsMax: number },
): Run {
  const { blockTokens } = trace;
  const fleet = new Fleet({ ...given.fleet, blockTokens });
  const playbook = new Playbook(trace, {
    contextTokensMax: Number.MAX_SAFE_INTEGER,
    turnsMin: 1,
  });
  const shared = fleet.space.open(Math.max(1, playbook.sharedBlocks));
  const outcomes: Outcome[] = [];
  const queue = [...playbook.sessions];
  let count = 0;
  const next = () => {
    const script = queue.shift();
    if (script !== undefined) play(script);
  };
  const play = (script: SessionScript) => {
    const id = count++;
    const own = fleet.space.open(Math.max(1, script.ownBlocks));
    const send = (turn: number) => {
      const { promptTokens, outputTokens, thread } = script.turns[turn];
      const path = playbook.path(script.turns[turn], { own, shared });
      session.sent(turn, fleet.nowUs);
      const following = script.turns.at(turn + 1);
      const nextPath =
        following?.thread === thread ? playbook.path(following, { own, shared }) : path;
      const demanded = {
        thread: `${id}/${thread}`,
        path,
        answeredPath: answered(
          path,
          nextPath,
          Math.floor((promptTokens + outputTokens) / blockTokens),
        ),
        promptTokens,
        outputTokens,
      };
      fleet.arrive(demanded, (outcome) => {
        outcomes.push(outcome);
        session.ended(turn, fleet.nowUs);
        if (session.isOver) next();
      });
    };
    const session: Play = new Play(id, script, fleet.nowUs, {
      startTurn: 0,
      thinkUsMax: given.thinkUsMax,
      ownBase: own,
      // Nobody asks a rerun for slowdowns.
      aloneUs: () => 0,
      send: (turn, atUs) => fleet.at(atUs, () => send(turn)),
    });
    session.begin();
  };
  for (let i = 0; i < given.live; i++) next();
  fleet.run(END_US_MAX);
  fleet.check();
  const endUs = outcomes.reduce((last, { endedUs }) => Math.max(last, endedUs), 0);
  return {
    seed: given.fleet.seed,
    window: { beginUs: 0, endUs },
    outcomes,
    sessionsOver: count,
    slowdowns: [],
    longestWaitUs: outcomes.reduce((most, { queuedUs }) => Math.max(most, queuedUs), 0),
  };
}

/** What the thread's next prompt has in the place of the answer, unless that begins otherwise. */
function answered(path: Int32Array, next: Int32Array, blockCount: number): Int32Array {
  const goesOn = path.every((block, i) => next[i] === block);
  return goesOn && next.length > path.length ? next.subarray(0, blockCount) : path;
}
