/**
 * KV events of the workers → facts for the kernel. Engines name blocks by hashes of their own; identity
 * is recomputed from the tokens in each event, and the engine's name is only an alias.
 */
import { type BlockHash, type KvEvent, TIERS } from '../model/block.ts';
import type { WorkerId } from '../model/ids.ts';
import type { BlockHasher, Cancel, KvFeed, Sink } from '../ports.ts';
import type { Host } from './host.ts';

export interface FeedParts {
  host: Pick<Host, 'tell'>;
  feed: KvFeed;
  sink: Sink;
}

export class Feed {
  readonly #parts: FeedParts;
  readonly #listeners = new Map<WorkerId, Cancel>();

  constructor(parts: FeedParts) {
    this.#parts = parts;
  }

  start(
    worker: WorkerId,
    events: { endpoint: string; replay: string | undefined },
    hasher: BlockHasher,
  ): void {
    const { host, feed, sink } = this.#parts;
    const names = new BlockNames(hasher);
    const lose = (missing: number) => {
      names.clear();
      host.tell({ kind: 'feedLost', worker });
      sink.note({ kind: 'feedLost', worker, missing });
    };
    const cancel = feed.subscribe(
      { id: worker, ...events },
      {
        lost: lose,
        events: (batch) => {
          for (const event of batch) {
            if (event.kind === 'stored' && event.blockTokens !== hasher.blockTokens) {
              const sentence = `${worker} has blocks of ${event.blockTokens} tokens, but ${hasher.blockTokens} were expected; its events are not used`;
              sink.note({ kind: 'warning', sentence });
              lose(0);
              this.stop(worker);
              return;
            }
            this.#tell(worker, event, names);
          }
        },
      },
    );
    this.#listeners.set(worker, cancel);
  }

  stop(worker: WorkerId): void {
    this.#listeners.get(worker)?.();
    this.#listeners.delete(worker);
  }

  close(): void {
    for (const worker of [...this.#listeners.keys()]) this.stop(worker);
  }

  #tell(worker: WorkerId, event: KvEvent, names: BlockNames): void {
    const { host, sink } = this.#parts;
    sink.note({ kind: 'kvEvent', worker, event: event.kind });
    if (event.kind === 'cleared') {
      names.clear();
      host.tell({ kind: 'blocksCleared', worker });
      return;
    }
    const hashes = event.kind === 'stored' ? names.stored(event) : names.removed(event);
    if (hashes.length === 0) return;
    const { tier } = event;
    host.tell({
      kind: event.kind === 'stored' ? 'blocksStored' : 'blocksRemoved',
      worker,
      hashes,
      tier,
    });
  }
}

/** A single key is the salt itself; several are written so that no two sets of keys read the same. */
function saltOf(keys: readonly string[]): string {
  return keys.length > 1 ? JSON.stringify(keys) : (keys[0] ?? '');
}

/** One worker's names for blocks, and what they mean to us. */
class BlockNames {
  readonly #hasher: BlockHasher;
  readonly #known = new Map<BlockHash, { hash: BlockHash; tiers: number }>();

  constructor(hasher: BlockHasher) {
    this.#hasher = hasher;
  }

  clear(): void {
    this.#known.clear();
  }

  /** Our hashes of the event's blocks; none where its parent was never told of. */
  stored(event: Extract<KvEvent, { kind: 'stored' }>): BigUint64Array {
    const bit = 1 << TIERS.indexOf(event.tier);
    let parent: BlockHash;
    if (event.parent === undefined) {
      // Whatever an engine mixed in besides tokens keeps its blocks apart from all others.
      parent = this.#hasher.root(saltOf(event.extraKeys));
    } else {
      const known = this.#known.get(event.parent);
      if (known === undefined) return new BigUint64Array(0);
      parent = known.hash;
    }
    const hashes = new BigUint64Array(event.hashes.length);
    for (let i = 0; i < hashes.length; i++) {
      parent = this.#hasher.block(parent, event.tokens, i * event.blockTokens);
      hashes[i] = parent;
      const tiers = (this.#known.get(event.hashes[i])?.tiers ?? 0) | bit;
      this.#known.set(event.hashes[i], { hash: parent, tiers });
    }
    return hashes;
  }

  removed(event: Extract<KvEvent, { kind: 'removed' }>): BigUint64Array {
    const bit = 1 << TIERS.indexOf(event.tier);
    const hashes: BlockHash[] = [];
    for (const name of event.hashes) {
      const known = this.#known.get(name);
      if (known === undefined) continue;
      hashes.push(known.hash);
      known.tiers &= ~bit;
      if (known.tiers === 0) this.#known.delete(name);
    }
    return BigUint64Array.from(hashes);
  }
}
