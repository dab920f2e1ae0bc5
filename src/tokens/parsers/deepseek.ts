/**
 * What DeepSeek models write; V3 and R1 name the type of a call and fence its arguments:
 *
 *   <｜tool▁calls▁begin｜>
 *   V3    <｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\n{…}\n```<｜tool▁call▁end｜>
 *   V3.1  <｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{…}<｜tool▁call▁end｜>
 *   <｜tool▁calls▁end｜>
 *
 * What follows the separator tells them apart, so either is read wherever one of them is expected.
 */
import { type CallFormat, numberedId } from './call-format.ts';
import { readSections } from './call-section.ts';
import { readObject } from './json-call.ts';
import type { Reader, Step } from './reader.ts';

const SECTION = '<｜tool▁calls▁begin｜>';
const SECTION_END = '<｜tool▁calls▁end｜>';
const CALL = '<｜tool▁call▁begin｜>';
const CALL_END = '<｜tool▁call▁end｜>';
const SEPARATOR = '<｜tool▁sep｜>';
const FENCE = '```';

export const DEEPSEEK: CallFormat = {
  names: ['deepseek_v3', 'deepseek_v31', 'deepseek_v3_1'],
  markers: [SECTION, SECTION_END, CALL, CALL_END, SEPARATOR],
  recognises: (template) => template.includes(SECTION),
  read: (reader) =>
    readSections(reader, { section: SECTION, sectionEnd: SECTION_END, call: CALL }, readCall),
  endsReasoning: [SECTION, CALL],
  readsReasoning: false,
  callId: numberedId,
};

function* readCall(reader: Reader): Step<boolean> {
  yield* reader.blanks();
  const first = yield* reader.nameBefore(SEPARATOR);
  if (first === undefined) return false;
  yield* reader.next(SEPARATOR);
  yield* reader.blanks();
  if ((yield* reader.peek('{', CALL_END)) !== undefined) {
    if (!(yield* readObject(reader, { name: first }, [CALL_END]))) return false;
    yield* reader.closing(CALL_END);
    return true;
  }
  const name = yield* reader.nameBefore('\n', FENCE);
  if (name === undefined) return false;
  yield* reader.blanks();
  if ((yield* reader.next(`${FENCE}json`)) === undefined) return false;
  if (!(yield* readObject(reader, { name }, [FENCE]))) return false;
  if (yield* reader.closing(FENCE)) yield* reader.closing(CALL_END);
  return true;
}
