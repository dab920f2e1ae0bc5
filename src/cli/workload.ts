/** What `compare` and `replay` send: recorded conversations, a trace, or what is generated. */
import { basename } from 'node:path';
import { must } from '../base/assert.ts';
import type { ScriptedSession } from '../bench/drive.ts';
import { scriptOf } from '../bench/recorded.ts';
import { readPrompts } from '../bench/recorded-prompts.ts';
import { replayOf, type Target } from '../bench/replayed.ts';
import { readSessions } from '../bench/sessions.ts';
import type { Trace } from '../traces/trace.ts';
import { Complaint } from './complaint.ts';
import { traceFrom } from './trace.ts';

export interface WorkloadFlags {
  /** A folder of recorded conversations. */
  sessions?: string;
  trace?: string;
  generate?: string;
  format?: string;
  blockTokens?: number;
  /** Only the first so many. */
  maxSessions?: number;
  /** Longer gaps between calls are cut to this, seconds. */
  thinkCapS: number;
  seed: number;
  seeds: number;
}

export interface Workload {
  name: string;
  /** Whether sessions were recorded by one clock, so that they can begin as they did. */
  hasClock: boolean;
  /** What a reader of figures should know of the source; a sentence each. */
  notes: readonly string[];
  /** Whether prompts are made of hashes. */
  isMade: boolean;
  /** Another seed of what is generated is another draw; what was recorded stays as it is. */
  scripts: (target: Target) => (seed: number) => readonly ScriptedSession[];
}

/** Throws a `Complaint` where there is none, or none that can be read. */
export async function workloadOf(flags: WorkloadFlags): Promise<Workload> {
  const given = [flags.sessions, flags.trace, flags.generate].filter((one) => one !== undefined);
  if (given.length !== 1) {
    throw new Complaint('Give one of --sessions, --trace and --generate.', 2);
  }
  if (flags.sessions !== undefined) return ofConversations(flags.sessions, flags);
  return ofTrace(flags);
}

function ofConversations(folder: string, { maxSessions }: WorkloadFlags): Workload {
  const recorded = sessionsIn(folder).slice(0, maxSessions);
  const scripts = (target: Target) => {
    const all = recorded.map((session) => scriptOf(session, target));
    return () => all;
  };
  const calls = recorded.reduce((sum, one) => sum + one.calls.length, 0);
  const name = `${recorded.length} recorded sessions, ${calls} calls`;
  return { name, hasClock: false, notes: [], isMade: false, scripts };
}

async function ofTrace(flags: WorkloadFlags): Promise<Workload> {
  // Live on one machine, agents are generated smaller.
  const generate = flags.generate === 'coding-agents' ? 'coding-agents-live' : flags.generate;
  const { trace: file, format, blockTokens, maxSessions } = flags;
  const load = (seed: number) => traceFrom(file, { generate, format, blockTokens, seed });
  const first = await load(flags.seed);
  const traces = new Map([[flags.seed, first]]);
  for (let seed = flags.seed + 1; seed < flags.seed + flags.seeds; seed++) {
    traces.set(seed, file === undefined ? await load(seed) : first);
  }
  const isOurs = file !== undefined && first.about.format === 'recording';
  const prompts = isOurs ? await readPrompts(file, first) : undefined;
  const thinkMsMax = flags.thinkCapS * 1000;
  const scripts = (target: Target) => (seed: number) => {
    const trace = must(traces.get(seed), 'each seed has its sessions');
    return replayOf(trace, { target, seed, thinkMsMax, prompts }).slice(0, maxSessions);
  };
  const what = file === undefined ? `generated ${flags.generate}` : basename(file);
  const sessions = Math.min(first.sessionCount, maxSessions ?? first.sessionCount);
  const calls = first.sessionThreads[sessions];
  return {
    name: `${what}: ${sessions} sessions, ${first.threadTurns[calls]} calls`,
    hasClock: first.about.clock === 'trace',
    notes: notesOf(first),
    isMade: prompts === undefined,
    scripts,
  };
}

function notesOf({ about }: Trace): string[] {
  const { count } = about.malformed;
  return [...about.notes, ...(count === 0 ? [] : [`${count} rows of it could not be used.`])];
}

/** How a server is asked for what was recorded; what differs from life is said. */
export function manner(workload: Workload, { ids, forced, ignoresEos }: Target): string[] {
  const notes = [...workload.notes];
  if (workload.isMade) {
    const made =
      ids === undefined ? 'text of about as many tokens: ids are not taken' : 'token ids';
    notes.push(`Prompts are seeded ${made}; what recorded prompts share, these share.`);
  }
  if (forced && (workload.isMade || ids !== undefined)) return notes;
  const length = ignoresEos
    ? 'the recorded length (ignore_eos, where it is heeded)'
    : 'at most the recorded length';
  notes.push(
    `Answers are the server's own, of ${length}: they cannot be dictated, so a next prompt is found in cache up to the prompt before it, not its answer.`,
  );
  return notes;
}

function sessionsIn(folder: string) {
  try {
    return readSessions(folder);
  } catch (error) {
    throw new Complaint((error as Error).message, 2);
  }
}
