/** What one modelled engine is to compute, and who goes first of those that want it. */

export interface Sequence<T> {
  /** Whatever the caller knows it by. */
  readonly of: T;
  /** The full blocks of its prompt, and of its answer where others will ask for that. */
  readonly path: Int32Array;
  readonly promptTokens: number;
  /** At least 1. */
  readonly outputTokens: number;
  /** Undefined: when it comes; infinite: nobody waits for it, so it pauses while others run. */
  readonly dueUs?: number;
  /** Larger goes first, also in a step's prompt tokens, as vLLM's priority scheduling has it; undefined: 0. */
  readonly priority?: number | undefined;
  /** Leading blocks that another engine computed: what is not in cache of them is brought from there. */
  readonly broughtBlocks?: number;
}

interface Turn {
  readonly sequence: Sequence<unknown>;
}

/** Negative where `a` goes first: those that nobody waits for come last. */
export function compareTurns(a: Turn, b: Turn): number {
  const [dueA, dueB] = [dueOf(a), dueOf(b)];
  if (dueA === dueB && a.sequence.priority === b.sequence.priority) return 0;
  if (Math.max(dueA, dueB) < Number.POSITIVE_INFINITY) {
    const difference = (b.sequence.priority ?? 0) - (a.sequence.priority ?? 0);
    if (difference !== 0) return difference;
  }
  return dueA < dueB ? -1 : Number(dueA > dueB);
}

/** By when it should begin; infinite: never for its own sake. */
export function dueOf({ sequence }: Turn): number {
  return sequence.dueUs ?? Number.NEGATIVE_INFINITY;
}
