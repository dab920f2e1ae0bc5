/** Token ids as JSON, in bytes: prompts of agents are long, and numbers written one by one cost milliseconds. */

/** `000` to `999`, three bytes each. */
const TRIPLES = Uint8Array.from({ length: 3000 }, (_, i) => {
  const number = Math.floor(i / 3);
  return 48 + (Math.floor(number / 10 ** (2 - (i % 3))) % 10);
});
const COMMA = 44;
/** Of the largest id and a comma. */
const BYTES_MAX = 11;

/** `object` as JSON, with a first field `name` that lists `ids`. */
export function jsonWithIds(object: object, name: string, ids: Uint32Array): Uint8Array {
  const head = `{${JSON.stringify(name)}:[`;
  const rest = JSON.stringify(object);
  const tail = rest === '{}' ? ']}' : `],${rest.slice(1)}`;
  const most = Buffer.byteLength(head) + ids.length * BYTES_MAX + Buffer.byteLength(tail);
  // All of it is written, or cut off: nothing need be cleared before.
  const bytes = Buffer.allocUnsafeSlow(most);
  let at = bytes.write(head);
  for (let i = 0; i < ids.length; i++) {
    if (i > 0) bytes[at++] = COMMA;
    at = writeNumber(bytes, at, ids[i]);
  }
  at += bytes.write(tail, at);
  return bytes.subarray(0, at);
}

/** Returns where it ends. */
function writeNumber(bytes: Uint8Array, at: number, number: number): number {
  if (number < 1000) return writeFirst(bytes, at, number);
  const high = Math.floor(number / 1000);
  const end = high < 1000 ? writeFirst(bytes, at, high) : writeNumber(bytes, at, high);
  const triple = 3 * (number - 1000 * high);
  bytes[end] = TRIPLES[triple];
  bytes[end + 1] = TRIPLES[triple + 1];
  bytes[end + 2] = TRIPLES[triple + 2];
  return end + 3;
}

/** Without leading zeros. */
function writeFirst(bytes: Uint8Array, at: number, number: number): number {
  const triple = 3 * number;
  let end = at;
  if (number >= 100) bytes[end++] = TRIPLES[triple];
  if (number >= 10) bytes[end++] = TRIPLES[triple + 1];
  bytes[end++] = TRIPLES[triple + 2];
  return end;
}
