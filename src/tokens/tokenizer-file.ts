/** Loads the tokenizer that a model's folder holds: slowly the first time, from the cache after that. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Vocabulary } from '../model/vocabulary.ts';
import { type MergeRules, mergeRules } from './merge-rules.ts';
import { spellingOf } from './pre-tokenizer.ts';
import type { Kept, TokenizerCache } from './tokenizer-cache.ts';
import { readTokenizerJson, type TokenizerRead } from './tokenizer-json.ts';

export type TokenizerLoaded =
  | {
      kind: 'loaded';
      /** Its merges are empty: they have become the rules. */
      vocabulary: Vocabulary;
      rules: MergeRules;
      /** Of the files' content. */
      fingerprint: string;
    }
  /** `reason` completes "… cannot be tokenized here, because …". */
  | { kind: 'unsupported'; reason: string };

const FINGERPRINT_DIGITS = 16;

/**
 * `path`: a tokenizer.json; tokenizer_config.json and chat_template.jinja are taken from beside it.
 * Throws what reading the file throws.
 */
export function loadTokenizerFile(path: string, cache: TokenizerCache): TokenizerLoaded {
  const folder = dirname(path);
  const files = [
    readFileSync(path),
    optional(join(folder, 'tokenizer_config.json')),
    optional(join(folder, 'chat_template.jinja')),
  ] as const;
  const hash = createHash('sha256');
  for (const file of files) hash.update(`${file?.length ?? 'none'}\n`).update(file ?? '');
  const fingerprint = hash.digest('hex');
  let refused = '';
  const kept = cache.get<Vocabulary>(fingerprint, () => {
    const found = read(files);
    if (found.kind === 'read') return compiled(found.vocabulary);
    refused = found.reason;
    return undefined;
  });
  if (kept === undefined) return { kind: 'unsupported', reason: refused };
  const { header: vocabulary, rules } = kept;
  return {
    kind: 'loaded',
    vocabulary,
    rules,
    fingerprint: fingerprint.slice(0, FINGERPRINT_DIGITS),
  };
}

type Files = readonly [Buffer, Buffer | undefined, Buffer | undefined];

function read([tokenizer, config, template]: Files): TokenizerRead {
  try {
    return readTokenizerJson({
      tokenizer: JSON.parse(tokenizer.toString()),
      config: config && JSON.parse(config.toString()),
      template: template?.toString(),
    });
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown;
    return { kind: 'unsupported', reason: `its tokenizer is no JSON: ${thrown.message}` };
  }
}

function compiled(vocabulary: Vocabulary): Kept<Vocabulary> {
  const rules = mergeRules(vocabulary, spellingOf(vocabulary.preTokenizer));
  return { header: { ...vocabulary, merges: [] }, rules };
}

function optional(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined; // many models have none
  }
}
