/** A file, packed or not, in whichever format → a trace. Streams: only the trace itself is held. */
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, gunzipSync } from 'node:zlib';
import { Defects, type Format, type HeadLine, type Reader, type ReadOptions } from './format.ts';
import { agenticMooncake } from './formats/agentic-mooncake.ts';
import { dynamoRequestTrace } from './formats/dynamo-request-trace.ts';
import { messages } from './formats/messages.ts';
import { mooncake, mooncakeDelta } from './formats/mooncake.ts';
import { recording } from './formats/recording.ts';
import { tokenCounts } from './formats/token-counts.ts';
import { weka } from './formats/weka.ts';
import { BadRow } from './row.ts';
import type { Trace } from './trace.ts';

/** The more particular first: rows of agentic Mooncake would pass for Mooncake's. */
export const FORMATS: readonly Format[] = [
  recording,
  agenticMooncake,
  dynamoRequestTrace,
  weka,
  messages,
  mooncake,
  mooncakeDelta,
  tokenCounts,
];

const HEAD_LINES = 16;
/** More is no line but a file without line ends. */
const LINE_BYTES_MAX = 512 * 1024 * 1024;

/** What the reader of a trace must be told and the file does not say. */
export type ReadFlags = Partial<Omit<ReadOptions, 'folder'>> & { format?: string };

/** The replayer of the WEKA traces warms up half of each prompt's tools and system. */
const SHARED_PREFIX_SHARE = 0.5;

/** Nothing of it could be read; the message is one sentence that names cause and mend. */
export class TraceError extends Error {
  override name = 'TraceError';
}

/**
 * `path` is a file of lines, a single JSON document, or a folder of such documents; gzip is undone. Rows that
 * cannot be used are counted in `about.malformed`. Throws `TraceError` where nothing is left.
 */
export async function readTrace(path: string, flags: ReadFlags = {}): Promise<Trace> {
  if (!existsSync(path)) throw new TraceError(`There is no trace at ${path}.`);
  const isFolder = statSync(path).isDirectory();
  const options: ReadOptions = {
    ...flags,
    sharedPrefixShare: flags.sharedPrefixShare ?? SHARED_PREFIX_SHARE,
    folder: isFolder ? path : dirname(path),
  };
  const intake = new Intake(flags.format, options, path);
  if (isFolder || !(await isLined(path))) {
    const files = isFolder ? documentsIn(path) : [path];
    for (const [i, file] of files.entries()) intake.line(onOneLine(file), i + 1);
  } else {
    await eachLine(path, (text, line) => intake.line(text, line));
  }
  return intake.end();
}

/** Holds the first lines until they show the format, then passes everything on. */
class Intake {
  readonly #options: ReadOptions;
  readonly #path: string;
  readonly #defects = new Defects();
  readonly #head: { text: string; line: number }[] = [];
  #reader: Reader | undefined;

  constructor(format: string | undefined, options: ReadOptions, path: string) {
    this.#options = options;
    this.#path = path;
    if (format !== undefined) this.#reader = formatNamed(format).reader(options, this.#defects);
  }

  line(text: string, line: number): void {
    if (text.trim() === '') return;
    if (this.#reader !== undefined) {
      this.#read(this.#reader, text, line);
      return;
    }
    this.#head.push({ text, line });
    if (this.#head.length === HEAD_LINES) this.#begin();
  }

  end(): Trace {
    const reader = this.#reader ?? this.#begin();
    const trace = reader.build();
    if (trace.turnCount > 0) return trace;
    const [first] = trace.about.malformed.first;
    const why = first === undefined ? 'it is empty' : `line ${first.line}: ${first.sentence}`;
    throw new TraceError(
      `${this.#path} holds no turn that could be read as ${trace.about.format}; ${why}`,
    );
  }

  #begin(): Reader {
    const head = this.#head.map(({ text }): HeadLine => ({ text, value: objectIn(text) }));
    const found = FORMATS.find((format) => format.recognises(head));
    if (found === undefined) {
      throw new TraceError(
        `${this.#path} looks like no format that is known (${formatNames()}); say which with --format.`,
      );
    }
    const reader = found.reader(this.#options, this.#defects);
    this.#reader = reader;
    for (const { text, line } of this.#head) this.#read(reader, text, line);
    return reader;
  }

  #read(reader: Reader, text: string, line: number): void {
    try {
      reader.line(text, line);
    } catch (error) {
      if (!(error instanceof BadRow)) throw error;
      this.#defects.add(line, error);
    }
  }
}

function formatNamed(name: string): Format {
  const found = FORMATS.find((format) => format.name === name);
  if (found !== undefined) return found;
  throw new TraceError(`There is no format '${name}'; choose among ${formatNames()}.`);
}

function formatNames(): string {
  return FORMATS.map(({ name }) => name).join(', ');
}

function objectIn(text: string): HeadLine['value'] {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as HeadLine['value']) : undefined;
  } catch {
    return undefined;
  }
}

/** Of a file, packed or not; `line` counts from 1. */
export async function eachLine(
  path: string,
  on: (text: string, line: number) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  let line = 0;
  const take = async (chunks: AsyncIterable<Uint8Array>) => {
    for await (const chunk of chunks) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = parts.pop() ?? '';
      if (rest.length > LINE_BYTES_MAX) throw new TraceError(`A line of ${path} does not end.`);
      for (const part of parts) on(part, ++line);
    }
  };
  try {
    const file: Readable = createReadStream(path, { highWaterMark: 1024 * 1024 });
    if (await isPacked(path)) await pipeline(file, createGunzip(), take);
    else await pipeline(file, take);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'Z_DATA_ERROR' || code === 'Z_BUF_ERROR') {
      throw new TraceError(`${path} is damaged: it cannot be unpacked after line ${line}.`);
    }
    throw error;
  }
  rest += decoder.decode();
  if (rest !== '') on(rest, line + 1);
}

/** Whether it is to be read line by line: a first line that is no JSON but opens one is a document instead. */
async function isLined(path: string): Promise<boolean> {
  if (await isPacked(path)) return true;
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0);
    const [first] = buffer.subarray(0, bytesRead).toString('utf8').split('\n');
    const begin = first.trim();
    return begin !== '{' && begin !== '[' && begin !== '';
  } finally {
    await file.close();
  }
}

async function isPacked(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
  } finally {
    await file.close();
  }
}

function documentsIn(folder: string): string[] {
  const names = readdirSync(folder).sort();
  const documents = names.filter((name) => /\.json(\.gz)?$/.test(name));
  if (documents.length > 0) return documents.map((name) => join(folder, name));
  const traces = names.filter((name) => /\.(jsonl|csv)(\.gz)?$/.test(name));
  const mend = traces.length > 0 ? `; name a file of it: ${traces.slice(0, 5).join(', ')}` : '';
  throw new TraceError(`The folder ${folder} holds no JSON documents${mend}.`);
}

/** A document in one line; what is no JSON goes on as it is, and its reader says so. */
function onOneLine(path: string): string {
  const bytes = readFileSync(path);
  const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  const value = objectIn(text);
  return value === undefined ? text : JSON.stringify(value);
}
