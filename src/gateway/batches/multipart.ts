/**
 * A form with one file (multipart/form-data, RFC 7578), read as it comes: fields are kept, the file is
 * handed on in pieces and never held.
 *
 *   --boundary CRLF  headers CRLF CRLF  content  CRLF --boundary  …  CRLF --boundary--
 */
import { wrong } from '../../wire/fields.ts';

export interface FormLimits {
  /** Of a part's headers, and of a field's content. */
  fieldBytesMax: number;
  fieldsMax: number;
}

export interface FormFile {
  filename: string;
  /** To be read to its end, or not at all. */
  content: AsyncIterable<Uint8Array>;
}

const CRLF2 = Buffer.from('\r\n\r\n');
const NOT_A_FORM = 'is no form that can be read; send multipart/form-data with a file';

/**
 * Reads the form. `take` gets the file when its part begins, which may be before or after the fields.
 * Returns the fields and what `take` did; throws `invalid_request` where it is no such form.
 */
export async function readForm<T>(
  given: { contentType: string | undefined; bytes: AsyncIterable<Uint8Array>; limits: FormLimits },
  take: (file: FormFile) => Promise<T>,
): Promise<{ fields: Map<string, string>; file: T | undefined }> {
  const { fieldBytesMax, fieldsMax } = given.limits;
  const source = new Source(given.bytes, boundaryOf(given.contentType));
  const fields = new Map<string, string>();
  let file: T | undefined;
  await source.begin();
  while (await source.hasPart()) {
    const about = headersOf(await source.headers(fieldBytesMax));
    const content = source.content();
    if (about.filename !== undefined) {
      if (file !== undefined) throw wrong('file', 'comes twice');
      file = await take({ filename: about.filename, content });
      for await (const _rest of content);
    } else {
      if (fields.size >= fieldsMax) throw wrong('the body', 'has too many fields');
      fields.set(about.name, await textOf(content, fieldBytesMax));
    }
  }
  return { fields, file };
}

function boundaryOf(contentType = ''): Buffer {
  const found = /^multipart\/form-data\s*;.*?boundary=(?:"([^"]{1,70})"|([^\s;]{1,70}))/i.exec(
    contentType,
  );
  const boundary = found?.[1] ?? found?.[2];
  if (boundary === undefined) throw wrong('the body', NOT_A_FORM);
  return Buffer.from(`\r\n--${boundary}`);
}

function headersOf(text: string): { name: string; filename: string | undefined } {
  const disposition = /^content-disposition:\s*form-data\s*;(.*)$/im.exec(text)?.[1] ?? '';
  const name = /(?:^|;)\s*name="([^"]*)"/i.exec(disposition)?.[1];
  if (name === undefined) throw wrong('the body', NOT_A_FORM);
  const filename = /(?:^|;)\s*filename="([^"]*)"/i.exec(disposition)?.[1];
  return { name, filename };
}

async function textOf(content: AsyncIterable<Uint8Array>, bytesMax: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of content) {
    bytes += piece.length;
    if (bytes > bytesMax) throw wrong('the body', 'has a field that is too long');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** The bytes, of which those that are not used yet are held: a piece and a boundary at most. */
class Source {
  readonly #bytes: AsyncIterator<Uint8Array>;
  readonly #boundary: Buffer;
  // The first boundary may be the first line: as if a line had ended before.
  #held: Buffer = Buffer.from('\r\n');

  constructor(bytes: AsyncIterable<Uint8Array>, boundary: Buffer) {
    this.#bytes = bytes[Symbol.asyncIterator]();
    this.#boundary = boundary;
  }

  /** Up to the first part. */
  async begin(): Promise<void> {
    for await (const _preamble of this.content());
  }

  /** Behind a boundary: whether another part begins there. */
  async hasPart(): Promise<boolean> {
    while (this.#held.length < 2) await this.#more();
    const mark = this.#held.subarray(0, 2).toString('latin1');
    this.#held = this.#held.subarray(2);
    if (mark === '\r\n') return true;
    if (mark === '--') return false;
    throw wrong('the body', NOT_A_FORM);
  }

  async headers(bytesMax: number): Promise<string> {
    let end = this.#held.indexOf(CRLF2);
    while (end < 0) {
      if (this.#held.length > bytesMax) throw wrong('the body', NOT_A_FORM);
      await this.#more();
      end = this.#held.indexOf(CRLF2);
    }
    const text = this.#held.subarray(0, end).toString('utf8');
    this.#held = this.#held.subarray(end + CRLF2.length);
    return text;
  }

  /** Up to the next boundary, which is taken with it. */
  async *content(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const end = this.#held.indexOf(this.#boundary);
      if (end >= 0) {
        const last = this.#held.subarray(0, end);
        this.#held = this.#held.subarray(end + this.#boundary.length);
        if (last.length > 0) yield last;
        return;
      }
      // The last bytes may be the beginning of a boundary.
      const sure = this.#held.length - this.#boundary.length + 1;
      if (sure > 0) {
        const piece = this.#held.subarray(0, sure);
        this.#held = this.#held.subarray(sure);
        yield piece;
      }
      await this.#more();
    }
  }

  async #more(): Promise<void> {
    const next = await this.#bytes.next();
    if (next.done) throw wrong('the body', 'ends before its form does');
    this.#held =
      this.#held.length === 0 ? asBuffer(next.value) : Buffer.concat([this.#held, next.value]);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
