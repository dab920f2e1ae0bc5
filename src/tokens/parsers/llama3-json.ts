/**
 * What Llama 3 models write: an answer that is nothing but a call, or one behind a control token.
 *
 *   {"name": …, "parameters": {…}}; {"name": …, "parameters": {…}}
 *   <|python_tag|>{"name": …, "parameters": {…}}
 *   <|python_tag|>NAME.call(key="value")
 *
 * Without the control token an object is a call only if a tool of that name is offered: it may as
 * well be the JSON that a user asked for. Python code behind the token is text.
 */
import type { Tool } from '../../model/request.ts';
import { type CallFormat, numberedId, offers } from './call-format.ts';
import { readJsonCall } from './json-call.ts';
import { readPythonCall } from './pythonic.ts';
import type { Reader, Step } from './reader.ts';

const PYTHON = '<|python_tag|>';

export const LLAMA3_JSON: CallFormat = {
  names: ['llama3_json', 'llama4_json'],
  markers: [PYTHON],
  recognises: (template) =>
    template.includes('{"name": function name, "parameters": dictionary') ||
    (template.includes(PYTHON) && !template.includes('<function=')),
  read,
  endsReasoning: [],
  readsReasoning: false,
  callId: numberedId,
};

function* read(reader: Reader, tools: readonly Tool[]): Step<void> {
  const isOffered = (name: string) => offers(tools, name);
  yield* reader.blanks();
  if ((yield* reader.peek('{')) !== undefined) yield* readCalls(reader, isOffered);
  while ((yield* reader.textUpTo([PYTHON], 0)) !== undefined) {
    yield* reader.blanks();
    const isObject = (yield* reader.peek('{')) !== undefined;
    const isCall = yield* isObject
      ? readCalls(reader, () => true)
      : readPythonCall(reader, { before: '.call(', accepts: () => true });
    if (!isCall) reader.giveUp();
  }
}

/** Calls with semicolons or blanks between them; false where the first is none. */
function* readCalls(reader: Reader, accepts: (name: string) => boolean): Step<boolean> {
  if (!(yield* readJsonCall(reader, accepts))) return false;
  do {
    reader.rewind();
    yield* reader.blanks();
    yield* reader.next(';');
  } while (yield* readJsonCall(reader, accepts));
  reader.rewind();
  return true;
}
