/**
 * Identity of KV blocks: a 64-bit hash chained over the blocks of a prompt.
 *
 *   root  = XXH3(fingerprint, LoRA and salt as compact JSON; seed 0)
 *   local = XXH3(ids as 32-bit words; seed 1337)
 *   block = XXH3(parent, local; seed 1337), where the first block's parent is the root
 *
 * XXH3 is Yann Collet's, with 64-bit results, over little-endian words. Local hashes are those of
 * NVIDIA Dynamo's KV router for requests without salt and LoRA; it seeds every local hash of the
 * others, we start their chains elsewhere, which says the same once for all blocks.
 *
 * It guards against accidents: who looks for two prompts with one hash will find them. Between
 * tenants the salt stands.
 */
import { assert } from '../base/assert.ts';
import type { BlockHash, BlockHashes } from '../model/block.ts';
import type { BlockHasher } from '../ports.ts';
import { chain, hashes, input, PIECE_TOKENS, state, xxh3 } from './block-hash-wasm.ts';

const ROOT_SEED = 0n;
const text = new TextEncoder();

export interface ChainIdentity {
  /** Of the model, so that nothing is shared between models. */
  fingerprint: string;
  /** Name of the adapter the model runs with; none where undefined or empty. */
  lora?: string;
  /** 1 to `PIECE_TOKENS`. */
  blockTokens: number;
}

export class ChainHasher implements BlockHasher {
  readonly blockTokens: number;
  readonly #fingerprint: string;
  readonly #lora: string;

  constructor({ fingerprint, lora = '', blockTokens }: ChainIdentity) {
    assert(
      Number.isInteger(blockTokens) && blockTokens >= 1 && blockTokens <= PIECE_TOKENS,
      `a block has 1 to ${PIECE_TOKENS} tokens`,
    );
    this.#fingerprint = fingerprint;
    this.#lora = lora;
    this.blockTokens = blockTokens;
  }

  root(salt: string, lora: string = this.#lora): BlockHash {
    const identity = {
      fingerprint: this.#fingerprint,
      lora_name: lora === '' ? undefined : lora,
      salt: salt === '' ? undefined : salt,
    };
    return xxh3(text.encode(JSON.stringify(identity)), ROOT_SEED);
  }

  block(parent: BlockHash, ids: Uint32Array, start: number): BlockHash {
    const { blockTokens } = this;
    state[0] = parent;
    // A loop: for so few ids a view to copy from would cost more than the copy.
    for (let i = 0; i < blockTokens; i++) input[i] = ids[start + i];
    chain(1, blockTokens);
    return state[0];
  }

  blocks(root: BlockHash, ids: Uint32Array, into?: BlockHashes): BlockHashes {
    const { blockTokens } = this;
    const blockCount = Math.floor(ids.length / blockTokens);
    const chained = into ?? new BigUint64Array(blockCount);
    assert(chained.length === blockCount, 'there is a place for each hash');
    const pieceBlocks = Math.floor(PIECE_TOKENS / blockTokens);
    state[0] = root;
    for (let done = 0; done < blockCount; done += pieceBlocks) {
      const count = Math.min(pieceBlocks, blockCount - done);
      input.set(ids.subarray(done * blockTokens, (done + count) * blockTokens));
      chain(count, blockTokens);
      chained.set(hashes.subarray(0, count), done);
    }
    return chained;
  }
}
