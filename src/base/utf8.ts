/**
 * UTF-8 that comes in pieces cut anywhere → text. A TextDecoder that streams does the same several times
 * slower, and this runs for every token there is.
 */
export class Utf8Reader {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  /** The beginning of a character whose end is still to come: at most three bytes. */
  #begun: Uint8Array | undefined;
  #isFirst = true;

  /** Without a byte order mark at the very beginning; what is no UTF-8 becomes U+FFFD. */
  push(piece: Uint8Array): string {
    const bytes = this.#begun === undefined ? piece : joined(this.#begun, piece);
    const end = wholeLength(bytes);
    this.#begun = end === bytes.length ? undefined : bytes.slice(end);
    const text = this.#decoder.decode(end === bytes.length ? bytes : bytes.subarray(0, end));
    if (!this.#isFirst || text === '') return text;
    this.#isFirst = false;
    return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  }
}

/** Without a character at the end that has only begun. */
function wholeLength(bytes: Uint8Array): number {
  const { length } = bytes;
  for (let back = 1; back <= 3 && back <= length; back++) {
    const byte = bytes[length - back];
    if (byte < 0x80) return length;
    if (byte < 0xc0) continue;
    const needed = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : byte < 0xf8 ? 4 : 1;
    return needed > back ? length - back : length;
  }
  return length;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
