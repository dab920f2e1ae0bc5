/** How a model of the toy vocabulary reads and writes: what most tests mean by a model's tokens. */
import assert from 'node:assert/strict';
import type { Vocabulary } from '../model/vocabulary.ts';
import { ModelTokens } from './model-tokens.ts';
import { toyVocabulary } from './toy-vocabulary.test.ts';

/** `changes`: of the vocabulary; its time stands still. */
export function toyTokens({
  blockTokens = 16,
  ...changes
}: Partial<Vocabulary> & { blockTokens?: number } = {}): ModelTokens {
  const built = ModelTokens.build({
    vocabulary: toyVocabulary(changes),
    ...{ model: 'toy', fingerprint: 'toy', blockTokens, now: () => new Date(0) },
  });
  assert.ok(built.kind === 'exact');
  return built.tokens;
}
