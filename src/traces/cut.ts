/** A trace without the turns that do not fit a window: what a model of that context would have been asked. */
import { RELATIONS, type Trace } from './trace.ts';

const SPAWN = RELATIONS.indexOf('spawn');

/**
 * Each thread ends before its first turn whose prompt and answer together exceed `contextTokensMax`; threads that
 * were spawned after that are gone, and so are sessions of which nothing is left. Blocks keep their numbers.
 */
export function cutAt(trace: Trace, contextTokensMax: number): Trace {
  const keeps = keptTurns(trace, contextTokensMax);
  const turns = placesOf(keeps);
  const threads = groupsOf(trace.turnThread, turns, trace.threadCount);
  const threadSession = threads.kept.map((thread) => trace.threadSession[thread]);
  const all = threadSession.map((_, place) => place);
  const sessions = groupsOf(threadSession, all, trace.sessionCount);
  return {
    ...trace,
    sessionCount: sessions.kept.length,
    threadCount: threads.kept.length,
    turnCount: turns.length,
    sessionIds: Array.from(sessions.kept, (session) => trace.sessionIds[session]),
    sessionThreads: sessions.begins,
    threadIds: Array.from(threads.kept, (thread) => trace.threadIds[thread]),
    threadSession: threadSession.map((session) => sessions.placeOf[session]),
    threadTurns: threads.begins,
    turnThread: turns.map((turn) => threads.placeOf[trace.turnThread[turn]]),
    promptTokens: turns.map((turn) => trace.promptTokens[turn]),
    outputTokens: turns.map((turn) => trace.outputTokens[turn]),
    startMs: Float64Array.from(turns, (turn) => trace.startMs[turn]),
    serviceMs: Float64Array.from(turns, (turn) => trace.serviceMs[turn]),
    turnEnd: Uint8Array.from(turns, (turn) => trace.turnEnd[turn]),
    turnModel: Uint16Array.from(turns, (turn) => trace.turnModel[turn]),
    leaf: turns.map((turn) => trace.leaf[turn]),
    waits: keptWaits(trace, turns, keeps),
  };
}

function keptTurns(trace: Trace, contextTokensMax: number): Uint8Array {
  const { threadCount, threadTurns, promptTokens, outputTokens, waits } = trace;
  const keeps = new Uint8Array(trace.turnCount).fill(1);
  for (let thread = 0; thread < threadCount; thread++) {
    let fits = 1;
    for (let turn = threadTurns[thread]; turn < threadTurns[thread + 1]; turn++) {
      if (promptTokens[turn] + outputTokens[turn] > contextTokensMax) fits = 0;
      keeps[turn] = fits;
    }
  }
  // A thread may be spawned by one that is spawned itself: until nothing more goes.
  for (let goes = true; goes; ) {
    goes = false;
    for (let thread = 0; thread < threadCount; thread++) {
      const first = threadTurns[thread];
      if (first === threadTurns[thread + 1] || keeps[first] === 0) continue;
      for (let i = waits.begin[first]; i < waits.begin[first + 1]; i++) {
        if (waits.relation[i] !== SPAWN || keeps[waits.on[i]] === 1) continue;
        keeps.fill(0, first, threadTurns[thread + 1]);
        goes = true;
      }
    }
  }
  return keeps;
}

/** Where `keeps` is 1. */
function placesOf(keeps: Uint8Array): Uint32Array {
  const places = new Uint32Array(keeps.reduce((sum, one) => sum + one, 0));
  let at = 0;
  keeps.forEach((one, place) => {
    if (one === 1) places[at++] = place;
  });
  return places;
}

/** Of `count` groups those that still have a member, their new numbers, and where each begins. */
function groupsOf(groupOf: Uint32Array, members: Uint32Array, count: number) {
  const sizes = new Uint32Array(count);
  for (const member of members) sizes[groupOf[member]]++;
  const kept = placesOf(Uint8Array.from(sizes, (size) => Math.min(1, size)));
  const placeOf = new Uint32Array(count);
  const begins = new Uint32Array(kept.length + 1);
  kept.forEach((group, place) => {
    placeOf[group] = place;
    begins[place + 1] = begins[place] + sizes[group];
  });
  return { kept, placeOf, begins };
}

/** Who was cut off is not waited for. */
function keptWaits(trace: Trace, turns: Uint32Array, keeps: Uint8Array): Trace['waits'] {
  const { begin, on, delayMs, relation, onDispatch } = trace.waits;
  const placeOf = new Uint32Array(trace.turnCount);
  turns.forEach((turn, place) => {
    placeOf[turn] = place;
  });
  const kept: number[] = [];
  const begins = new Uint32Array(turns.length + 1);
  turns.forEach((turn, place) => {
    for (let i = begin[turn]; i < begin[turn + 1]; i++) if (keeps[on[i]] === 1) kept.push(i);
    begins[place + 1] = kept.length;
  });
  return {
    begin: begins,
    on: Uint32Array.from(kept, (i) => placeOf[on[i]]),
    delayMs: Float64Array.from(kept, (i) => delayMs[i]),
    relation: Uint8Array.from(kept, (i) => relation[i]),
    onDispatch: Uint8Array.from(kept, (i) => onDispatch[i]),
  };
}
