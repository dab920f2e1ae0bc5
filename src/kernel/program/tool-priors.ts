/**
 * What is thought of a gap before any was seen: how long half of those of its kind last, and how many
 * never end. Rough on purpose and worth two gaps (`tool-times.ts`): they only keep the first turns of a
 * gateway from being taken for surprises.
 *
 * Lasting is log-logistic: as many gaps are longer than twice the median as are shorter than half of
 * it, and the longer one lasted the longer it will still, as tools and people have it.
 */
import { BUCKETS, edgeUs } from './gap-curve.ts';

export interface Prior {
  medianS: number;
  /** Of those who never come back. */
  neverShare: number;
}

/** A tool that nobody has heard of. */
export const ANY_TOOL: Prior = { medianS: 10, neverShare: 0.02 };
/** Whoever read the answer. */
export const PERSON: Prior = { medianS: 120, neverShare: 0.2 };
/** A sub-agent that gave its parent an answer. */
export const CHILD_DONE: Prior = { medianS: 60, neverShare: 0.9 };
/** A title, a summary for somebody else. */
export const ASIDE: Prior = { medianS: 60, neverShare: 0.9 };
/** A parent, once its sub-agents are at work. */
export const CHILDREN: Prior = { medianS: 60, neverShare: 0.02 };
/** A turn that waits to be let in. */
export const IN_LINE: Prior = { medianS: 60, neverShare: 0.02 };

/** What a thread had before it went on from elsewhere. */
export const LEFT_BEHIND: Prior = { medianS: 60, neverShare: 0.8 };

/** By names that coding agents use, in lower case: of each, what it does says how long it takes. */
const FAMILIES: readonly (readonly [names: readonly string[], prior: Prior])[] = [
  [
    ['read', 'glob', 'grep', 'ls', 'list', 'list_dir', 'grep_files', 'read_file', 'view'],
    { medianS: 2, neverShare: 0.01 },
  ],
  [
    ['edit', 'multiedit', 'write', 'apply_patch', 'todowrite', 'update_plan', 'notebookedit'],
    { medianS: 3, neverShare: 0.01 },
  ],
  [['bash', 'shell', 'exec_command', 'local_shell', 'run'], { medianS: 6, neverShare: 0.02 }],
  [['webfetch', 'websearch', 'web_search', 'fetch'], { medianS: 8, neverShare: 0.02 }],
  [['task', 'agent', 'spawn_agent', 'wait_agent', 'wait'], { medianS: 60, neverShare: 0.05 }],
  [['askuserquestion', 'exitplanmode', 'question'], PERSON],
];

const BY_NAME: ReadonlyMap<string, Prior> = new Map(
  FAMILIES.flatMap(([names, prior]) => names.map((name) => [name, prior] as const)),
);

export function priorOf(tool: string): Prior {
  return BY_NAME.get(tool.toLowerCase()) ?? ANY_TOOL;
}

/** By bucket, the odds that a gap which reached it ends in it. */
export function oddsOf({ medianS, neverShare }: Prior): Float64Array {
  const awayAt = (us: number) =>
    Number.isFinite(us) ? neverShare + (1 - neverShare) / (1 + us / (medianS * 1e6)) : neverShare;
  return Float64Array.from(
    { length: BUCKETS },
    (_, bucket) => 1 - awayAt(edgeUs(bucket + 1)) / awayAt(edgeUs(bucket)),
  );
}
