/**
 * What is slow to work out from a tokenizer's file, kept on disk under the hash of what it was worked
 * out from.
 *
 *   file = sha256 of all that follows (32 bytes) | JSON length (4) | JSON | numbers, 4 bytes each
 *
 * A file that is torn, foreign or of another version is a miss, and is written anew.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Vocabulary } from '../model/vocabulary.ts';
import { type MergeRules, mergeRules } from './merge-rules.ts';
import { spellingOf } from './pre-tokenizer.ts';

/** Changes with the layout and with the meaning of what is kept: other versions are not found. */
const VERSION = 1;
const DIGEST_BYTES = 32;
const LENGTH_BYTES = 4;
const OWNER_ONLY = 0o600;
const OWNER_ONLY_FOLDER = 0o700;

export interface Kept<Header> {
  header: Header;
  rules: MergeRules;
}

export class TokenizerCache {
  readonly #folder: string;

  /** `folder` is made when the first file is written. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** What was kept of this source, else what `make` gives, which is kept if it gives something. */
  get<Header>(source: string, make: () => Kept<Header> | undefined): Kept<Header> | undefined {
    const path = join(this.#folder, `${digestOf(source).toString('hex')}-${VERSION}.tokens`);
    const known = read<Header>(path);
    if (known !== undefined) return known;
    const made = make();
    if (made !== undefined) this.#write(path, packed(made));
    return made;
  }

  /** The merge rules of a vocabulary. */
  rules(vocabulary: Vocabulary): MergeRules {
    const { preTokenizer, tokens, kinds, merges } = vocabulary;
    const scores = merges instanceof Float32Array ? [...merges] : merges;
    const source = JSON.stringify([preTokenizer, tokens, kinds, scores]);
    const make = () => ({ header: null, rules: mergeRules(vocabulary, spellingOf(preTokenizer)) });
    return (this.get<null>(source, make) ?? make()).rules;
  }

  /** All or nothing: a reader sees no half of it. Where it cannot be written, the next load is slow. */
  #write(path: string, bytes: readonly Uint8Array[]): void {
    const unfinished = `${path}.${randomBytes(6).toString('hex')}`;
    try {
      mkdirSync(this.#folder, { recursive: true, mode: OWNER_ONLY_FOLDER });
    } catch {
      return;
    }
    try {
      writeFileSync(unfinished, Buffer.concat(bytes), { mode: OWNER_ONLY });
      renameSync(unfinished, path);
    } catch {
      rmSync(unfinished, { force: true });
    }
  }
}

function packed({ header, rules }: Kept<unknown>): Uint8Array[] {
  const { extra } = rules;
  const arrays = [rules.triples, rules.ranks, rules.unmerged];
  const lengths = arrays.map((it) => it.length);
  const json = Buffer.from(JSON.stringify({ header, extra, lengths }));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(json.length);
  const rest = [length, json, ...arrays.map((it) => new Uint8Array(it.slice().buffer))];
  return [digestOf(...rest), ...rest];
}

function read<Header>(path: string): Kept<Header> | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return undefined; // not written yet, or not ours to read
  }
  if (bytes.length < DIGEST_BYTES + LENGTH_BYTES) return undefined;
  if (!digestOf(bytes.subarray(DIGEST_BYTES)).equals(bytes.subarray(0, DIGEST_BYTES))) {
    return undefined;
  }
  let at = DIGEST_BYTES + LENGTH_BYTES;
  const end = at + bytes.readUInt32LE(DIGEST_BYTES);
  const { header, extra, lengths } = JSON.parse(bytes.toString('utf8', at, end)) as {
    header: Header;
    extra: string[];
    lengths: number[];
  };
  if (!Array.isArray(lengths)) return undefined;
  at = end;
  const [triples, ranks, unmerged] = lengths.map((length) => {
    const from = at;
    at += length * 4;
    return new Uint32Array(Uint8Array.from(bytes.subarray(from, at)).buffer); // aligned by copying
  });
  return { header, rules: { triples, ranks, extra, unmerged } };
}

function digestOf(...parts: readonly (Uint8Array | string)[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}
