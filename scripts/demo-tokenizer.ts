// Learns the demo model's tokenizer, a byte-level BPE, and writes src/weights/demo-tokenizer.bpe:
//   node --import tsx scripts/demo-tokenizer.ts test/fixtures/traces
// The same inputs give the same file. Run it by hand, when the vocabulary is to change; the file
// holds nothing of the texts but which byte pairs are frequent in them.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { must } from '../src/base/assert.ts';
import { Heap } from '../src/base/heap.ts';
import { BYTE_CHARACTERS } from '../src/model/byte-alphabet.ts';
import { preTokenizerOf } from '../src/tokens/pre-tokenizer.ts';

/** With 256 bytes and 9 special tokens: 16,384. */
const MERGED_TOKENS = 16_119;
/** In weighted words: whoever is named once or twice in a recorded session names no token. */
const WORD_COUNT_MIN = 9;
const TOKEN_BYTES_MAX = 24;

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const MODULES = join(ROOT, 'node_modules');

interface Source {
  name: string;
  licence: string;
  /** How often its words count: what agents say is little text beside that of libraries. */
  weight: number;
  texts(traces: string): string[];
}

const SOURCES: readonly Source[] = [
  recorded('tau-bench airline sessions', 'MIT', 'tau-bench-airline-10tasks'),
  recorded('LMCache mini-swe-agent sessions', 'Apache-2.0', 'lmcache-mini-swe-agent-6'),
  installed('TypeScript library types', 'Apache-2.0', 1, '@typescript', /\/lib\.[^/]*\.d\.ts$/),
  installed('@types/node', 'MIT', 1, '@types/node', /\.(d\.ts|md)$/),
  // Without llhttp, which holds WebAssembly written in base64.
  installed('undici', 'MIT', 2, 'undici', /^(?!.*llhttp).*\.(js|md)$/),
  installed('zod', 'MIT', 1, 'zod/src', /^(?!.*(tests|locales)).*\.ts$/),
  installed('commander', 'MIT', 2, 'commander', /\/lib\/.*\.js$|\.md$/),
  installed('fast-check', 'MIT', 2, 'fast-check', /\.md$/),
  installed('js-yaml', 'MIT', 2, 'js-yaml', /\.md$/),
  installed('msgpackr', 'MIT', 2, 'msgpackr', /\.md$/),
  installed('koffi', 'MIT', 2, 'koffi', /\.md$/),
];

function recorded(name: string, licence: string, folder: string): Source {
  const texts = (traces: string) => chatTexts(join(traces, folder, 'messages.jsonl.gz'));
  return { name, licence, weight: 4, texts };
}

function installed(
  name: string,
  licence: string,
  weight: number,
  folder: string,
  pattern: RegExp,
): Source {
  return { name, licence, weight, texts: () => files(join(MODULES, folder), pattern) };
}

function main(traces: string): void {
  const words = new Map<string, number>();
  for (const source of SOURCES) {
    const texts = source.texts(traces);
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    if (bytes === 0) throw new Error(`found no text of ${source.name}; run npm install first`);
    console.log(`${source.name}: ${texts.length} texts, ${bytes} bytes, times ${source.weight}`);
    for (const text of texts) countWords(text, source.weight, words);
  }
  const frequent = new Map([...words].filter(([, count]) => count >= WORD_COUNT_MIN));
  const merges = learnMerges(frequent, MERGED_TOKENS);
  const tokens = new Set(merges.map((merge) => merge.replace(' ', '')));
  if (tokens.size < MERGED_TOKENS) throw new Error(`the texts give only ${tokens.size} tokens`);
  const names = SOURCES.map((source) => `${source.name} (${source.licence})`);
  const header = [
    "# The demo model's tokenizer: byte-level BPE merges in rank order, in GPT-2's byte alphabet.",
    '# Made by scripts/demo-tokenizer.ts; do not edit. Byte-pair frequencies were counted in:',
    ...names.map((name) => `#   ${name}`),
    '# The merges follow after an empty line, one a line.',
  ];
  const file = `${[...header, '', ...merges].join('\n')}\n`;
  writeFileSync(join(ROOT, 'src', 'weights', 'demo-tokenizer.bpe'), file);
  console.log(`${merges.length} merges, ${Buffer.byteLength(file)} bytes`);
}

/** What was said in recorded sessions, each distinct text once; ids of calls are noise. */
function chatTexts(path: string): string[] {
  const texts = new Set<string>();
  for (const line of gunzipSync(readFileSync(path)).toString('utf8').split('\n')) {
    if (line === '') continue;
    for (const message of (JSON.parse(line) as RecordedSession).messages) {
      if (typeof message.content === 'string') texts.add(message.content);
      for (const call of message.tool_calls ?? []) {
        texts.add(`{"name": "${call.function.name}", "arguments": ${call.function.arguments}}`);
      }
    }
  }
  return [...texts];
}

interface RecordedSession {
  messages: {
    content?: unknown;
    tool_calls?: { function: { name: string; arguments: string } }[] | null;
  }[];
}

function files(folder: string, pattern: RegExp): string[] {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => `/${path.replaceAll('\\', '/')}`)
    .filter((path) => pattern.test(path));
  const texts = new Set(paths.sort().map((path) => readFileSync(join(folder, path), 'utf8')));
  return [...texts];
}

const pre = must(preTokenizerOf('qwen2'), 'the pre-tokenizer the demo model names');
const [pieceEnd] = pre.steps;

/** Counts the pieces that are merged separately, written in the byte alphabet. */
function countWords(text: string, weight: number, counts: Map<string, number>): void {
  const codePoints = Uint32Array.from(text, (character) => must(character.codePointAt(0), 'one'));
  for (let start = 0, end = 0; start < codePoints.length; start = end) {
    end = pieceEnd(codePoints, start, codePoints.length);
    const bytes = Buffer.from(String.fromCodePoint(...codePoints.subarray(start, end)));
    const word = Array.from(bytes, (byte) => BYTE_CHARACTERS[byte]).join('');
    counts.set(word, (counts.get(word) ?? 0) + weight);
  }
}

/** Pairs of token ids as one number: ids stay below 2^14, counts below 2^25. */
const IDS = 2 ** 14;
const PAIRS = IDS * IDS;

/**
 * Merges `left right` in rank order until they name `tokenCount` new tokens, or nothing is left to
 * merge. `words` are in the byte alphabet with their counts. The most frequent pair goes first; among
 * equals the one whose left, then right token is older.
 */
export function learnMerges(words: ReadonlyMap<string, number>, tokenCount: number): string[] {
  return new Trainer(words).learn(tokenCount);
}

class Trainer {
  readonly #tokens = [...BYTE_CHARACTERS];
  readonly #ids = new Map(this.#tokens.map((token, id) => [token, id]));
  readonly #words: { ids: number[]; count: number }[] = [];
  readonly #counts = new Map<number, number>();
  /** Which words hold a pair, or once held it. */
  readonly #holders = new Map<number, Set<number>>();
  /** Pairs by count, with stale entries that a look at `#counts` gives away. */
  readonly #heap = new Heap<number>();

  constructor(words: ReadonlyMap<string, number>) {
    for (const [word, count] of words) {
      const ids = Array.from(word, (character) => must(this.#ids.get(character), 'a byte'));
      this.#words.push({ ids, count });
      this.#book(this.#words.length - 1, 1);
    }
    for (const pair of this.#counts.keys()) this.#offer(pair);
  }

  learn(tokenCount: number): string[] {
    const merges: string[] = [];
    const goal = this.#tokens.length + tokenCount;
    while (this.#tokens.length < goal) {
      const best = this.#heap.pop();
      if (best === undefined) break;
      const pair = best.value;
      const count = this.#counts.get(pair) ?? 0;
      if (best.key !== rank(pair, count)) continue;
      const left = this.#tokens[Math.floor(pair / IDS)];
      const right = this.#tokens[pair % IDS];
      if (left.length + right.length > TOKEN_BYTES_MAX) continue;
      merges.push(`${left} ${right}`);
      this.#merge(pair, this.#name(left + right));
    }
    return merges;
  }

  /** Two merges may spell one token; llama.cpp aborts on a vocabulary that lists it twice. */
  #name(token: string): number {
    const known = this.#ids.get(token);
    if (known !== undefined) return known;
    this.#ids.set(token, this.#tokens.length);
    return this.#tokens.push(token) - 1;
  }

  #merge(pair: number, merged: number): void {
    const holders = must(this.#holders.get(pair), 'a counted pair is held by words');
    const changed = new Set<number>();
    for (const index of holders) {
      const word = this.#words[index];
      const ids = mergePair(word.ids, pair, merged);
      if (ids.length === word.ids.length) continue;
      for (const old of this.#book(index, -1)) changed.add(old);
      word.ids = ids;
      for (const fresh of this.#book(index, 1)) changed.add(fresh);
    }
    this.#holders.delete(pair);
    for (const one of changed) this.#offer(one);
  }

  /** Adds a word's pairs to the counts, or with `sign` -1 takes them out; returns them. */
  #book(index: number, sign: 1 | -1): number[] {
    const { ids, count } = this.#words[index];
    const pairs: number[] = [];
    for (let i = 1; i < ids.length; i++) {
      const pair = ids[i - 1] * IDS + ids[i];
      pairs.push(pair);
      this.#counts.set(pair, (this.#counts.get(pair) ?? 0) + sign * count);
      if (sign === 1) this.#hold(pair, index);
    }
    return pairs;
  }

  #hold(pair: number, index: number): void {
    const holders = this.#holders.get(pair);
    if (holders === undefined) this.#holders.set(pair, new Set([index]));
    else holders.add(index);
  }

  #offer(pair: number): void {
    const count = this.#counts.get(pair) ?? 0;
    if (count > 0) this.#heap.push(rank(pair, count), pair);
  }
}

/** Less is better: higher counts first, then older tokens. */
function rank(pair: number, count: number): number {
  return pair - count * PAIRS;
}

/** Replaces the pair from left to right. */
function mergePair(ids: readonly number[], pair: number, merged: number): number[] {
  const result: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    if (i + 1 < ids.length && ids[i] * IDS + ids[i + 1] === pair) {
      result.push(merged);
      i++;
    } else {
      result.push(ids[i]);
    }
  }
  return result;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const traces = process.argv[2];
  if (traces === undefined) throw new Error('name the folder of recorded traces');
  main(traces);
}
