/**
 * Reasoning in front of an answer: `<think>\n reasoning \n</think>\n\n answer`.
 *
 * Line breaks beside the markers belong to them where templates write them back, so that the next
 * turn's prompt continues the KV of this answer.
 */
import type { Reader, Step } from './reader.ts';

export interface ReasoningFormat {
  /** What vLLM's `--reasoning-parser` calls it, and other names of the same. */
  names: readonly string[];
  open: string;
  close: string;
  /** Most line breaks that belong to the markers. */
  breaks: { afterOpen: number; beforeClose: number; afterClose: number };
  /** Whether an answer begins inside reasoning even where the prompt does not open it. */
  startsOpen: boolean;
}

/**
 * Reads reasoning, if there is some; it can only come first. `isOpen`: the prompt began it.
 * `endedBy`: markers of what can follow reasoning that was never closed.
 */
export function* readReasoning(
  reader: Reader,
  format: ReasoningFormat,
  { isOpen, endedBy }: { isOpen: boolean; endedBy: readonly string[] },
): Step<void> {
  const { open, close, breaks } = format;
  yield* reader.blanks();
  if ((yield* reader.next(open)) !== undefined) reader.commit();
  else {
    reader.rewind();
    if (!isOpen) return;
  }
  yield* readBreaks(reader, breaks.afterOpen);
  const marker = yield* reader.reasoningUpTo([close, ...endedBy], breaks.beforeClose);
  if (marker === undefined) return;
  if (marker !== close) return reader.backTo(marker);
  reader.commit();
  yield* readBreaks(reader, breaks.afterClose);
}

function* readBreaks(reader: Reader, most: number): Step<void> {
  for (let i = 0; i < most; i++) {
    if ((yield* reader.next('\n')) === undefined) break;
  }
  reader.commit();
}
