/** What a model's own statement on pooling means for vectors made of its last token. */
import type { LocalEngineSettings } from './local.ts';

/** `enum llama_pooling_type` (llama.h); a model that is not made for vectors states none of them. */
const NAMES = ['none', 'mean', 'cls', 'last', 'rank'] as const;

export function embeddingsOf(
  pooling: number | undefined,
  engine: 'llama' | 'sim',
): LocalEngineSettings['embeddings'] {
  if (engine === 'sim') {
    const note =
      'Vectors of the simulated engine are a function of the token ids and mean nothing.';
    return { kind: 'made', note };
  }
  const name = pooling === undefined ? 'none' : (NAMES[pooling] ?? 'none');
  if (name === 'last') return { kind: 'made', note: undefined };
  if (name === 'none') {
    const note =
      'This model was not made for embeddings: a vector is what its last layer makes of the last token.';
    return { kind: 'made', note };
  }
  const why = `This model pools its vectors by ${name}, but the embedded engine takes the last token's; use a model that pools by last.`;
  return { kind: 'refused', why };
}
