/**
 * What is written to disk, and when: ends of chains queue up when their sequence is done, and every
 * plan takes a few groups of blocks from the front, as long as the bytes on their way are few. While
 * sequences run, only what lies in host memory is written; an idle engine also empties its slots'
 * blocks. Where the disk is full, a group is written only if it is worth more per byte than the
 * file that would have to go.
 */
import type { SaveSource } from '../../model/step.ts';
import type { DiskTier } from './disk.ts';
import { type Block, chainOf } from './tree.ts';

/** Ends of chains looked at for one plan. */
const LOOKS = { busy: 1, idle: 8 };
/** An idle engine copies so many bytes at a time: a request that comes now waits for them. */
const PLAN_BYTES_MAX = 16 * 1024 * 1024;
/** More ends are forgotten, oldest first; their blocks are saved when they are used again. */
const ENDS_MAX = 10_000;

export interface Group {
  blocks: Block[];
  source: SaveSource;
}

/** Makes room for a file of so many bytes; false where what would have to go is worth more. */
export type MakeRoom = (blocks: readonly Block[], bytes: number) => boolean;

export class Saver {
  readonly #disk: DiskTier;
  readonly #makeRoom: MakeRoom;
  /** Ends of chains; those that were asked for come before the others. */
  readonly #ends = new Set<Block>();
  readonly #urgent = new Set<Block>();

  constructor(given: { disk: DiskTier; makeRoom: MakeRoom }) {
    this.#disk = given.disk;
    this.#makeRoom = given.makeRoom;
  }

  /** The chain that ends here is to be saved before others. */
  hurry(end: Block): void {
    this.forget(end);
    this.#urgent.add(end);
  }

  /** The chain that ends here may have something to save. */
  ends(block: Block): void {
    this.#ends.delete(block);
    this.#ends.add(block);
    if (this.#ends.size <= ENDS_MAX) return;
    for (const oldest of this.#ends) {
      this.#ends.delete(oldest);
      return;
    }
  }

  forget(block: Block): void {
    this.#ends.delete(block);
    this.#urgent.delete(block);
  }

  clear(): void {
    this.#ends.clear();
    this.#urgent.clear();
  }

  /** Groups to write now; `onGroup` books each before the next is looked for. */
  choose({ idle }: { idle: boolean }, onGroup: (group: Group) => void): void {
    let looks = Math.min(this.#ends.size + this.#urgent.size, idle ? LOOKS.idle : LOOKS.busy);
    let bytesLeft = PLAN_BYTES_MAX;
    while (looks-- > 0) {
      const [end] = this.#urgent.size > 0 ? this.#urgent : this.#ends;
      const chain = chainOf(end);
      for (;;) {
        const group = this.#nextGroup(chain, idle);
        if (group === 'saved') {
          this.forget(end);
          break;
        }
        if (group === 'elsewhere') {
          this.forget(end);
          this.ends(end);
          break;
        }
        const bytes = this.#disk.bytesOf(group.blocks.length);
        if (bytes > this.#disk.dirtyBytesLeft || bytesLeft <= 0) return;
        if (!this.#makeRoom(group.blocks, bytes)) {
          this.forget(end);
          break;
        }
        bytesLeft -= bytes;
        onGroup(group);
      }
    }
  }

  /** The first blocks of the chain that have no file, as many as one file takes. */
  #nextGroup(chain: readonly Block[], idle: boolean): Group | 'saved' | 'elsewhere' {
    const first = chain.findIndex((block) => block.file === undefined);
    if (first < 0) return 'saved';
    const last = Math.min(chain.length, first + this.#disk.sizes.fileBlocksMax);
    const blocks: Block[] = [];
    const handles: number[] = [];
    for (let i = first; i < last; i++) {
      const { host, arriving } = chain[i];
      if (host === undefined || arriving) break;
      blocks.push(chain[i]);
      handles.push(host);
    }
    if (blocks.length > 0) return { blocks, source: { kind: 'host', handles } };
    const slot = chain[chain.length - 1].slots[0];
    if (!idle || slot === undefined) return 'elsewhere';
    const inSlot = chain.slice(first, last);
    const indexes = inSlot.map(({ index }) => index);
    return { blocks: inSlot, source: { kind: 'slot', slot, indexes } };
  }
}
