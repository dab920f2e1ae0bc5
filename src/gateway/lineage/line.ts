/** One thread as lineage remembers it: where its prompts ended, and what was answered to the last. */
import type { SessionId, ThreadId } from '../../model/ids.ts';
import type { AnswerSketch } from './answer-sketch.ts';
import type { End } from './chain.ts';

export interface Mark extends End {
  readonly line: Line;
}

export interface Line {
  readonly thread: ThreadId;
  readonly session: SessionId;
  model: string;
  /** Oldest first; the last is the tip, which the next prompt extends. */
  readonly marks: Mark[];
  /** A turn with tools was served: who asks without them from then on wants a summary. */
  hadTools: boolean;
  /** Its last turn sends tools. */
  hasTools: boolean;
  state: 'running' | 'served' | 'unserved';
  answer: AnswerSketch | undefined;
}

/** Where the thread stands. */
export function tipOf({ marks }: Line): Mark | undefined {
  return marks.at(-1);
}

/** What a line, and each of its marks, take; about. */
const LINE_BYTES = 800;
const MARK_BYTES = 250;

export function bytesOf({ marks, thread, session, model }: Line): number {
  const names = 2 * (thread.length + session.length + model.length);
  return LINE_BYTES + names + MARK_BYTES * marks.length;
}
