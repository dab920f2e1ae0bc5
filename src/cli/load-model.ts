/** A model file, read as far as serving needs it before its weights are loaded. */
import type { Tokens } from '../ports.ts';
import { ModelTokens } from '../tokens/model-tokens.ts';
import { fingerprintOf } from '../weights/fingerprint.ts';
import { readGguf } from '../weights/gguf-read.ts';
import { type ModelInfo, modelInfo } from '../weights/model-info.ts';
import { vocabularyOf } from '../weights/vocabulary.ts';

export interface LoadedModel {
  info: ModelInfo;
  fingerprint: string;
  tokens: Tokens;
  /** Why prompts cannot be rendered here; undefined where they can. */
  templateProblem: string | undefined;
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
  const now = () => new Date();
  const built = ModelTokens.build({ vocabulary, model: info.name, fingerprint, blockTokens, now });
  if (built.kind === 'unsupported') throw new Error(built.reason);
  const { tokens } = built;
  const turn = vocabulary.tokens.indexOf('<|im_start|>');
  return {
    info,
    fingerprint,
    tokens,
    templateProblem: built.kind === 'noTemplate' ? built.reason : undefined,
    turnToken: turn < 0 ? undefined : turn,
    words: () => wordsOf(vocabulary.tokens),
  };
}

/** `Ġ` is the space in the byte alphabet of such vocabularies. */
function wordsOf(tokens: readonly string[]): Uint32Array {
  const ids: number[] = [];
  tokens.forEach((token, id) => {
    if (/^Ġ[a-z]{3,}$/.test(token)) ids.push(id);
  });
  return Uint32Array.from(ids);
}
