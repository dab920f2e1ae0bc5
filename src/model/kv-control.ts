/** What others may ask of an engine's KV, and what it answers. Every wish is advice: the answer says what became of it. */
import type { BlockHashes } from './block.ts';

/** KV of one chain: of a thread's last request, or named block by block from the first on. */
export type KvChain =
  | { kind: 'thread'; thread: string; salt: string }
  | {
      kind: 'blocks';
      hashes: BlockHashes;
      /** To be moved: what comes behind so many, which whoever takes it has; undefined: 0. */
      skip?: number;
      /** To be moved: what of it is still being computed is waited for; undefined: it is left out. */
      follow?: boolean;
    };

export type KvWish = 'retain' | 'release' | 'demote' | 'prefetch';

export type KvAnswer =
  /** Done, of all of it. */
  | 'accepted'
  /** Done of its leading blocks only: `KvOutcome.blocks` of them. */
  | 'clipped'
  /** Begun, or to be asked again: nothing is free for it now. */
  | 'deferred'
  /** Not done, and asking again will not help. */
  | 'rejected'
  /** Nothing of the chain is known. */
  | 'missing';

export interface KvOutcome {
  answer: KvAnswer;
  /** Leading blocks of the chain of which it is so, and their tokens. */
  blocks: number;
  tokens: number;
  /** Why it is no more. */
  sentence: string | undefined;
}

/** What is kept is kept no longer than this without being asked again; a pin has no end. */
export const TTL_S_MAX = 24 * 60 * 60;

/** How long the KV of a request is of use after it. */
export type KvOutlook = { kind: 'retain'; us: number } | { kind: 'release' };

/** Of what a whole chain holds, or why nothing comes. */
export type KvExport =
  | { kind: 'stream'; bytes: AsyncIterable<Uint8Array> }
  | { kind: 'none'; outcome: KvOutcome };
