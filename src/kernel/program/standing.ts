/** What a thread does just now, as far as its requests and its absence tell. */
import type { SessionId, ThreadId, WorkerId } from '../../model/ids.ts';
import { ageAt } from './return-odds.ts';
import type { Away, Gap } from './tool-times.ts';

export type Doing =
  /** It asked for something: that waits, or runs. */
  | 'thinking'
  /** Its client runs what it called for. */
  | 'acting'
  /** Its sub-agents are at work. */
  | 'waiting'
  /** Somebody reads its answer. */
  | 'idle'
  /** Nobody goes on from it. */
  | 'ended';

export interface Standing {
  doing: Doing;
  /** Of an acting one, the tool that takes longest as a rule, where it was named. */
  tool: string | undefined;
  sinceUs: number;
  session: SessionId | undefined;
  parent: ThreadId | undefined;
  /** Where its last turn ran. */
  worker: WorkerId | undefined;
  /** Its last prompt and answer. */
  contextTokens: number;
  /** By then it will be back as likely as not; undefined: it is not away, or as likely never. */
  returnsUs: number | undefined;
}

export function doingOf({ kind }: Away): Doing {
  if (kind === 'tools') return 'acting';
  if (kind === 'children') return 'waiting';
  if (kind === 'inLine') return 'thinking';
  return kind === 'person' ? 'idle' : 'ended';
}

/** `odds`: by bucket, that such a gap ends in it. */
export function returnUs(nowUs: number, gap: Gap, odds: Float64Array): number | undefined {
  const age = ageAt(odds, nowUs - gap.begunUs, 0.5);
  return age === undefined ? undefined : Math.round(gap.begunUs + age);
}
