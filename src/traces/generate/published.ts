/**
 * What is published of real coding agents: 710 Claude Code sessions of kv-cache-tester (WEKA, Apache-2.0, commit
 * 94f6046), 43,905 requests and more, with half of each tools-and-system prompt shared across sessions. The
 * generator is fitted to these figures, and `trace describe --generate` shows them beside its own.
 */
import type { Spread } from '../spread.ts';

type Published = Partial<Spread>;

export const PUBLISHED_CODING_AGENTS = {
  source: '710 Claude Code sessions (callanjfox/kv-cache-tester)',
  turnsPerThread: { mean: 63.8, p5: 4, p25: 14, p50: 39, p75: 89, p90: 150, p95: 227, p99: 326 },
  promptTokens: {
    mean: 122_379,
    p5: 30_544,
    p25: 66_519,
    p50: 103_659,
    p75: 138_566,
    p90: 233_633,
    p95: 300_666,
    p99: 498_519,
  },
  uncachedTokens: {
    mean: 4_622,
    p5: 324,
    p25: 615,
    p50: 968,
    p75: 2_006,
    p90: 5_003,
    p95: 10_469,
    p99: 92_723,
  },
  laterUncachedTokens: {
    mean: 3_459,
    p5: 323,
    p25: 611,
    p50: 955,
    p75: 1_932,
    p90: 4_432,
    p95: 8_345,
    p99: 61_300,
  },
  outputTokens: {
    mean: 440,
    p5: 89,
    p25: 137,
    p50: 216,
    p75: 426,
    p90: 898,
    p95: 1_554,
    p99: 3_686,
  },
  thinkS: { mean: 172, p5: 3, p25: 5, p50: 10, p75: 33, p90: 162, p95: 449, p99: 3_014 },
  serviceS: { mean: 9.8, p5: 3, p25: 4.3, p50: 6.1, p75: 10.3, p90: 18.3, p95: 28.5, p99: 60.7 },
  firstPromptTokens: { mean: 84_690, p50: 21_643 },
  lastPromptTokens: { mean: 164_104, p50: 128_880 },
  /** Share of prompt tokens, infinite cache. */
  hitTokens: 0.962,
  /** Of later turns, those that keep less than 80 % of the prompt before. */
  resets: 0.019,
} satisfies Record<string, Published | string | number>;
