/**
 * What a batch's file asks for, in the order in which it is best asked: requests that begin alike stand
 * together, so that what they share is computed once.
 *
 * Each gets a key of hashes of its prompt's first 256 characters, 512, 1024 and so on: two keys agree as
 * far as the prompts do, and sorting by them needs some 100 bytes a request, however long prompts are.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Json } from '../../wire/fields.ts';

export interface PlannedRequest {
  customId: string;
  /** Bytes of its line in the file. */
  offset: number;
  length: number;
  key: string;
}

/** One thing that is wrong with the file, as OpenAI tells it. */
export interface Problem {
  code: string;
  line: number | null;
  message: string;
  param: string | null;
}

export interface Plan {
  requests: PlannedRequest[];
  /** The first ones; where there is any, nothing is run. */
  problems: Problem[];
}

const PROBLEMS_MAX = 100;

/** Rejects with the system's error where the file cannot be read. */
export async function planOf(
  path: string,
  given: { endpoint: string; requestsMax: number },
): Promise<Plan> {
  const requests: PlannedRequest[] = [];
  const problems: Problem[] = [];
  const seen = new Set<string>();
  const wrong = (line: number, code: string, param: string, message: string) => {
    if (problems.length < PROBLEMS_MAX) problems.push({ code, line, message, param });
  };
  let line = 0;
  for await (const { text, offset, length } of linesOf(path)) {
    line++;
    if (text.trim() === '') continue;
    if (requests.length >= given.requestsMax) {
      wrong(
        line,
        'too_many_requests',
        'file',
        `A batch has at most ${given.requestsMax} requests.`,
      );
      break;
    }
    const entry = entryOf(text);
    if (entry === undefined) {
      wrong(line, 'invalid_json_line', 'file', 'This line is no JSON object.');
      continue;
    }
    const { custom_id: customId, method, url, body } = entry;
    if (typeof customId !== 'string' || customId === '') {
      wrong(line, 'missing_required_parameter', 'custom_id', 'custom_id must be a string.');
    } else if (seen.has(customId)) {
      wrong(line, 'duplicate_custom_id', 'custom_id', 'This custom_id comes twice.');
    } else if (method !== 'POST') {
      wrong(line, 'invalid_method', 'method', 'method must be POST.');
    } else if (url !== given.endpoint) {
      wrong(line, 'mismatched_endpoint', 'url', `url must be the batch's: ${given.endpoint}.`);
    } else if (typeof body !== 'object' || body === null || Array.isArray(body)) {
      wrong(line, 'missing_required_parameter', 'body', 'body must be an object.');
    } else {
      seen.add(customId);
      requests.push({ customId, offset, length, key: keyOf(body as Json) });
    }
  }
  if (requests.length === 0 && problems.length === 0) {
    problems.push({ code: 'empty_file', line: null, message: 'The file is empty.', param: null });
  }
  requests.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.offset - b.offset));
  return { requests, problems };
}

/** A line of the file as an object; undefined where it is none. */
export function entryOf(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}

const CUT_FIRST = 256;
const DIGEST_DIGITS = 8;

/** Of what stands first in a prompt: model, tools, instructions, then what was said. */
function keyOf(body: Json): string {
  const { model, tools, instructions, messages, input, prompt } = body;
  const said = messages ?? input ?? prompt;
  const text = JSON.stringify([model, tools, instructions, said]);
  const hash = createHash('sha256');
  let key = '';
  let from = 0;
  for (let cut = CUT_FIRST; from < text.length; cut *= 2) {
    hash.update(text.slice(from, cut));
    key += hash.copy().digest('hex').slice(0, DIGEST_DIGITS);
    from = cut;
  }
  return key;
}

interface Line {
  text: string;
  offset: number;
  length: number;
}

/** Lines of a file, and where they lie; a last one without an end counts. */
export async function* linesOf(path: string): AsyncGenerator<Line, void, undefined> {
  let held: Buffer[] = [];
  let offset = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      held.push(chunk.subarray(from, at));
      const bytes = Buffer.concat(held);
      yield { text: bytes.toString('utf8'), offset, length: bytes.length };
      offset += bytes.length + 1;
      held = [];
      from = at + 1;
    }
    if (from < chunk.length) held.push(chunk.subarray(from));
  }
  if (held.length === 0) return;
  const bytes = Buffer.concat(held);
  yield { text: bytes.toString('utf8'), offset, length: bytes.length };
}

const NEWLINE = 0x0a;
