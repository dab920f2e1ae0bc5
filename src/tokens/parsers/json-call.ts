/** Calls written as JSON: `{"name": …, "arguments": {…}}`, and arguments that are a JSON object. */
import { JsonScan } from '../../base/json-scan.ts';
import type { Reader, Step } from './reader.ts';

const ARGUMENTS: ReadonlySet<string> = new Set(['arguments', 'parameters']);
/** Members that say nothing of the call itself. With any other, an object is no call. */
const IGNORED: ReadonlySet<string> = new Set(['id', 'type']);

/**
 * The call that begins at the cursor, if one does whose name `accepts`. It is certain when its name
 * and the first brace of its arguments are read; these then leave while they come. Should they
 * break off, the rest is still there, to become text.
 */
export function* readJsonCall(reader: Reader, accepts: (name: string) => boolean): Step<boolean> {
  yield* reader.blanks();
  if ((yield* reader.next('{')) === undefined) return false;
  let name: string | undefined;
  let given: string | undefined;
  for (;;) {
    const key = yield* readKey(reader);
    if (key === undefined) return false;
    if (ARGUMENTS.has(key)) {
      if ((yield* reader.peek('{')) === undefined) return false;
      if (name !== undefined) break;
      given = yield* reader.scanned(new JsonScan());
    } else if (key === 'name') {
      name = yield* readString(reader);
      if (name === undefined || !accepts(name)) return false;
    } else if (!IGNORED.has(key) || !(yield* reader.scanned(new JsonScan()))) return false;
    if (name !== undefined && given !== undefined) break;
    if (!(yield* readMark(reader, ','))) return false;
  }
  reader.call(name);
  if (given !== undefined) reader.arguments(given);
  else if (!(yield* reader.streamObject())) return true;
  yield* readRest(reader);
  return true;
}

/**
 * The arguments of `name`, at the cursor: an object, or nothing before one of `ends`. False where
 * something else is there.
 */
export function* readObject(
  reader: Reader,
  call: { name: string; id?: string },
  ends: readonly string[],
): Step<boolean> {
  yield* reader.blanks();
  const begins = yield* reader.peek('{', ...ends);
  if (begins === undefined) return false;
  reader.call(call.name, call.id);
  if (begins === '{') yield* reader.streamObject();
  else reader.arguments('{}');
  return true;
}

/** Members behind the arguments, and the last brace; the call is good without it. */
function* readRest(reader: Reader): Step<void> {
  for (;;) {
    yield* reader.blanks();
    const mark = yield* reader.next('}', ',');
    if (mark === '}') return reader.commit();
    const goesOn = mark === ',' && (yield* readKey(reader)) !== undefined;
    if (!goesOn || (yield* reader.scanned(new JsonScan())) === undefined) return reader.rewind();
  }
}

function* readKey(reader: Reader): Step<string | undefined> {
  yield* reader.blanks();
  const key = yield* readString(reader);
  if (key === undefined || !(yield* readMark(reader, ':'))) return undefined;
  yield* reader.blanks();
  return key;
}

function* readString(reader: Reader): Step<string | undefined> {
  if ((yield* reader.peek('"')) === undefined) return undefined;
  const text = yield* reader.scanned(new JsonScan());
  return text === undefined ? undefined : JSON.parse(text);
}

function* readMark(reader: Reader, mark: string): Step<boolean> {
  yield* reader.blanks();
  return (yield* reader.next(mark)) !== undefined;
}
