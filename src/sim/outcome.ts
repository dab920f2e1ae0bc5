/** What became of a prompt in a simulated fleet. Times are virtual microseconds. */
export interface Outcome {
  arrivedUs: number;
  promptTokens: number;
  outputTokens: number;
  /** In the gateway, before it was placed. */
  queuedUs: number;
  worker: number | undefined;
  /** Who computed its prompt, where that was not `worker`. */
  prefilledOn: number | undefined;
  cachedTokens: number;
  /** Of its prompt, those that nobody computed before; undefined: nobody knows. */
  newTokens: number | undefined;
  firstUs: number;
  endedUs: number;
  rejected: boolean;
}

/** Of one that arrives now. */
export function openOutcome(
  nowUs: number,
  of: { promptTokens: number; outputTokens: number; newTokens?: number | undefined },
): Outcome {
  return {
    arrivedUs: nowUs,
    promptTokens: of.promptTokens,
    outputTokens: of.outputTokens,
    queuedUs: 0,
    worker: undefined,
    prefilledOn: undefined,
    cachedTokens: 0,
    newTokens: of.newTokens,
    firstUs: 0,
    endedUs: 0,
    rejected: false,
  };
}
