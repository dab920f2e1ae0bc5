/**
 * KV blocks and what engines say about them.
 *
 * A block is `blockTokens` consecutive tokens of a prompt. Its identity is a *chained* 64-bit hash:
 * it covers the tokens of the block and, through the parent's hash, everything before them. The chain
 * starts at a root derived from (model fingerprint, LoRA, cache salt), so equal hashes mean equal KV.
 */
export type BlockHash = bigint;

/** Hashes of the full blocks of a prompt, in order; the partial tail has none. */
export type BlockHashes = BigUint64Array;

/** Where a block's KV lies, nearest first: in the engine's slots, in host memory, on disk. */
export type Tier = 'device' | 'host' | 'disk';

export const TIERS: readonly Tier[] = ['device', 'host', 'disk'];

/**
 * What an engine says about its cache, after our wire has read it. `hashes` and `parent` are the
 * engine's own and opaque; identity is recomputed from `tokens`.
 */
export type KvEvent =
  | {
      kind: 'stored';
      hashes: readonly BlockHash[];
      parent: BlockHash | undefined;
      /** Of all blocks of the event: `hashes.length * blockTokens` ids. */
      tokens: Uint32Array;
      blockTokens: number;
      tier: Tier;
      /** What the engine mixed into the identity besides tokens (a cache salt, an adapter). */
      extraKeys: readonly string[];
    }
  | { kind: 'removed'; hashes: readonly BlockHash[]; tier: Tier }
  | { kind: 'cleared' };
