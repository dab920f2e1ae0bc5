/** Calls that stand together in a section: its marker, calls with markers of their own, its end. */
import type { Reader, Step } from './reader.ts';

export interface SectionMarkers {
  section: string;
  sectionEnd: string;
  call: string;
}

/**
 * Reads an answer of text and sections. `readCall` reads what follows a call's marker; false where
 * that is no call, and then nothing may have left.
 */
export function* readSections(
  reader: Reader,
  { section, sectionEnd, call }: SectionMarkers,
  readCall: (reader: Reader) => Step<boolean>,
): Step<void> {
  let isOpen = false;
  for (;;) {
    const sought = isOpen ? [section, call, sectionEnd] : [section, call];
    const marker = yield* reader.textUpTo(sought, 0);
    if (marker === undefined) return;
    if (marker === sectionEnd) {
      reader.commit();
      isOpen = false;
      continue;
    }
    if (marker === section) {
      yield* reader.blanks();
      if ((yield* reader.next(call)) === undefined) {
        reader.giveUp();
        continue;
      }
    }
    if (yield* readCall(reader)) isOpen = true;
    else reader.giveUp();
  }
}
