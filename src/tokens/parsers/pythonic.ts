/**
 * Calls written as a list of Python calls, by Llama 3.2 and 4 or LFM2:
 *
 *   [get_weather(city='SF', days=2), now()]
 *   <|python_start|>[get_weather(city='SF')]<|python_end|>
 *
 * Without the markers an answer that begins with a list is a call only if a tool of that name is
 * offered. A call leaves when its last bracket is read: its literals become JSON.
 */
import type { Tool } from '../../model/request.ts';
import { type CallFormat, numberedId, offers } from './call-format.ts';
import { readCallList } from './call-list.ts';
import { keywordArguments, PythonScan } from './python-literal.ts';
import type { Reader, Step } from './reader.ts';

const MARKERS: ReadonlyMap<string, string> = new Map([
  ['<|python_start|>', '<|python_end|>'],
  ['<|tool_call_start|>', '<|tool_call_end|>'],
]);
const STARTS = [...MARKERS.keys()];
const NAME = /^[\w.-]+$/;

export const PYTHONIC: CallFormat = {
  names: ['pythonic', 'llama4_pythonic', 'lfm2'],
  markers: [...MARKERS].flat(),
  recognises: (template) =>
    template.includes('[func_name1(') ||
    [...STARTS, '<|tool_list_start|>'].some((start) => template.includes(start)),
  read,
  endsReasoning: [],
  readsReasoning: false,
  callId: numberedId,
};

function* read(reader: Reader, tools: readonly Tool[]): Step<void> {
  const isOffered = (name: string) => offers(tools, name);
  yield* reader.blanks();
  if ((yield* reader.peek('[')) !== undefined) yield* readList(reader, isOffered);
  for (;;) {
    const marker = yield* reader.textUpTo(STARTS, 0);
    if (marker === undefined) return;
    yield* reader.blanks();
    const isList = (yield* reader.peek('[')) !== undefined;
    if (!isList || !(yield* readList(reader, (name) => NAME.test(name)))) reader.giveUp();
    else yield* reader.closing(MARKERS.get(marker) as string);
  }
}

function* readList(reader: Reader, accepts: (name: string) => boolean): Step<boolean> {
  return yield* readCallList(reader, (one) => readPythonCall(one, { before: '(', accepts }));
}

/** A call at the cursor; `before`: what stands between its name and its arguments. */
export function* readPythonCall(
  reader: Reader,
  { before, accepts }: { before: string; accepts: (name: string) => boolean },
): Step<boolean> {
  const name = yield* reader.nameBefore(before);
  if (name === undefined || !accepts(name)) return false;
  yield* reader.next(before);
  const inside = yield* reader.scanned(new PythonScan());
  const json = inside === undefined ? undefined : keywordArguments(inside);
  if (json === undefined) return false;
  reader.call(name);
  reader.arguments(json);
  return true;
}
