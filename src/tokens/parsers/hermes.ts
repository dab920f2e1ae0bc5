/**
 * What models of the Hermes and Qwen 2.5 and 3 families write:
 *
 *   text\n<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>
 *
 * The line break before a marker belongs to it: the templates write it back, so that the next turn's
 * prompt continues the KV of this answer.
 */
import { type CallFormat, numberedId } from './call-format.ts';
import { readJsonCall } from './json-call.ts';
import type { Reader, Step } from './reader.ts';

const CALL = '<tool_call>';
const CALL_END = '</tool_call>';
const JSON_CALL = /<tool_call>(?:\\n|\s|['"}{ -])*\{\\?["']name\\?["']/;

export const HERMES: CallFormat = {
  names: ['hermes', 'qwen3', 'qwen25'],
  markers: [CALL, CALL_END],
  recognises: (template) => JSON_CALL.test(template),
  read,
  endsReasoning: [],
  readsReasoning: false,
  callId: numberedId,
};

function* read(reader: Reader): Step<void> {
  while ((yield* reader.textUpTo([CALL], 1)) !== undefined) {
    if (yield* readJsonCall(reader, () => true)) yield* reader.closing(CALL_END);
    else reader.giveUp();
  }
}
