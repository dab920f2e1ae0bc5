/** What the benches of streams run against: processes of their own, so that each one's costs are its own. */
import type { Pace } from './paced-engine.ts';

export interface Usage {
  /** Of the process so far, user and system. */
  cpuUs: number;
  rssBytes: number;
}

/** Something that stands between clients and an engine. */
export interface Between {
  port: number;
  usage(): Promise<Usage>;
  close(): Promise<void>;
}

export interface StreamRig {
  /** Runs `work` with an engine of this pace behind what it starts. */
  withEngine<T>(pace: Pace, work: (start: Starter) => Promise<T>): Promise<T>;
  /** Descriptors that a process may have open. */
  descriptors: number;
}

export const KINDS = ['pipe', 'gateway'] as const;
export type Kind = (typeof KINDS)[number];

export type Starter = (kind: Kind) => Promise<Between>;

export const CHAT_PATH = '/v1/chat/completions';

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
