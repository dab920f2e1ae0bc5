/** A model file, read as far as serving needs it before its weights are loaded. */
import { statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { KnownModel } from '../gateway/models.ts';
import type { Config } from '../model/config.ts';
import type { Tokens } from '../ports.ts';
import { ModelTokens, type ModelTokensBuilt } from '../tokens/model-tokens.ts';
import { IncrementalEncoder } from '../tokens/prompt-encoder.ts';
import { TokenizerCache } from '../tokens/tokenizer-cache.ts';
import { loadTokenizerFile } from '../tokens/tokenizer-file.ts';
import { fingerprintOf } from '../weights/fingerprint.ts';
import { readGguf } from '../weights/gguf-read.ts';
import { type ModelInfo, modelInfo } from '../weights/model-info.ts';
import { vocabularyOf } from '../weights/vocabulary.ts';
import { cacheHere } from './model-choice.ts';
import { TokenizerThread } from './tokenizer.ts';

/** Text ↔ tokens of a model, and whose they are. */
export interface LoadedTokens {
  fingerprint: string;
  tokens: Tokens;
  /** Why prompts cannot be rendered here; undefined where they can. */
  templateProblem: string | undefined;
}

export interface LoadedModel extends LoadedTokens {
  info: ModelInfo;
  /** Begins each turn, in models that mark turns. */
  turnToken: number | undefined;
  /** Ids whose text is a plain word. */
  words(): Uint32Array;
}

/** Throws one sentence where the file cannot be served. */
export function loadModel(path: string, blockTokens: number): LoadedModel {
  const gguf = readGguf(path);
  const info = modelInfo(gguf);
  const fingerprint = fingerprintOf(gguf);
  const vocabulary = vocabularyOf(gguf);
  const built = ModelTokens.build({
    vocabulary,
    rules: tokenizerCache().rules(vocabulary),
    model: info.name,
    fingerprint,
    blockTokens,
    now: () => new Date(),
  });
  const turn = vocabulary.tokens.indexOf('<|im_start|>');
  return {
    info,
    fingerprint,
    ...usable(built),
    turnToken: turn < 0 ? undefined : turn,
    words: () => wordsOf(vocabulary.tokens),
  };
}

/**
 * `path`: a GGUF, or a folder as Hugging Face has models, of which only the tokenizer and its template
 * are read (or that folder's tokenizer.json). Throws one sentence where it cannot be used.
 */
export function loadTokens(path: string, blockTokens: number): LoadedTokens {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  const file = isFolder ? join(path, TOKENIZER_FILE) : path;
  if (basename(file) !== TOKENIZER_FILE) return loadModel(path, blockTokens);
  const loaded = loadTokenizerFile(file, tokenizerCache());
  const model = basename(dirname(file));
  if (loaded.kind === 'unsupported') {
    throw new Error(`The text of ${model} cannot be tokenized here, because ${loaded.reason}.`);
  }
  const { vocabulary, rules, fingerprint } = loaded;
  const now = () => new Date();
  const built = ModelTokens.build({ vocabulary, rules, model, fingerprint, blockTokens, now });
  return { fingerprint, ...usable(built) };
}

const TOKENIZER_FILE = 'tokenizer.json';

function usable(built: ModelTokensBuilt): Pick<LoadedTokens, 'tokens' | 'templateProblem'> {
  if (built.kind === 'unsupported') throw new Error(built.reason);
  const templateProblem = built.kind === 'noTemplate' ? built.reason : undefined;
  return { tokens: built.tokens, templateProblem };
}

/** What a gateway knows of a model: its tokenizer, and prompts remembered from turn to turn. */
export function knownModel(
  path: string,
  given: { blockTokens: number; limits: Config['limits'] },
): LoadedTokens & KnownModel {
  const { blockTokens, limits } = given;
  const model = loadTokens(path, blockTokens);
  const thread = new TokenizerThread(path, blockTokens);
  const prompts = new IncrementalEncoder({
    tokens: model.tokens,
    elsewhere: (text) => thread.encode(text),
    settings: { bytesMax: limits.promptMemoryBytes, hereMax: limits.encodeHereMax },
  });
  // The first hashing compiles its module: better now than in somebody's request.
  const { hasher } = model.tokens;
  hasher.blocks(hasher.root(''), new Uint32Array(hasher.blockTokens));
  return { ...model, prompts };
}

/** Where tokenizers are kept once their files have been worked through. */
export function tokenizerCache(): TokenizerCache {
  return new TokenizerCache(join(cacheHere(), 'tokenizers'));
}

/** `Ġ` is the space in the byte alphabet, `▁` where tokens are written as text. */
function wordsOf(tokens: readonly string[]): Uint32Array {
  const ids: number[] = [];
  tokens.forEach((token, id) => {
    if (/^[Ġ▁][a-z]{3,}$/.test(token)) ids.push(id);
  });
  return Uint32Array.from(ids);
}
