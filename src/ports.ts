/**
 * Every interface to the outer world. The gateway, the engine and the simulator see nothing else of
 * it; `cli/build.ts` alone decides what fills them.
 */
import type { BlockHash, BlockHashes, KvEvent } from './model/block.ts';
import type { RequestId, TenantId, WorkerId } from './model/ids.ts';
import type { Fact, Order } from './model/kernel-io.ts';
import type { Part, Usage } from './model/part.ts';
import type { Receipt } from './model/receipt.ts';
import type { AnswerFrame, Chat, Sampling, Shape } from './model/request.ts';
import type { FileNews, StepPlan, StepResult } from './model/step.ts';
import type { Worker, WorkerAbout } from './model/worker.ts';

export type Cancel = () => void;

/** Integer microseconds on a clock that never goes back. */
export interface Clock {
  nowUs(): number;
  /** Milliseconds since 1970, for what people read. */
  wallMs(): number;
  /** Runs `run` once, `us` from now; the returned function prevents it. */
  after(us: number, run: () => void): Cancel;
}

/**
 * Text ↔ tokens of one model. `render` writes a conversation as the model's chat template would;
 * `encode` makes ids of it; `count` only says how many.
 */
export interface Tokens {
  readonly vocabularySize: number;
  /** Texts that are cut out before anything else is looked at, by id: no other token crosses one. */
  readonly specials: ReadonlyMap<number, string>;
  /** No token stands for more UTF-16 units of text. */
  readonly charactersPerTokenMax: number;
  render(chat: Chat): string;
  /** Special tokens in `text` are recognised, as in a rendered prompt. */
  encode(text: string): Uint32Array;
  count(chat: Chat): number;
  decoder(): Decoder;
  readonly hasher: BlockHasher;
  /** Turns generated text into parts: reasoning, tool calls and text apart. */
  parser(chat: Chat): PartParser;
  /** What stands around the answer to a chat, for grammars. */
  frame(chat: Chat): AnswerFrame;
  /** What a token stands for, alone; of a special token its name. */
  bytesOf(id: number): Uint8Array;
  /** Ids that end an answer. */
  readonly endTokens: ReadonlySet<number>;
}

/** A prompt's ids, and the hashes of its full blocks. */
export interface EncodedPrompt {
  ids: Uint32Array;
  hashes: BlockHashes;
}

/** Encodes prompts that grow from turn to turn; long texts do not hold up the event loop. */
export interface PromptEncoder {
  /** The chain of hashes starts at `root`; nothing is shared across roots. */
  encode(text: string, of: { thread: string; root: BlockHash }): Promise<EncodedPrompt>;
}

/** Ids → text, holding back half a UTF-8 character until the rest of it comes. */
export interface Decoder {
  push(token: number): string;
  /** What was held back; U+FFFD where it never became a character. */
  flush(): string;
}

/** Chained block hashes. A chain starts at `root(salt)`; see model/block.ts. */
export interface BlockHasher {
  readonly blockTokens: number;
  root(salt: string): BlockHash;
  /** Hash of the block `ids[start, start + blockTokens)` that follows `parent`. */
  block(parent: BlockHash, ids: Uint32Array, start: number): BlockHash;
  /** Of all full blocks of `ids`. */
  blocks(root: BlockHash, ids: Uint32Array): BlockHashes;
}

/** Any cutting of the same text gives the same parts. Malformed calls become text. */
export interface PartParser {
  push(text: string, tokens: number): Part[];
  end(): Part[];
}

/** What an engine is asked to do. */
export interface Job {
  id: RequestId;
  tenant: TenantId;
  model: string;
  prompt:
    | { kind: 'tokens'; ids: Uint32Array }
    | { kind: 'text'; text: string }
    | { kind: 'chat'; chat: Chat };
  sampling: Sampling;
  /** Undefined: until the model ends or the context is full. */
  outputTokensMax: number | undefined;
  stop: readonly string[];
  shape: Shape;
  /** Mixed into block identity: nothing is shared across salts. */
  cacheSalt: string;
  /** Higher is more important. */
  priority: number;
  forcedOutput: string | Uint32Array | undefined;
  /** Whether parts carry `engineData`. */
  engineData: boolean;
}

/**
 * One worker that generates. Failures are `GatewayError`s thrown before the first part, or an
 * `error` part after it; an aborted signal ends the iteration and frees what the engine holds.
 */
export interface Engine {
  readonly worker: WorkerId;
  generate(job: Job, signal: AbortSignal): AsyncIterable<Part>;
  /** A vector for the job's prompt; what the job says of its answer does not matter. */
  embed(job: Job, signal: AbortSignal): Promise<Embedding>;
  /** Drops all cached KV that no running request uses. */
  resetCache(): Promise<void>;
  healthy(): Promise<boolean>;
  /** What it holds right now, for the page; undefined where the engine does not tell. */
  report(): Promise<EngineReport | undefined>;
  close(): void;
}

export interface Embedding {
  /** Of length 1. */
  vector: Float32Array;
  usage: Usage;
  /** How it was made, and what to think of it; one sentence. */
  note: string | undefined;
}

export interface EngineReport {
  running: number;
  waiting: number;
  slots: { busy: boolean; tokens: number }[];
  /** Distinct blocks kept, over all tiers, and those of them in the host store and in files. */
  cachedBlocks: number;
  hostBlocks: number;
  diskBlocks: number;
  diskBytes: number;
  stepsTotal: number;
  engineUsTotal: number;
  promptTokensTotal: number;
  cachedTokensTotal: number;
  outputTokensTotal: number;
}

/**
 * Executes steps: llama.cpp in its thread, or only time. One step at a time; `done` is called once,
 * later, with the result or with what went wrong for good.
 */
export interface Runner {
  step(plan: StepPlan, done: (outcome: StepResult | Error) => void): void;
  /** Who is told what became of files, whenever that is; one listener. */
  listen(on: (news: readonly FileNews[]) => void): void;
  close(): Promise<void>;
}

/** One worker's KV events, in order; `lost` says that some are missing for good. */
export interface KvFeed {
  subscribe(
    worker: { id: WorkerId; endpoint: string; replay: string | undefined },
    on: FeedListener,
  ): Cancel;
}

export interface FeedListener {
  events(events: readonly KvEvent[]): void;
  lost(missing: number): void;
}

/** Where a local engine tells its KV events. */
export interface KvEvents {
  publish(events: readonly KvEvent[]): void;
}

/** Which workers there are. Each change is told once; those present at `watch` are told first. */
export interface Directory {
  watch(on: (change: WorkerChange) => void): Cancel;
}

export type WorkerChange =
  | {
      kind: 'up';
      worker: Worker;
      engine: Engine;
      events: { endpoint: string; replay: string | undefined } | undefined;
      about: WorkerAbout;
    }
  | { kind: 'down'; worker: WorkerId; reason: string };

/** Sets how many workers of a role run. */
export interface Scaler {
  set(count: number): Promise<void>;
}

/** Where facts about requests go: metrics, log, journal, receipts. */
export interface Sink {
  note(note: Note): void;
}

export type Note =
  | { kind: 'kernel'; atUs: number; fact: Fact; orders: readonly Order[]; tookUs: number }
  | { kind: 'request'; receipt: Receipt; status: number; itlUs: number | undefined }
  | { kind: 'kvEvent'; worker: WorkerId; event: KvEvent['kind'] }
  | { kind: 'feedLost'; worker: WorkerId; missing: number }
  | { kind: 'workerUp'; worker: WorkerId }
  | { kind: 'workerDown'; worker: WorkerId; reason: string }
  | { kind: 'warning'; sentence: string };
