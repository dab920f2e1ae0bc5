/**
 * KV control of an engine in this process: wishes go to the cache's lifetimes, and KV goes out and
 * comes in by windows of a few blocks, so that neither side holds more of it than that.
 *
 *   export   brought to the host store and held there ─► read, window by window ─► bytes
 *   import   bytes ─► checked ─► a place in the host store ─► written ─► known, and told as KV events
 *
 * The cache decides between steps, and the runner carries out its moves with the next one: bytes are
 * read or written only after the moves that were decided before.
 */
import type { TieredCache } from '../kernel/cache/tiers.ts';
import type { BlockHash } from '../model/block.ts';
import type { GatewayError } from '../model/error.ts';
import type { KvChain, KvExport, KvOutcome } from '../model/kv-control.ts';
import type { Handle } from '../model/step.ts';
import type { BlockHasher, BlockStore, Clock, KvControl } from '../ports.ts';
import { threadKey } from './job-spec.ts';
import { BUSY, KvExporter, outcomeOf } from './kv-export.ts';
import { type KvHead, KvStreamReader } from './kv-stream.ts';
import type { FileLayout } from './llama/block-file.ts';

export interface KvMeans {
  clock: Clock;
  blocks: BlockStore;
  /** What must be equal in two engines for the KV of one to be used by the other. */
  layout: FileLayout;
}

/** What it needs of the engine around it. */
export interface KvEngine {
  cache: TieredCache;
  hasher: BlockHasher;
  /** Whether the block, at that place in its chain, is still to come with a prompt. */
  isToCome(hash: BlockHash, index: number): boolean;
  /** Whether no request waits for a slot. */
  hasRoom(): boolean;
  /** The cache has decided something. */
  changed(): void;
  /** Resolves when what it has decided so far was carried out. */
  carriedOut(): Promise<void>;
}

/** A window is so many bytes of KV, and so many blocks, at most. */
const WINDOW_BYTES = 2 * 1024 * 1024;
const WINDOW_BLOCKS = 512;
/** Exports and imports at once; each holds blocks and two windows. */
const TRANSFERS_MAX = 4;

export class LocalKv implements KvControl {
  readonly #means: KvMeans;
  readonly #engine: KvEngine;
  readonly #windowBlocks: number;
  readonly #exporter: KvExporter;
  #transferCount = 0;
  #importCount = 0;

  constructor(means: KvMeans, engine: KvEngine) {
    this.#means = means;
    this.#engine = engine;
    const fitting = Math.floor(WINDOW_BYTES / means.layout.blockBytes);
    this.#windowBlocks = Math.max(1, Math.min(WINDOW_BLOCKS, fitting));
    this.#exporter = new KvExporter({
      ...{ engine, layout: means.layout, blocks: means.blocks, windowBlocks: this.#windowBlocks },
      wish: (chain) => this.#wish(chain),
      begin: () => this.#begin(),
    });
  }

  async retain(chain: KvChain, ttlUs: number): Promise<KvOutcome> {
    const untilUs = this.#means.clock.nowUs() + ttlUs;
    return await this.#carryOut(() => this.#lifetimes.retain(this.#wish(chain), untilUs));
  }

  async pin(chain: KvChain): Promise<KvOutcome> {
    return await this.#carryOut(() => this.#lifetimes.retain(this.#wish(chain), undefined));
  }

  async release(chain: KvChain): Promise<KvOutcome> {
    return await this.#carryOut(() => this.#lifetimes.release(this.#wish(chain)));
  }

  async demote(chain: KvChain, to: 'host' | 'disk'): Promise<KvOutcome> {
    const toDisk = to === 'disk';
    return await this.#carryOut(() => this.#lifetimes.demote(this.#wish(chain), { toDisk }));
  }

  async prefetch(chain: KvChain, to: 'device' | 'host'): Promise<KvOutcome> {
    const given = { toSlot: to === 'device', hasRoom: this.#engine.hasRoom() };
    return await this.#carryOut(() => this.#lifetimes.prefetch(this.#wish(chain), given));
  }

  async export(chain: KvChain, signal: AbortSignal): Promise<KvExport> {
    return await this.#exporter.export(chain, signal);
  }

  async import(
    bytes: AsyncIterable<Uint8Array>,
    thread: string | undefined,
    signal: AbortSignal,
  ): Promise<KvOutcome> {
    const end = this.#begin();
    if (end === undefined) return outcomeOf('deferred', 0, 0, BUSY);
    const reader = new KvStreamReader(this.#means.layout, bytes);
    const { cache, hasher } = this.#engine;
    const id = `in ${this.#importCount++}`;
    try {
      const head = await reader.head();
      if (typeof head === 'string') return outcomeOf('rejected', 0, 0, head);
      if (head.root !== hasher.root(head.salt)) {
        return outcomeOf('rejected', 0, 0, 'This engine names blocks in another way.');
      }
      if (!cache.exchange.begin(id, comesBefore(head))) {
        return outcomeOf('missing', 0, 0, 'What comes before it is not here.');
      }
      let why: string | undefined;
      let held = 0;
      try {
        why = await this.#take(id, head, reader, signal);
      } finally {
        const key = thread === undefined ? undefined : threadKey(thread, head.salt);
        held = cache.exchange.end(id, key);
        this.#engine.changed();
      }
      return this.#imported(held, head, why);
    } finally {
      end();
    }
  }

  /** Ends what is kept no longer. */
  lapse(): void {
    this.#lifetimes.lapse(this.#means.clock.nowUs());
  }

  /** Something became of files: who waits for them may go on. */
  filesRead(): void {
    this.#exporter.filesRead();
  }

  /** A step has computed something. */
  computed(): void {
    this.#exporter.computed();
  }

  /** The engine is lost. */
  fail(error: GatewayError): void {
    this.#exporter.fail(error);
  }

  get #lifetimes() {
    return this.#engine.cache.lifetimes;
  }

  #wish(chain: KvChain) {
    if (chain.kind === 'blocks') return this.#lifetimes.ofBlocks(chain.hashes);
    return this.#lifetimes.ofThread(threadKey(chain.thread, chain.salt));
  }

  /** What is answered is so by then. */
  async #carryOut(decide: () => KvOutcome): Promise<KvOutcome> {
    this.lapse();
    const outcome = decide();
    this.#engine.changed();
    await this.#engine.carriedOut();
    return outcome;
  }

  /** One more transfer is under way, until what is returned is called; undefined: as many as may be are. */
  #begin(): (() => void) | undefined {
    if (this.#transferCount >= TRANSFERS_MAX) return undefined;
    this.#transferCount++;
    let isOpen = true;
    return () => {
      if (isOpen) this.#transferCount--;
      isOpen = false;
    };
  }

  /** Returns why it took no more, if it did not. */
  async #take(
    id: string,
    { salt, blockCount, after }: KvHead,
    reader: KvStreamReader,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { cache, hasher } = this.#engine;
    let parent = after;
    for (let left = blockCount; left > 0; ) {
      const window = await reader.window(Math.min(left, this.#windowBlocks));
      if (signal.aborted) return 'The client left.';
      let why = window.broken === undefined ? undefined : BROKEN[window.broken];
      const places: { handle: Handle; index: number }[] = [];
      for (const [index, { hash, tokens }] of window.blocks.entries()) {
        if (hasher.block(parent, tokens, 0) !== hash) {
          why = BROKEN.damaged;
          break;
        }
        const added = cache.exchange.add(id, { hash, tokens, salt });
        if (added.kind === 'refused') {
          why = NO_ROOM;
          break;
        }
        if (added.kind === 'place') places.push({ handle: added.handle, index });
        parent = hash;
      }
      if (places.length > 0) await this.#write(id, places, window.bytes);
      if (why !== undefined) return why;
      left -= window.blocks.length;
    }
    return undefined;
  }

  async #write(
    id: string,
    places: readonly { handle: Handle; index: number }[],
    bytes: Uint8Array,
  ): Promise<void> {
    const { blockBytes } = this.#means.layout;
    let wanted = bytes;
    if (places.length * blockBytes < bytes.length) {
      wanted = new Uint8Array(places.length * blockBytes);
      places.forEach(({ index }, i) => {
        const block = bytes.subarray(index * blockBytes, (index + 1) * blockBytes);
        wanted.set(block, i * blockBytes);
      });
    }
    try {
      // A place may have been another block's until now, and moves to or from it be on their way.
      this.#engine.changed();
      await this.#engine.carriedOut();
      await this.#means.blocks.write(
        places.map(({ handle }) => handle),
        wanted,
      );
    } finally {
      this.#engine.cache.exchange.arrived(id);
      this.#engine.changed();
    }
  }

  #imported(
    held: number,
    { blockCount, chainBlocks, skippedBlocks }: KvHead,
    why: string | undefined,
  ): KvOutcome {
    const { blockTokens } = this.#means.layout;
    if (held === 0 && why === undefined) why = 'What came before is gone.';
    if (why === undefined && skippedBlocks + blockCount < chainBlocks)
      why = 'The other engine gave no more.';
    let answer: KvOutcome['answer'] = why === undefined ? 'accepted' : 'clipped';
    if (held === 0 && why === NO_ROOM) answer = 'rejected';
    return outcomeOf(answer, held, blockTokens, why);
  }
}

/** The block whose KV the importer must have; undefined where the chain begins. */
function comesBefore({ skippedBlocks, after, salt }: KvHead) {
  return skippedBlocks === 0 ? undefined : { hash: after, blocks: skippedBlocks, salt };
}

const NO_ROOM = 'There is no room for more.';
const BROKEN = {
  torn: 'The stream broke off.',
  damaged: 'A block is not as it was sent.',
};
