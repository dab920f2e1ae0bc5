/** How a model writes what stands around an answer, told to whoever makes grammars of it. */
import type { AnswerFrame } from '../model/request.ts';
import type { Dialect } from './parsers/dialect.ts';
import { HERMES } from './parsers/hermes.ts';

const [CALL, CALL_END] = HERMES.markers;

/** `isOpen`: the prompt ends inside reasoning; `mayReason`: the answer may begin with some. */
export function frameOf(
  { calls, reasoning }: Dialect,
  { isOpen, mayReason }: { isOpen: boolean; mayReason: boolean },
): AnswerFrame {
  return {
    reasoning:
      reasoning === undefined || !mayReason
        ? undefined
        : { open: reasoning.open, close: reasoning.close, isOpen },
    calls:
      calls === HERMES ? { open: `${CALL}\n`, close: `\n${CALL_END}`, marker: CALL } : undefined,
  };
}
