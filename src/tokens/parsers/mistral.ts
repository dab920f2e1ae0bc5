/**
 * What Mistral models write: a list of JSON calls at first, later a marker for each call.
 *
 *   [TOOL_CALLS][{"name": …, "arguments": {…}}, …]
 *   [TOOL_CALLS]NAME[ARGS]{…}[TOOL_CALLS]NAME[CALL_ID]abcDEF123[ARGS]{…}
 *   [TOOL_CALLS]NAME{…}
 */
import type { CallFormat } from './call-format.ts';
import { readCallList } from './call-list.ts';
import { readJsonCall, readObject } from './json-call.ts';
import type { Reader, Step } from './reader.ts';

const CALL = '[TOOL_CALLS]';
const ID = '[CALL_ID]';
const ARGUMENTS = '[ARGS]';
/** The templates refuse ids of another length. */
const ID_LENGTH = 9;

export const MISTRAL: CallFormat = {
  names: ['mistral'],
  markers: [CALL, ID, ARGUMENTS],
  recognises: (template) => template.includes(CALL),
  read,
  endsReasoning: [],
  readsReasoning: false,
  callId: (n) => `call${n.toString(36).padStart(ID_LENGTH - 4, '0')}`,
};

function* read(reader: Reader): Step<void> {
  while ((yield* reader.textUpTo([CALL], 0)) !== undefined) {
    yield* reader.blanks();
    const isList = (yield* reader.peek('[')) !== undefined;
    const isCall = yield* isList
      ? readCallList(reader, (one) => readJsonCall(one, () => true))
      : readMarkedCall(reader);
    if (!isCall) reader.giveUp();
  }
}

function* readMarkedCall(reader: Reader): Step<boolean> {
  const name = yield* reader.nameBefore(ARGUMENTS, ID, '{');
  if (name === undefined) return false;
  yield* reader.blanks();
  const id = (yield* reader.next(ID)) && (yield* reader.nameBefore(ARGUMENTS, '{'));
  yield* reader.next(ARGUMENTS);
  return yield* readObject(reader, { name, id }, []);
}
