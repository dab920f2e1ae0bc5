/**
 * One step of an engine, as its scheduler orders it and its runner executes it. The scheduler
 * (kernel/cache) decides and never touches memory; the runner executes and never decides.
 *
 *   plan = moves (in order, before computing)  +  slices (one per sequence, ascending slots)
 */
import type { BlockHash, BlockHashes } from './block.ts';
import type { Sampling } from './request.ts';

/** Numbers a sequence within one engine; never reused. */
export type SequenceId = number;

/** Names a block in the runner's host store; the scheduler hands them out. */
export type Handle = number;

/** Names a file of the disk tier; the scheduler hands them out, and none twice in one folder. */
export type FileId = number;

/** What a file holds: consecutive blocks of one chain. */
export interface FileContent {
  /** Of the block before the first; undefined where the chain begins here. */
  parent: BlockHash | undefined;
  hashes: BlockHashes;
  /** `hashes.length * blockTokens` ids. */
  tokens: Uint32Array;
  salt: string;
}

/** A file that an earlier run left, found at start. */
export interface FoundFile {
  file: FileId;
  content: FileContent;
}

/** Where blocks lie that are to be saved. */
export type SaveSource =
  | { kind: 'host'; handles: Handle[] }
  | { kind: 'slot'; slot: number; indexes: number[] };

export interface StepPlan {
  moves: Move[];
  slices: Slice[];
}

export type Move =
  /** A sequence begins: its sampler is set up. */
  | { kind: 'open'; sequence: SequenceId; sampling: Sampling; wants: Wants }
  /** It ended: its sampler goes. */
  | { kind: 'close'; sequence: SequenceId }
  /** Keep the first `tokens` of the slot, drop the rest. */
  | { kind: 'cut'; slot: number; tokens: number }
  /** Copy blocks of the slot to the host store: the block at `index` goes to `handles[i]`. */
  | { kind: 'copyOut'; slot: number; indexes: number[]; handles: Handle[] }
  /** The slot's content becomes exactly these blocks, in order. */
  | { kind: 'copyIn'; slot: number; handles: Handle[] }
  /** Write blocks to a file. They are copied at once and written meanwhile; news tell the end. */
  | { kind: 'save'; file: FileId; content: FileContent; source: SaveSource }
  /** Read blocks of a file into the host store. Until news come, the handles are the runner's. */
  | { kind: 'load'; file: FileId; indexes: number[]; handles: Handle[] }
  /** Delete a file. */
  | { kind: 'drop'; file: FileId };

/** What a sequence's samples must be, and come with. */
export interface Wants {
  /** A digest of the logits row. */
  digests: boolean;
  /** So many of the most likely tokens beside each; undefined: no log probabilities. */
  logprobs: number | undefined;
  /** GBNF that the whole answer follows; only then `endTokens` matter, which alone may end it. */
  grammar: string | undefined;
  endTokens: ReadonlySet<number>;
  /** Never sampled. */
  banned: readonly number[];
  /** The prompt's last ids, for penalties that look back so far; empty where there are none. */
  recent: Uint32Array;
  /** The answer's first ids, sampled elsewhere: grammar and draws go on behind them. */
  said: Uint32Array;
  /** No token, but the vector of the last one: see `Sample.vector`. */
  embedding: boolean;
}

/** How many tokens penalties look back, as in llama.cpp's own server. */
export const PENALTY_TOKENS = 64;

/** A token, as the sampling parameters have it. */
export const A_TOKEN: Wants = {
  digests: false,
  logprobs: undefined,
  grammar: undefined,
  endTokens: new Set(),
  banned: [],
  recent: new Uint32Array(0),
  said: new Uint32Array(0),
  embedding: false,
};

/** What became of files, told whenever it happens: between steps too. */
export type FileNews =
  | { kind: 'saved'; file: FileId }
  | { kind: 'loaded'; file: FileId; elapsedUs: number }
  /** Could not be written, or is not what was written: it is gone. */
  | { kind: 'lost'; file: FileId }
  /** No file can be written or read from now on. One sentence says why. */
  | { kind: 'off'; reason: string };

export interface Slice {
  slot: number;
  sequence: SequenceId;
  /** Token ids to compute now. */
  tokens: Uint32Array;
  /** Of the first of them in its sequence: the slot holds exactly so many tokens before. */
  position: number;
  /** Whether the last token's logits are wanted, and a token sampled from them. */
  sample: boolean;
}

export interface StepResult {
  /** One for each slice that sampled, in slice order. */
  samples: Sample[];
  /** Time the engine itself took. */
  elapsedUs: number;
}

export interface Sample {
  sequence: SequenceId;
  token: number;
  /** A digest of the logits row, where asked for: equal digests mean bit-equal logits. */
  logitsDigest?: string;
  /** Of the token, and of the most likely ones; where asked for. */
  logprobs?: SampleLogprobs;
  /** What the model makes of the text up to here, of length 1; where it was asked for. */
  vector?: Float32Array;
  /** No token may follow, or the grammar is none: the sequence ends. One sentence says why. */
  refused?: string;
}

export interface SampleLogprobs {
  logprob: number;
  top: readonly { token: number; logprob: number }[];
}
