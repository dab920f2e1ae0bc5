import type { Reader, Step } from './reader.ts';

/**
 * A list `[ call, call, … ]` at the cursor; `readCall` reads one of them. False where the first is no
 * call. From a later one that is none on, all is text.
 */
export function* readCallList(
  reader: Reader,
  readCall: (reader: Reader) => Step<boolean>,
): Step<boolean> {
  yield* reader.next('[');
  yield* reader.blanks();
  if (!(yield* readCall(reader))) return false;
  for (;;) {
    yield* reader.blanks();
    const mark = yield* reader.next(',', ']');
    if (mark === ']') {
      reader.commit();
      return true;
    }
    if (mark === ',') {
      yield* reader.blanks();
      if (yield* readCall(reader)) continue;
    }
    reader.rewind();
    return true;
  }
}
