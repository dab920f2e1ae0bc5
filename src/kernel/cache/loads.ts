/** Who waits for blocks to come from disk, and the files that are being read for them. */
import { assert, must } from '../../base/assert.ts';
import type { FileId, Handle, SequenceId } from '../../model/step.ts';
import type { Block } from './tree.ts';

/** A sequence, or the name of what is fetched for none. */
export type Waiter = SequenceId | string;

/** The blocks of who waits, locked until it is admitted. */
export interface Held {
  chain: Block[];
  /** How often it has waited. */
  tries: number;
}

interface Waiting extends Held {
  /** Being read; it waits until there is none. */
  files: Set<FileId>;
  /** Left meanwhile: what it holds is let go of as soon as nothing comes any more. */
  abandoned: boolean;
}

/** A block that is on its way to its place. */
export interface Arrival {
  block: Block;
  handle: Handle;
}

export class Loads {
  readonly #waiting = new Map<Waiter, Waiting>();
  readonly #reading = new Map<FileId, Arrival[]>();

  /** Who waits or, having waited, holds what came. */
  get count(): number {
    return this.#waiting.size;
  }

  holds(waiter: Waiter): boolean {
    return this.#waiting.has(waiter);
  }

  /** Whether bytes are still on their way to it. */
  isWaiting(waiter: Waiter): boolean {
    return (this.#waiting.get(waiter)?.files.size ?? 0) > 0;
  }

  read(file: FileId, arrivals: Arrival[]): void {
    assert(!this.#reading.has(file), 'a file is read once at a time');
    this.#reading.set(file, arrivals);
  }

  reads(file: FileId): boolean {
    return this.#reading.has(file);
  }

  /** Files that are being read. */
  files(): FileId[] {
    return [...this.#reading.keys()];
  }

  wait(waiter: Waiter, held: Held, files: Set<FileId>): void {
    assert(!this.#waiting.has(waiter), 'who waits, waits once at a time');
    this.#waiting.set(waiter, { ...held, files, abandoned: false });
  }

  /** It waits no more; what it held is its caller's to let go of. */
  end(waiter: Waiter): Held | undefined {
    const waiting = this.#waiting.get(waiter);
    if (waiting === undefined) return undefined;
    assert(waiting.files.size === 0, 'who waits, waits until all has come');
    this.#waiting.delete(waiter);
    return waiting;
  }

  /** It is not wanted any more. Returns what it held, unless bytes are still on their way there. */
  abandon(waiter: Waiter): Held | undefined {
    const waiting = this.#waiting.get(waiter);
    if (waiting === undefined || waiting.files.size === 0) return this.end(waiter);
    waiting.abandoned = true;
    return undefined;
  }

  /** The file was read. Returns what came, and what those held who had left meanwhile. */
  came(file: FileId): { arrivals: Arrival[]; freed: Held[] } {
    const arrivals = must(this.#reading.get(file), 'a file that was read was asked for');
    this.#reading.delete(file);
    const freed: Held[] = [];
    for (const [waiter, waiting] of this.#waiting) {
      waiting.files.delete(file);
      if (!waiting.abandoned || waiting.files.size > 0) continue;
      this.#waiting.delete(waiter);
      freed.push(waiting);
    }
    return { arrivals, freed };
  }

  /** The file cannot be read: whoever waits for it waits for nothing more, and holds nothing. */
  failed(file: FileId): { arrivals: Arrival[]; freed: Held[] } {
    const freed: Held[] = [];
    for (const [waiter, waiting] of this.#waiting) {
      if (!waiting.files.has(file)) continue;
      freed.push({ chain: waiting.chain, tries: waiting.tries });
      waiting.files.clear();
      waiting.chain = [];
      if (waiting.abandoned) this.#waiting.delete(waiter);
    }
    const arrivals = this.#reading.get(file) ?? [];
    this.#reading.delete(file);
    return { arrivals, freed };
  }

  /** Blocks are gone: who holds one of them holds nothing from now on. */
  letGo(doomed: ReadonlySet<Block>): Held[] {
    const freed: Held[] = [];
    for (const waiting of this.#waiting.values()) {
      if (!waiting.chain.some((block) => doomed.has(block))) continue;
      freed.push({ chain: waiting.chain, tries: waiting.tries });
      waiting.chain = [];
    }
    return freed;
  }

  /** Places of blocks that were forgotten on their way. */
  *orphanedPlaces(): Iterable<Handle> {
    for (const arrivals of this.#reading.values()) {
      for (const { block, handle } of arrivals) if (block.host !== handle) yield handle;
    }
  }
}
