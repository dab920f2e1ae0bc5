/** What a kernel is given at its start; defaults are in model/config.ts. */
export interface KernelSettings {
  policy: string;
  /** Of models that have one of their own. */
  policies?: Readonly<Record<string, string>> | undefined;
  queueRequestsMax: number;
  queueUsMax: number;
  /** A worker gets at most so many requests per slot; the rest wait here, where they can still choose. */
  requestsPerSlotMax: number;
  attemptsMax: number;
  tenantsMax: number;
  threadsMax: number;
  /** Tools whose times are remembered, of all tenants. */
  toolsMax: number;
  indexBytesMax: number;
  predictedBlocksMax: number;
  predictedUsMax: number;
  confidenceObservationsMin: number;
  /** Output tokens expected before any answer was seen. */
  outputTokensExpected: number;
  /** Copies of prefixes between workers under way at once; 0: none. */
  kvMovesMax: number;
  /** What a tenant's share counts for, where it is not 1. */
  tenantWeights?: ReadonlyMap<string, number> | undefined;
  /** Whether a prompt may be computed on one worker and answered on another; undefined: no. */
  inStages?: boolean;
}
