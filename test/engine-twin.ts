/** The dumb twin of all reuse: an engine that keeps nothing, and block hashes that anybody can follow. */
import { SimulatedMemory, type SimulatedModel } from '../src/engines/runner-simulated.ts';
import type { BlockHash } from '../src/model/block.ts';

/** The answer to a prompt, each computed from nothing. */
export function recompute(
  model: SimulatedModel,
  prompt: Uint32Array,
  outputTokensMax: number,
): number[] {
  const memory = new SimulatedMemory(1, model);
  const answer: number[] = [];
  let tokens = prompt;
  let position = 0;
  while (answer.length < outputTokensMax) {
    const slice = { slot: 0, sequence: 1, tokens, position, sample: true };
    const [{ token }] = memory.execute({ moves: [], slices: [slice] });
    if (token === model.endToken) break;
    answer.push(token);
    position += tokens.length;
    tokens = Uint32Array.of(token);
  }
  return answer;
}

/** FNV-1a over ids, from the parent on. */
export function hasherOf(blockTokens: number) {
  return (parent: BlockHash, ids: Uint32Array, start: number): BlockHash => {
    let hash = parent;
    for (let i = start; i < start + blockTokens; i++) {
      hash = BigInt.asUintN(64, (hash ^ BigInt(ids[i])) * 0x100000001b3n);
    }
    return hash;
  };
}
