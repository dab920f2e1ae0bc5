/**
 * What Kimi K2 models write; a call's name is part of its id, which the model counts on:
 *
 *   <|tool_calls_section_begin|>
 *   <|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{…}<|tool_call_end|>
 *   <|tool_calls_section_end|>
 */
import { type CallFormat, numberedId } from './call-format.ts';
import { readSections } from './call-section.ts';
import { readObject } from './json-call.ts';
import type { Reader, Step } from './reader.ts';

const SECTION = '<|tool_calls_section_begin|>';
const SECTION_END = '<|tool_calls_section_end|>';
const CALL = '<|tool_call_begin|>';
const CALL_ARGUMENTS = '<|tool_call_argument_begin|>';
const CALL_END = '<|tool_call_end|>';
const ID = /^(?:functions\.)?(.+?)(?::\d+)?$/;

export const KIMI_K2: CallFormat = {
  names: ['kimi_k2'],
  markers: [SECTION, SECTION_END, CALL, CALL_ARGUMENTS, CALL_END],
  recognises: (template) => template.includes(SECTION),
  read: (reader) =>
    readSections(reader, { section: SECTION, sectionEnd: SECTION_END, call: CALL }, readCall),
  endsReasoning: [SECTION, CALL],
  readsReasoning: false,
  callId: numberedId,
};

function* readCall(reader: Reader): Step<boolean> {
  yield* reader.blanks();
  const id = yield* reader.nameBefore(CALL_ARGUMENTS);
  const name = id === undefined ? undefined : ID.exec(id)?.[1];
  if (id === undefined || name === undefined) return false;
  yield* reader.next(CALL_ARGUMENTS);
  if (!(yield* readObject(reader, { name, id }, [CALL_END]))) return false;
  yield* reader.closing(CALL_END);
  return true;
}
