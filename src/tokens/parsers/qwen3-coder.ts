/**
 * What Qwen3-Coder, Qwen 3.5 and Nemotron 3 models write:
 *
 *   <tool_call>\n<function=NAME>\n<parameter=KEY>\nvalue\n</parameter>\n</function>\n</tool_call>
 *
 * They are known to leave out the first marker; then a function counts if it is offered. A value of
 * type string leaves while it comes.
 */
import type { Tool } from '../../model/request.ts';
import { type CallFormat, numberedId, offers } from './call-format.ts';
import type { Reader, Step } from './reader.ts';
import { TaggedArguments } from './tagged-arguments.ts';

const CALL = '<tool_call>';
const CALL_END = '</tool_call>';
const FUNCTION = '<function=';
const FUNCTION_END = '</function>';
const PARAMETER = '<parameter=';
const PARAMETER_END = '</parameter>';
/** How a value ends whose own end is missing. */
const ALL_END = `${FUNCTION_END}\n${CALL_END}`;

export const QWEN3_CODER: CallFormat = {
  names: ['qwen3_coder', 'qwen3_xml', 'nemotron_nano'],
  markers: [CALL, CALL_END],
  recognises: (template) =>
    [CALL, FUNCTION, PARAMETER].every((marker) => template.includes(marker)),
  read,
  endsReasoning: [],
  readsReasoning: false,
  callId: numberedId,
};

function* read(reader: Reader, tools: readonly Tool[]): Step<void> {
  for (;;) {
    const marker = yield* reader.textUpTo([CALL, FUNCTION], 2);
    if (marker === undefined) return;
    const name = yield* readName(reader, marker === FUNCTION);
    if (name === undefined || (marker === FUNCTION && !offers(tools, name))) reader.giveUp();
    else yield* readParameters(reader, new TaggedArguments(reader, tools, name));
  }
}

function* readName(reader: Reader, isInside: boolean): Step<string | undefined> {
  yield* reader.blanks();
  if (!isInside && (yield* reader.next(FUNCTION)) === undefined) return undefined;
  const name = yield* reader.nameBefore('>');
  if (name === undefined) return undefined;
  yield* reader.next('>');
  yield* reader.blanks();
  const follows = yield* reader.peek(PARAMETER, FUNCTION_END);
  return follows === undefined ? undefined : name;
}

function* readParameters(reader: Reader, given: TaggedArguments): Step<void> {
  for (;;) {
    yield* reader.blanks();
    const tag = yield* reader.next(PARAMETER, FUNCTION_END, CALL_END);
    if (tag === FUNCTION_END || tag === CALL_END) {
      given.finish();
      if (tag === FUNCTION_END) yield* reader.closing(CALL_END);
      return;
    }
    const key = tag === undefined ? undefined : yield* reader.nameBefore('>');
    if (key === undefined) return reader.rewind();
    yield* reader.next('>');
    yield* reader.next('\n');
    const end = yield* given.value(key, [PARAMETER_END, ALL_END], 1);
    if (end === undefined) return;
    if (end === ALL_END) return given.finish();
  }
}
