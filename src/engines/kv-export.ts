/**
 * KV of a chain on its way out of an engine: pieces of it lie in the host store until they were read.
 * One that follows a prompt sends what of it is computed, as soon as that fills a window.
 *
 *   brought to the host store, and held there ─► read, window by window ─► bytes
 */
import { must } from '../base/assert.ts';
import type { BlockHashes } from '../model/block.ts';
import { GatewayError } from '../model/error.ts';
import type { KvChain, KvExport, KvOutcome } from '../model/kv-control.ts';
import type { Handle } from '../model/step.ts';
import type { BlockStore } from '../ports.ts';
import { encodeBlocks, encodeHead, type KvBlock } from './kv-stream.ts';
import type { FileLayout } from './llama/block-file.ts';
import type { KvEngine } from './local-kv.ts';

export interface KvExporterParts {
  engine: KvEngine;
  layout: FileLayout;
  blocks: BlockStore;
  /** Blocks read at once. */
  windowBlocks: number;
  /** What of a chain is known, and how long it is. */
  wish: (chain: KvChain) => { chain: readonly KnownBlock[]; wanted: number };
  /** One more transfer is under way, until what is returned is called; undefined: none may. */
  begin: () => (() => void) | undefined;
}

type KnownBlock = Pick<KvBlock, 'hash'> & { salt: string };
type HostBlock = KvBlock & { handle: Handle };

interface Listener {
  resolve: () => void;
  reject: (error: GatewayError) => void;
}

export class KvExporter {
  readonly #parts: KvExporterParts;
  /** Who waits for files to be read, and who for blocks to be computed. */
  readonly #waiting: Listener[] = [];
  readonly #following: Listener[] = [];
  #pieceCount = 0;

  constructor(parts: KvExporterParts) {
    this.#parts = parts;
  }

  async export(chain: KvChain, signal: AbortSignal): Promise<KvExport> {
    const { wish, begin } = this.#parts;
    const { skip = 0, follow = false } = chain.kind === 'blocks' ? chain : {};
    if (!follow && wish(chain).chain.length <= skip) return none('missing', UNKNOWN);
    const end = begin();
    if (end === undefined) return none('deferred', BUSY);
    const leaving = new AbortController();
    const close = () => {
      end();
      signal.removeEventListener('abort', close);
      leaving.abort();
    };
    signal.addEventListener('abort', close, { once: true });
    const pieces = this.#pieces(chain, { from: skip, follow }, leaving.signal);
    try {
      if (signal.aborted) throw left();
      const first = await pieces.next();
      const head = first.done ? undefined : this.#head(chain, first.value, { skip, follow });
      if (!first.done && head !== undefined) {
        return { kind: 'stream', bytes: this.#bytes(head, { first: first.value, pieces }, close) };
      }
      await pieces.return();
      close();
      return none('rejected', first.done ? NO_MORE : 'Its salt is too long.');
    } catch (error) {
      close();
      throw error;
    }
  }

  filesRead(): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  computed(): void {
    for (const { resolve } of this.#following.splice(0)) resolve();
  }

  fail(error: GatewayError): void {
    const waiting = [...this.#waiting.splice(0), ...this.#following.splice(0)];
    for (const { reject } of waiting) reject(error);
  }

  /** Blocks behind the first `from`, in the host store until the next are asked for. */
  async *#pieces(
    chain: KvChain,
    { from, follow }: { from: number; follow: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<HostBlock[], void> {
    const { engine } = this.#parts;
    const { exchange } = engine.cache;
    let hasBegun = false;
    for (let at = from; ; ) {
      const { chain: known, wanted } = this.#parts.wish(chain);
      const isFull = known.length >= wanted || known.length - at >= this.#parts.windowBlocks;
      // Not all that a prompt computes is kept, and not every prompt comes to its end.
      const isComing = follow && chain.kind === 'blocks' && this.#isToCome(chain.hashes);
      hasBegun ||= isComing;
      const isOver = hasBegun && !isComing;
      if (follow && !isFull && !isOver) {
        await this.#next(this.#following, signal);
        continue;
      }
      const id = `out ${this.#pieceCount++}`;
      const hashes = BigUint64Array.from(known, ({ hash }) => hash);
      const blocks = await this.#open(id, hashes, signal);
      let isOpen = true;
      const close = () => {
        if (!isOpen) return;
        isOpen = false;
        exchange.close(id);
        this.#parts.engine.changed();
      };
      signal.addEventListener('abort', close, { once: true });
      try {
        if (blocks.length > at) yield blocks.slice(at);
      } finally {
        signal.removeEventListener('abort', close);
        close();
      }
      if (!follow || isOver || blocks.length <= at || blocks.length >= wanted) return;
      at = blocks.length;
    }
  }

  #isToCome(hashes: BlockHashes): boolean {
    const last = hashes.length - 1;
    return this.#parts.engine.isToCome(hashes[last], last);
  }

  /** Undefined where the salt is longer than a head has room for. */
  #head(
    chain: KvChain,
    first: readonly HostBlock[],
    { skip, follow }: { skip: number; follow: boolean },
  ): Uint8Array | undefined {
    const { chain: known, wanted } = this.#parts.wish(chain);
    const { salt } = must(known[0], 'what is held is known');
    const root = this.#parts.engine.hasher.root(salt);
    const counts = follow
      ? { blockCount: wanted - skip, chainBlocks: wanted }
      : { blockCount: first.length, chainBlocks: known.length };
    const after = skip === 0 ? root : known[skip - 1].hash;
    return encodeHead(this.#parts.layout, { root, salt, ...counts, skippedBlocks: skip, after });
  }

  /** Blocks that lie in the host store until the exchange is told that they need not. */
  async #open(id: string, hashes: BigUint64Array, signal: AbortSignal): Promise<HostBlock[]> {
    const { exchange } = this.#parts.engine.cache;
    for (;;) {
      const opened = exchange.open(id, hashes);
      const blocks =
        opened.kind === 'loading'
          ? undefined
          : opened.blocks.map(({ hash, tokens, host = 0 }) => ({ hash, tokens, handle: host }));
      this.#parts.engine.changed();
      try {
        await (blocks === undefined
          ? this.#next(this.#waiting, signal)
          : this.#parts.engine.carriedOut());
        if (signal.aborted) throw left();
        if (blocks !== undefined) return blocks;
      } catch (error) {
        if (blocks === undefined) exchange.abandon(id);
        else exchange.close(id);
        throw error;
      }
    }
  }

  /** Waits for the next news of a kind; rejects where nobody wants to know any more. */
  #next(listeners: Listener[], signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => listener.reject(left());
      const settled = () => signal.removeEventListener('abort', leave);
      const listener: Listener = {
        resolve: () => {
          settled();
          resolve();
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      listeners.push(listener);
      if (signal.aborted) leave();
    });
  }

  async *#bytes(
    head: Uint8Array,
    { first, pieces }: { first: HostBlock[]; pieces: AsyncGenerator<HostBlock[], void> },
    close: () => void,
  ): AsyncGenerator<Uint8Array> {
    try {
      yield head;
      for (let piece: HostBlock[] | undefined = first; piece !== undefined; ) {
        for (let at = 0; at < piece.length; at += this.#parts.windowBlocks) {
          const some: HostBlock[] = piece.slice(at, at + this.#parts.windowBlocks);
          const bytes = await this.#parts.blocks.read(some.map(({ handle }) => handle));
          yield encodeBlocks(this.#parts.layout, some, bytes);
        }
        const next: IteratorResult<HostBlock[], void> = await pieces.next();
        piece = next.done ? undefined : next.value;
      }
    } finally {
      close();
      await pieces.return();
    }
  }
}

function left(): GatewayError {
  return new GatewayError('client_closed', 'The client left.');
}

const NO_MORE = 'There is no room, or nothing of it came.';
const UNKNOWN = 'Nothing of it is known here.';
export const BUSY = 'As much KV is on its way as may be at once.';

export function outcomeOf(
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
