/**
 * What GLM 4.5 and later models write, with or without the line breaks:
 *
 *   <tool_call>NAME\n<arg_key>KEY</arg_key>\n<arg_value>value</arg_value>\n</tool_call>
 *
 * A value of type string leaves while it comes.
 */
import type { Tool } from '../../model/request.ts';
import { type CallFormat, numberedId } from './call-format.ts';
import type { Reader, Step } from './reader.ts';
import { TaggedArguments } from './tagged-arguments.ts';

const CALL = '<tool_call>';
const CALL_END = '</tool_call>';
const KEY = '<arg_key>';
const KEY_END = '</arg_key>';
const VALUE = '<arg_value>';
const VALUE_END = '</arg_value>';

export const GLM45: CallFormat = {
  names: ['glm45', 'glm47'],
  markers: [CALL, CALL_END, KEY, KEY_END, VALUE, VALUE_END],
  recognises: (template) => template.includes(KEY),
  read,
  endsReasoning: [],
  readsReasoning: false,
  callId: numberedId,
};

function* read(reader: Reader, tools: readonly Tool[]): Step<void> {
  while ((yield* reader.textUpTo([CALL], 1)) !== undefined) {
    yield* reader.blanks();
    const name = yield* reader.nameBefore('\n', KEY, CALL_END);
    yield* reader.blanks();
    const isCall = name !== undefined && (yield* reader.peek(KEY, CALL_END)) !== undefined;
    if (!isCall) reader.giveUp();
    else yield* readArguments(reader, new TaggedArguments(reader, tools, name));
  }
}

function* readArguments(reader: Reader, given: TaggedArguments): Step<void> {
  for (;;) {
    yield* reader.blanks();
    const tag = yield* reader.next(KEY, CALL_END);
    if (tag === CALL_END) return given.finish();
    const key = tag === undefined ? undefined : yield* reader.nameBefore(KEY_END);
    yield* reader.next(KEY_END);
    yield* reader.blanks();
    const isValue = key !== undefined && (yield* reader.next(VALUE)) !== undefined;
    if (!isValue) return reader.rewind();
    if ((yield* given.value(key, [VALUE_END], 0)) === undefined) return;
  }
}
