/**
 * The disk tier's books: which file holds which blocks, how many bytes that is, and which file goes
 * first. A file holds consecutive blocks of one chain, and goes as a whole.
 *
 *   chain   A B C │ D E F G │ H            files   ABC ─ DEFG ─ H
 *                       └─ X Y                               └ XY
 *
 * The disk is closed towards the root: a block has a file only if its parent has one, so that what is
 * found after a restart can be used. Hence only files without files behind them may go.
 */
import { assert, must } from '../../base/assert.ts';
import type { FileContent, FileId } from '../../model/step.ts';
import { Leaves } from './leaves.ts';
import type { Block } from './tree.ts';
import type { Idle } from './worth.ts';

export interface DiskSizes {
  /** Of all files together, those being written included. */
  bytesMax: number;
  /** Of those being written: they lie in memory until they are. */
  dirtyBytesMax: number;
  /** What a file takes besides its blocks, and per block. */
  fileBytes: number;
  blockBytes: number;
  /** Blocks of one file, at most. */
  fileBlocksMax: number;
  /** UTF-8 bytes of a salt that a file has room for; longer ones stay in memory. */
  saltBytesMax: number;
}

export interface CacheFile {
  readonly id: FileId;
  readonly bytes: number;
  /** Those that are still known, in order. */
  readonly blocks: Block[];
  state: 'saving' | 'saved' | 'gone';
  /** Whether blocks of it are being read. */
  reading: boolean;
}

export class DiskTier {
  readonly sizes: DiskSizes;
  readonly #files = new Map<FileId, CacheFile>();
  readonly #leaves = new Leaves<CacheFile>({ stampOf: stampOfFile, isLeaf: mayGo });
  #nextId: FileId = 1;
  #bytes = 0;
  #dirtyBytes = 0;
  #blockCount = 0;

  constructor(sizes: DiskSizes) {
    this.sizes = sizes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Blocks that could be read. */
  get blockCount(): number {
    return this.#blockCount;
  }

  get dirtyBytesLeft(): number {
    return this.sizes.dirtyBytesMax - this.#dirtyBytes;
  }

  get(id: FileId): CacheFile | undefined {
    return this.#files.get(id);
  }

  files(): CacheFile[] {
    return [...this.#files.values()];
  }

  bytesOf(blockCount: number): number {
    return this.sizes.fileBytes + blockCount * this.sizes.blockBytes;
  }

  lacks(bytes: number): boolean {
    return this.#bytes + bytes > this.sizes.bytesMax;
  }

  /** Books a file for blocks that have none; `found` names one that was written by an earlier run. */
  add(blocks: readonly Block[], found?: FileId): CacheFile {
    const id = found ?? this.#nextId;
    this.skip(id);
    assert(!this.#files.has(id), 'a file is booked once');
    const state = found === undefined ? 'saving' : 'saved';
    const bytes = this.bytesOf(blocks.length);
    const file: CacheFile = { id, bytes, blocks: [...blocks], state, reading: false };
    for (const block of blocks) {
      const { parent } = block;
      assert(block.file === undefined, 'a block has one file');
      assert(parent === undefined || parent.file !== undefined, 'a parent is saved first');
      block.file = file;
      if (parent !== undefined) parent.fileChildren++;
    }
    this.#files.set(id, file);
    this.#bytes += bytes;
    if (state === 'saving') this.#dirtyBytes += bytes;
    else this.#blockCount += blocks.length;
    this.#leaves.offer(file);
    return file;
  }

  /** Files to come are numbered after this one. */
  skip(id: FileId): void {
    this.#nextId = Math.max(this.#nextId, id + 1);
  }

  saved(file: CacheFile): void {
    assert(file.state === 'saving', 'a file is written once');
    file.state = 'saved';
    this.#dirtyBytes -= file.bytes;
    this.#blockCount += file.blocks.length;
    this.#leaves.offer(file);
  }

  /** The last block of the file is not known any more. Says whether the file is empty by now. */
  detach(block: Block): boolean {
    const file = must(block.file, 'a block that is detached has a file');
    assert(file.blocks.pop() === block, 'a chain is forgotten from its end');
    this.#loosen(file, block);
    this.#leaves.offer(file);
    return file.blocks.length === 0;
  }

  /** The file goes. Its blocks, deepest first, lie there no more. */
  remove(file: CacheFile): Block[] {
    const blocks = file.blocks.splice(0).reverse();
    for (const block of blocks) this.#loosen(file, block);
    if (file.state === 'saving') this.#dirtyBytes -= file.bytes;
    file.state = 'gone';
    this.#bytes -= file.bytes;
    this.#files.delete(file.id);
    return blocks;
  }

  /** Files that hold one of the doomed blocks, or that have no file before them any more. */
  torn(doomed: ReadonlySet<Block>): CacheFile[] {
    return this.files().filter(({ blocks }) => {
      const { parent } = blocks[0];
      const isLoose = parent !== undefined && parent.file === undefined;
      return isLoose || blocks.some((block) => doomed.has(block));
    });
  }

  /** To be called when something that hindered the file from going may be away. */
  offer(file: CacheFile | undefined): void {
    if (file !== undefined) this.#leaves.offer(file);
  }

  choose(worth: (file: CacheFile) => number): CacheFile | undefined {
    return this.#leaves.choose(worth);
  }

  check(blocks: Iterable<Block>): void {
    let bytes = 0;
    let dirty = 0;
    let held = 0;
    let readable = 0;
    const leaves = this.#leaves.all();
    for (const file of this.#files.values()) {
      bytes += file.bytes;
      held += file.blocks.length;
      if (file.state === 'saving') dirty += file.bytes;
      else readable += file.blocks.length;
      assert(file.blocks.length > 0, 'an empty file goes');
      for (const block of file.blocks) assert(block.file === file, 'a block knows its file');
      assert(mayGo(file) === leaves.has(file), 'a file that may go can be found');
    }
    const children = new Map<Block, number>();
    for (const block of blocks) {
      if (block.file === undefined) continue;
      held--;
      const { parent } = block;
      if (parent === undefined) continue;
      assert(parent.file !== undefined, 'the disk is closed towards the root');
      children.set(parent, (children.get(parent) ?? 0) + 1);
    }
    for (const block of blocks) {
      assert(block.fileChildren === (children.get(block) ?? 0), 'children with files are counted');
    }
    assert(held === 0, 'a file holds known blocks');
    assert(bytes === this.#bytes && dirty === this.#dirtyBytes, 'bytes of files are counted');
    assert(readable === this.#blockCount, 'blocks on disk are counted');
    assert(bytes <= this.sizes.bytesMax, 'files stay within their bound');
    assert(dirty <= this.sizes.dirtyBytesMax, 'what is being written stays within its bound');
  }

  #loosen(file: CacheFile, block: Block): void {
    block.file = undefined;
    if (file.state === 'saved') this.#blockCount--;
    if (block.parent === undefined) return;
    block.parent.fileChildren--;
    this.offer(block.parent.file);
  }
}

/** What a file is to hold. */
export function contentOf(blocks: readonly Block[], blockTokens: number): FileContent {
  const tokens = new Uint32Array(blocks.length * blockTokens);
  blocks.forEach((block, i) => {
    tokens.set(block.tokens, i * blockTokens);
  });
  return {
    parent: blocks[0].parent?.hash,
    hashes: BigUint64Array.from(blocks, ({ hash }) => hash),
    tokens,
    salt: blocks[0].salt,
  };
}

export function idleOf(blocks: readonly Block[], bytes: number): Idle {
  const [{ index, tokens, usedTurn }] = blocks;
  const blockTokens = tokens.length;
  return {
    position: index * blockTokens,
    tokens: blocks.length * blockTokens,
    bytes,
    usedTurn,
  };
}

function stampOfFile(file: CacheFile): number {
  return file.blocks[0]?.stamp ?? 0;
}

/** Unused, nothing behind it on disk, and nothing that would lie behind nothing without it. */
function mayGo({ state, reading, blocks }: CacheFile): boolean {
  if (state !== 'saved' || reading || blocks.length === 0 || blocks[0].locks > 0) return false;
  return blocks.every((block, i) => {
    const behind = i === blocks.length - 1 ? 0 : 1;
    if (block.fileChildren !== behind) return false;
    return block.host !== undefined || block.slots.length > 0 || block.children === behind;
  });
}
