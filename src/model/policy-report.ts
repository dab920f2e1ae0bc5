/** What came of a policy's choices over the last day, as `GET /stator/v1/policies` tells. */
export interface PolicyReport {
  policy: string;
  /** `live`: decides now. `shadow`: decides beside it, and nothing of that is done. `former`: did. */
  role: 'live' | 'shadow' | 'former';
  /** By one model for all policies, so that rows compare. */
  wouldBe: Figures;
  /** As engines reported and clients saw; null for shadows. */
  actual: Figures | null;
}

export interface Figures {
  /** Answered requests … */
  requests: number;
  /** … and those it would have kept waiting for so long that they would have been refused. */
  refused: number;
  promptTokens: number;
  cachedTokens: number;
  computedTokens: number;
  /** cached ÷ prompt tokens; null before the first request. */
  hitRatio: number | null;
  /** Mean over requests; null before the first. */
  ttftUsMean: number | null;
  /** What the best other place would have saved, summed over requests that had a better one. */
  regretUs: number;
  /** By the hour, oldest first. */
  hours: { ago: number; requests: number; regretUs: number }[];
}
