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
import { GatewayError } from '../model/error.ts';
import type { KvChain, KvExport, KvOutcome } from '../model/kv-control.ts';
import type { Handle } from '../model/step.ts';
import type { BlockHasher, BlockStore, Clock, KvControl } from '../ports.ts';
import { threadKey } from './job-spec.ts';
import {
  encodeBlocks,
  encodeHead,
  type KvBlock,
  type KvHead,
  KvStreamReader,
} from './kv-stream.ts';
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
  #transferCount = 0;
  #transferId = 0;
  /** Who waits for files to be read. */
  #waiting: { resolve: () => void; reject: (error: GatewayError) => void }[] = [];

  constructor(means: KvMeans, engine: KvEngine) {
    this.#means = means;
    this.#engine = engine;
    const fitting = Math.floor(WINDOW_BYTES / means.layout.blockBytes);
    this.#windowBlocks = Math.max(1, Math.min(WINDOW_BLOCKS, fitting));
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
    const { chain: known } = this.#wish(chain);
    const [first] = known;
    if (first === undefined) return none('missing', 'Nothing of it is known here.');
    if (this.#transferCount >= TRANSFERS_MAX) return none('deferred', BUSY);
    const { cache, hasher } = this.#engine;
    const { salt } = first;
    const hashes = BigUint64Array.from(known, ({ hash }) => hash);
    const id = this.#begin('out');
    let blocks: (KvBlock & { handle: Handle })[];
    try {
      blocks = await this.#open(id, hashes, signal);
    } catch (error) {
      this.#transferCount--;
      throw error;
    }
    let isOpen = true;
    const close = () => {
      if (!isOpen) return;
      isOpen = false;
      this.#transferCount--;
      signal.removeEventListener('abort', close);
      cache.exchange.close(id);
      this.#engine.changed();
    };
    const counts = { blockCount: blocks.length, chainBlocks: hashes.length };
    const head = encodeHead(this.#means.layout, { root: hasher.root(salt), salt, ...counts });
    if (head === undefined || blocks.length === 0) {
      close();
      return none('rejected', head === undefined ? 'Its salt is too long.' : 'There is no room.');
    }
    signal.addEventListener('abort', close, { once: true });
    return { kind: 'stream', bytes: this.#bytes(head, blocks, close) };
  }

  async import(
    bytes: AsyncIterable<Uint8Array>,
    thread: string | undefined,
    signal: AbortSignal,
  ): Promise<KvOutcome> {
    if (this.#transferCount >= TRANSFERS_MAX) return outcomeOf('deferred', 0, 0, BUSY);
    const reader = new KvStreamReader(this.#means.layout, bytes);
    const { cache, hasher } = this.#engine;
    const id = this.#begin('in');
    try {
      const head = await reader.head();
      if (typeof head === 'string') return outcomeOf('rejected', 0, 0, head);
      if (head.root !== hasher.root(head.salt)) {
        return outcomeOf('rejected', 0, 0, 'This engine names blocks in another way.');
      }
      cache.exchange.begin(id);
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
      this.#transferCount--;
    }
  }

  /** Ends what is kept no longer. */
  lapse(): void {
    this.#lifetimes.lapse(this.#means.clock.nowUs());
  }

  /** Something became of files: who waits for them may go on. */
  filesRead(): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  /** The engine is lost. */
  fail(error: GatewayError): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
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

  #begin(kind: 'in' | 'out'): string {
    this.#transferCount++;
    return `${kind} ${this.#transferId++}`;
  }

  /** Blocks that lie in the host store until `close`. */
  async #open(
    id: string,
    hashes: BigUint64Array,
    signal: AbortSignal,
  ): Promise<(KvBlock & { handle: Handle })[]> {
    const { exchange } = this.#engine.cache;
    for (;;) {
      const opened = exchange.open(id, hashes);
      const blocks =
        opened.kind === 'loading'
          ? undefined
          : opened.blocks.map(({ hash, tokens, host = 0 }) => ({ hash, tokens, handle: host }));
      this.#engine.changed();
      try {
        await (blocks === undefined ? this.#newsOfFiles() : this.#engine.carriedOut());
        if (signal.aborted) throw new GatewayError('client_closed', 'The client left.');
        if (blocks !== undefined) return blocks;
      } catch (error) {
        if (blocks === undefined) exchange.abandon(id);
        else exchange.close(id);
        throw error;
      }
    }
  }

  #newsOfFiles(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  async *#bytes(
    head: Uint8Array,
    blocks: readonly (KvBlock & { handle: Handle })[],
    close: () => void,
  ): AsyncGenerator<Uint8Array> {
    try {
      yield head;
      for (let at = 0; at < blocks.length; at += this.#windowBlocks) {
        const some = blocks.slice(at, at + this.#windowBlocks);
        const bytes = await this.#means.blocks.read(some.map(({ handle }) => handle));
        yield encodeBlocks(this.#means.layout, some, bytes);
      }
    } finally {
      close();
    }
  }

  /** Returns why it took no more, if it did not. */
  async #take(
    id: string,
    { root, salt, blockCount }: KvHead,
    reader: KvStreamReader,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { cache, hasher } = this.#engine;
    let parent = root;
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

  #imported(held: number, { blockCount, chainBlocks }: KvHead, why: string | undefined): KvOutcome {
    const { blockTokens } = this.#means.layout;
    if (held === 0 && why === undefined) why = 'What came before is gone.';
    if (why === undefined && blockCount < chainBlocks) why = 'The other engine gave no more.';
    let answer: KvOutcome['answer'] = why === undefined ? 'accepted' : 'clipped';
    if (held === 0 && why === NO_ROOM) answer = 'rejected';
    return outcomeOf(answer, held, blockTokens, why);
  }
}

const BUSY = 'As much KV is on its way as may be at once.';
const NO_ROOM = 'There is no room for more.';
const BROKEN = {
  torn: 'The stream broke off.',
  damaged: 'A block is not as it was sent.',
};

function outcomeOf(
  answer: KvOutcome['answer'],
  blocks: number,
  blockTokens: number,
  sentence: string | undefined,
): KvOutcome {
  return { answer, blocks, tokens: blocks * blockTokens, sentence };
}

function none(answer: KvOutcome['answer'], sentence: string): KvExport {
  return { kind: 'none', outcome: outcomeOf(answer, 0, 0, sentence) };
}
