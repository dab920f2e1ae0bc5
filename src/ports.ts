/**
 * Every interface to the outer world. The gateway, the engine and the simulator see nothing else of
 * it; `cli/build.ts` alone decides what fills them.
 */
import type { BlockHash, BlockHashes, KvEvent } from './model/block.ts';
import type { RequestId, TenantId, WorkerId } from './model/ids.ts';
import type { Fact, Forgone, Order } from './model/kernel-io.ts';
import type {
  KvAnswer,
  KvChain,
  KvExport,
  KvOutcome,
  KvOutlook,
  KvWish,
} from './model/kv-control.ts';
import type { Part, Usage } from './model/part.ts';
import type { Receipt } from './model/receipt.ts';
import type { AnswerFrame, AskedSampling, Chat, EngineExtras, Shape } from './model/request.ts';
import type { Identity } from './model/session.ts';
import type { FileNews, Handle, StepPlan, StepResult } from './model/step.ts';
import type { Ticket } from './model/ticket.ts';
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
  /** Of the model's own adapter, or of the one named. */
  root(salt: string, lora?: string): BlockHash;
  /** Hash of the block `ids[start, start + blockTokens)` that follows `parent`. */
  block(parent: BlockHash, ids: Uint32Array, start: number): BlockHash;
  /** Of all full blocks of `ids`; into an array of just so many, where one is given. */
  blocks(root: BlockHash, ids: Uint32Array, into?: BlockHashes): BlockHashes;
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
  sampling: AskedSampling;
  /** Undefined: until the model ends or the context is full. */
  outputTokensMax: number | undefined;
  stop: readonly string[];
  shape: Shape;
  /** For engines that have them; others do without. */
  extras?: EngineExtras | undefined;
  /** LoRA adapter of the model, by name; undefined: none. */
  adapter?: string | undefined;
  /** Mixed into block identity: nothing is shared across salts. */
  cacheSalt: string;
  /** Higher is more important. */
  priority: number;
  forcedOutput: string | Uint32Array | undefined;
  /** Whether parts carry `engineData`. */
  engineData: boolean;
  /** Whose next request begins like this one: KV control names it. Apart for each salt. */
  thread?: string | undefined;
  /** What its KV is good for afterwards, for engines that are told so with it; undefined: as any. */
  outlook?: KvOutlook | undefined;
  /** Brings the KV of the prompt from whoever computed it. */
  ticket?: Ticket | undefined;
  /** What the client has of the answer already, from a worker that was lost: it goes on behind that. */
  said?: Said | undefined;
}

/** The beginning of an answer. */
export interface Said {
  /** Its tokens; undefined where an engine did not name them all. */
  ids: Uint32Array | undefined;
  /** Empty where ids are all that is asked for. */
  text: string;
  /** UTF-16 units of it: of the last tokens' text some may have been held back; undefined: none was. */
  characters?: number | undefined;
  /** So many tokens, as far as they were told. */
  tokens: number;
  /** Whether it is text and nothing else: no reasoning, and no call that was told apart. */
  isPlain: boolean;
}

/**
 * One worker that generates. Failures are `GatewayError`s thrown before the first part, or an
 * `error` part after it; an aborted signal ends the iteration and frees what the engine holds.
 */
export interface Engine {
  readonly worker: WorkerId;
  generate(job: Job, signal: AbortSignal): AsyncIterable<Part>;
  /**
   * Whether `generate` goes on behind `job.said` as if it had said that itself: only what is new is told
   * and counted as output, and `outputTokensMax` is of that; 0: what a stop string held back. Undefined: never.
   */
  continues?(job: Job): boolean;
  /** A vector for the job's prompt; what the job says of its answer does not matter. */
  embed(job: Job, signal: AbortSignal): Promise<Embedding>;
  /** What it answers on its own route for reranking or scoring; undefined: it has none. */
  rank?(path: string, body: object, signal: AbortSignal): Promise<unknown>;
  /** Drops all cached KV that no running request uses. */
  resetCache(): Promise<void>;
  healthy(): Promise<boolean>;
  /** What it holds right now, for the page; undefined where the engine does not tell. */
  report(): Promise<EngineReport | undefined>;
  /** Its KV as others may direct it; undefined where it takes no such wishes. */
  readonly kv?: KvControl | undefined;
  /** Its own way to hand KV to its like (`Worker.handoff`); undefined: it has none. */
  readonly handoff?: Handoff | undefined;
  close(): void;
}

/** An engine's own way to compute a prompt that another engine answers. */
export interface Handoff {
  /** Computes the job's prompt and keeps its KV for whoever brings the ticket. */
  prefill(job: Job, signal: AbortSignal): Promise<Prefilled>;
}

/** The answer may be asked for now, by the ticket, though `done` is still to come. */
export interface Prefilled {
  ticket: Ticket;
  /** Of the prompt alone; what is not known yet is undefined. */
  usage: Usage;
  /** Resolves when the prompt is computed; rejects with a `GatewayError` where it never will be. */
  done: Promise<void>;
}

/**
 * What others who know more decide about an engine's KV. Answers say what became of a wish; a
 * `GatewayError` is thrown only where the engine cannot be asked.
 */
export interface KvControl {
  /** Kept in some tier for so long, in microseconds; again: from now on. */
  retain(chain: KvChain, ttlUs: number): Promise<KvOutcome>;
  /** Kept until it is released. */
  pin(chain: KvChain): Promise<KvOutcome>;
  /** Kept no longer, and what nobody shares of it leaves first. */
  release(chain: KvChain): Promise<KvOutcome>;
  /** Out of the slots, and for `disk` out of host memory as well. */
  demote(chain: KvChain, to: 'host' | 'disk'): Promise<KvOutcome>;
  /** From disk into host memory, and for `device` into a slot, while nobody needs it. */
  prefetch(chain: KvChain, to: 'device' | 'host'): Promise<KvOutcome>;
  /** Its KV as bytes that `import` of another takes; they are made as they are read. */
  export(chain: KvChain, signal: AbortSignal): Promise<KvExport>;
  /**
   * Takes KV of an engine of the same model and layout, as far as it is sound; `thread`: whose it
   * is. What is not read of `bytes` is not wanted.
   */
  import(
    bytes: AsyncIterable<Uint8Array>,
    thread: string | undefined,
    signal: AbortSignal,
  ): Promise<KvOutcome>;
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
  /** Whatever it has been asked is one of these, from the first moment on; undefined: some may be neither. */
  countsAll?: true;
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

/** Bytes of KV blocks in a runner's host store, by the handles its scheduler gave them. */
export interface BlockStore {
  /** Copies of blocks, one after the other. */
  read(handles: readonly Handle[]): Promise<Uint8Array>;
  /** `bytes` of as many blocks; they are the runner's from now on. */
  write(handles: readonly Handle[], bytes: Uint8Array): Promise<void>;
}

/** Where a worker's KV events are to be had: live ones, and those it is asked for again. */
export interface FeedAddress {
  endpoint: string;
  replay: string | undefined;
}

/** Brings batches of KV events as engines number them, from 0 on; what they say is read elsewhere. */
export interface KvFeed {
  subscribe(
    worker: FeedAddress & { id: WorkerId; blockTokens: number },
    on: FeedListener,
  ): FeedLink;
}

export interface FeedListener {
  /** A live batch; it may come twice, late or never. */
  batch(number: number, payload: Uint8Array): void;
  /** The connection broke and stands again: whoever is there may be another engine. */
  reconnected(): void;
  /** None will ever come; one sentence. */
  failed(sentence: string): void;
}

export interface FeedLink {
  /** Whether there is somebody to ask. */
  readonly replays: boolean;
  /** Whether what is published comes, once and in order, while the connection stands. */
  readonly isReliable: boolean;
  /** Batches from `from` on, or the state (wire/kv-event-log.ts); throws where the answer is not whole. */
  replay(from: number): AsyncIterable<{ number: number; payload: Uint8Array }>;
  close(): void;
}

/** Where a local engine tells its KV events. */
export interface KvEvents {
  publish(events: readonly KvEvent[]): void;
}

/** What is known here of a model: how its prompts become tokens, and whose file says so. */
export interface KnownTokens {
  tokens: Tokens;
  fingerprint: string;
}

/** An engine at an address, which somebody else runs: who is there, and how it is driven. */
export interface Upstream {
  /** Throws one sentence where nobody answers, or nobody who can be used. */
  introduce(): Promise<Introduction>;
  /** The way to whoever introduced itself last. */
  engine(worker: WorkerId): Engine;
  close(): void;
}

/** What an engine says of itself, as far as the configuration leaves it to say. */
export interface Introduction {
  /** Another one: it was started anew, and holds nothing of what it held. */
  run: string;
  worker: Omit<Worker, 'id' | 'rules'>;
  about: WorkerAbout;
  events: FeedAddress | undefined;
  /** LoRA adapters that it says it has. */
  adapters: readonly string[];
}

/** Which workers there are. Each change is told once; those present at `watch` are told first. */
export interface Directory {
  watch(on: (change: WorkerChange) => void): Cancel;
  /** Whom it was told of and cannot have now; undefined: it starts its workers itself. */
  missing?(): readonly MissingWorker[];
}

export interface MissingWorker {
  url: string;
  /** Undefined before it was ever met. */
  worker: WorkerId | undefined;
  /** Why, in half a sentence. */
  says: string;
}

export type WorkerChange =
  | {
      kind: 'up';
      worker: Worker;
      engine: Engine;
      events: FeedAddress | undefined;
      about: WorkerAbout;
    }
  /** It is to take nothing new for now, or may again. */
  | { kind: 'draining'; worker: WorkerId; draining: boolean }
  /** Like `down`, once what runs there has ended or gone elsewhere. */
  | { kind: 'leaving'; worker: WorkerId; reason: string }
  | { kind: 'down'; worker: WorkerId; reason: string };

/** Sets how many workers of a role run. */
export interface Scaler {
  set(count: number): Promise<void>;
}

/** Where facts about requests go: metrics, log, journal, receipts. */
export interface Sink {
  note(note: Note): void;
}

/** A request as it was understood, before anything was decided; for those who record. */
export interface Asked {
  /** The receipt's. */
  id: string;
  arrivedUs: number;
  wire: string;
  model: string;
  who: Identity;
  /** As the client sent it. */
  prompt: Job['prompt'];
  /** Of the full blocks of what is rendered; none where tokens are unknown. */
  hashes: BlockHashes;
  blockTokens: number;
  promptTokens: number;
}

export type Note =
  | { kind: 'asked'; asked: Asked }
  | { kind: 'kernel'; atUs: number; fact: Fact; orders: readonly Order[]; tookUs: number }
  | { kind: 'request'; receipt: Receipt; status: number; itlUs: number | undefined }
  /** KV of a prompt was brought to whoever answers it; 0 tokens: it was not. */
  | { kind: 'handedOver'; from: WorkerId; to: WorkerId; tokens: number; tookUs: number }
  /** How a prompt that was foreseen ended, and how much of it was computed. */
  | { kind: 'foreseen'; came: 'computed' | 'failed' | Forgone; blocks: number }
  /** What became of blocks that were computed ahead. */
  | { kind: 'prefetched'; blocks: number; usedBlocks: number }
  | { kind: 'feedLost'; worker: WorkerId; missing: number }
  | { kind: 'feedSynced'; worker: WorkerId }
  | { kind: 'workerUp'; worker: WorkerId }
  | { kind: 'workerDown'; worker: WorkerId; reason: string }
  /** It is up, and does or does not answer. */
  | { kind: 'workerHealth'; worker: WorkerId; healthy: boolean }
  /** What a worker answered to a wish about its KV; undefined: it could not be asked. */
  | { kind: 'kvAction'; wish: KvWish; worker: WorkerId; answer: KvAnswer | undefined }
  | { kind: 'warning'; sentence: string };
