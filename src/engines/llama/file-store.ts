/**
 * The disk tier's bytes: files of KV blocks, written and read while the engine computes. What the
 * engine hands over is copied at once; the scheduler bounds how much of it is on its way.
 *
 *   save   copy → write `.part` → rename       a file has its name only when it is whole
 *   load   read → check every byte → copy      what is not as it was written is a miss, and goes
 *
 * Blocks share files, because files cost more than bytes: 512 blocks of 32 KiB in files of 1 / 8 / 32 /
 * 128 blocks were written in 227 / 45 / 25 / 21 ms, found at start in 131 / 11 / 3 / 1 and read, checked
 * and copied in 115 / 34 / 29 / 17 (2 cores, ext4, from the page cache). 32 is what a turn often adds.
 *
 * Nothing is synced: a file that a power failure tore fails its check. A disk that is full, or turns
 * read-only, switches the tier off with one sentence; serving goes on.
 */
import { join } from 'node:path';
import { assert } from '../../base/assert.ts';
import type { FileContent, FileId, FileNews, FoundFile } from '../../model/step.ts';
import {
  bytesPerBlock,
  decodeBlocks,
  decodeHead,
  encodeFile,
  FILE_BYTES,
  type FileLayout,
  headBytes,
} from './block-file.ts';
import { type FileSystem, type KvFolder, openKvFolder } from './kv-folder.ts';

export interface FileSettings {
  folder: string;
  /** Of all files, in bytes. */
  bytesMax: number;
  /** Blocks of one file, at most. */
  fileBlocksMax: number;
  layout: FileLayout;
}

/** What was found at start. */
export interface OpenedFiles {
  path: string;
  bytesMax: number;
  /** The unused for longest first. */
  found: FoundFile[];
}

/** Reads and writes under way at once; libuv has four threads for all. */
const READS_MAX = 3;
const WRITES_MAX = 1;
const SUFFIX = '.kv';
const PART = '.part';
const NAME = /^([0-9a-f]{16})-([0-9a-z]+)\.kv$/;

export class FileStore {
  readonly #fs: FileSystem;
  readonly #folder: KvFolder;
  readonly #layout: FileLayout;
  readonly #onNews: (news: FileNews) => void;
  readonly #names = new Map<FileId, string>();
  /** Files to delete as soon as nothing is done with them. */
  readonly #doomed = new Set<FileId>();
  readonly #reads = new Lanes(READS_MAX);
  readonly #writes = new Lanes(WRITES_MAX);
  #isOff = false;

  /** Throws one sentence where the folder cannot be used. */
  static async open(
    fs: FileSystem,
    settings: FileSettings,
    onNews: (news: FileNews) => void,
  ): Promise<{ store: FileStore; opened: OpenedFiles }> {
    const { folder: path, layout, bytesMax } = settings;
    let folder: KvFolder | undefined;
    try {
      folder = await openKvFolder(fs, { folder: path, key: layout.key, bytesMax });
      const store = new FileStore(fs, folder, { layout, onNews });
      const found = await store.#find(settings, folder.bytesMax);
      return { store, opened: { path: folder.path, bytesMax: folder.bytesMax, found } };
    } catch (error) {
      folder?.lock.release();
      throw new Error(
        `KV is not kept on disk, because ${path} cannot be used (${reasonOf(error)}); choose another folder with --disk-folder, or none with --disk 0.`,
      );
    }
  }

  private constructor(
    fs: FileSystem,
    folder: KvFolder,
    given: { layout: FileLayout; onNews: (news: FileNews) => void },
  ) {
    this.#fs = fs;
    this.#folder = folder;
    this.#layout = given.layout;
    this.#onNews = given.onNews;
  }

  /** `fill` writes the KV of one block where it is told; it is called before this returns. */
  save(
    file: FileId,
    content: FileContent,
    fill: (index: number, target: Uint8Array) => void,
  ): void {
    if (this.#isOff) return;
    assert(!this.#names.has(file), 'a file is written once');
    const bytes = encodeFile(this.#layout, content, fill);
    const last = content.hashes[content.hashes.length - 1];
    const name = `${last.toString(16).padStart(16, '0')}-${file.toString(36)}`;
    this.#names.set(file, name);
    this.#writes.run(() => this.#write(file, name, bytes));
  }

  /** `take` gets each block asked for, once all of the file is known to be sound. */
  load(
    file: FileId,
    indexes: readonly number[],
    take: (position: number, block: Uint8Array) => void,
  ): void {
    if (this.#isOff) return;
    const startNs = process.hrtime.bigint();
    this.#reads.run(async () => {
      const blocks = await this.#read(file);
      if (this.#isOff) return;
      if (blocks === undefined || indexes.some((index) => index >= blocks.length)) {
        await this.#delete(file);
        this.#onNews({ kind: 'lost', file });
        return;
      }
      indexes.forEach((index, position) => {
        take(position, blocks[index]);
      });
      const elapsedUs = Number((process.hrtime.bigint() - startNs) / 1000n);
      this.#onNews({ kind: 'loaded', file, elapsedUs });
    });
  }

  drop(file: FileId): void {
    if (this.#isOff || !this.#names.has(file)) return;
    this.#doomed.add(file);
    // Behind what is being done with it: writes come one after the other, and a read only fails.
    this.#writes.run(() => this.#delete(file));
  }

  /** Resolves when what was begun has ended. */
  async close(): Promise<void> {
    await Promise.all([this.#writes.idle(), this.#reads.idle()]);
    this.#isOff = true;
    this.#folder.lock.release();
  }

  async #write(file: FileId, name: string, bytes: Buffer): Promise<void> {
    if (this.#isOff || this.#doomed.has(file)) return;
    const path = join(this.#folder.path, name);
    try {
      await this.#fs.writeFile(path + PART, bytes, { mode: 0o600 });
      await this.#fs.rename(path + PART, path + SUFFIX);
      if (!this.#isOff) this.#onNews({ kind: 'saved', file });
    } catch (error) {
      await this.#fs.unlink(path + PART).catch(() => {}); // It may never have been made.
      this.#switchOff(error);
    }
  }

  async #read(file: FileId): Promise<Uint8Array[] | undefined> {
    const name = this.#names.get(file);
    if (name === undefined) return undefined;
    const path = join(this.#folder.path, name + SUFFIX);
    try {
      const decoded = decodeBlocks(this.#layout, await this.#bytesOf(path));
      const last = decoded?.content.hashes.at(-1);
      if (decoded === undefined || last === undefined) return undefined;
      if (!name.startsWith(last.toString(16).padStart(16, '0'))) return undefined;
      const now = new Date();
      void this.#fs.utimes(path, now, now).catch(() => {}); // Only the order at the next start.
      return decoded.blocks;
    } catch {
      return undefined; // It is gone, or cannot be read: a miss all the same.
    }
  }

  async #bytesOf(path: string, most = Number.POSITIVE_INFINITY): Promise<Buffer> {
    const handle = await this.#fs.open(path, 'r');
    try {
      const { size } = await handle.stat();
      const bytes = Buffer.allocUnsafeSlow(Math.min(size, most));
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
      return bytes.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  }

  async #delete(file: FileId): Promise<void> {
    const name = this.#names.get(file);
    this.#names.delete(file);
    this.#doomed.delete(file);
    if (name === undefined) return;
    await this.#fs.unlink(join(this.#folder.path, name + SUFFIX)).catch(() => {}); // Gone already.
  }

  #switchOff(error: unknown): void {
    if (this.#isOff) return;
    this.#isOff = true;
    const { path } = this.#folder;
    const reason = `KV is not kept on disk any more, because ${path} cannot be written (${reasonOf(error)}); make room or choose another folder with --disk-folder, and start again.`;
    this.#onNews({ kind: 'off', reason });
  }

  /** Files of earlier runs whose heads are sound; whatever else lies there is cleared away. */
  async #find(settings: FileSettings, bytesMax: number): Promise<FoundFile[]> {
    const most = headBytes(this.#layout, settings.fileBlocksMax);
    const found: (FoundFile & { usedMs: number; bytes: number })[] = [];
    for (const entry of await this.#fs.readdir(this.#folder.path)) {
      if (entry === 'lock') continue;
      const path = join(this.#folder.path, entry);
      const [, hash, number] = NAME.exec(entry) ?? [];
      const bytes = await this.#bytesOf(path, most).catch(() => Buffer.alloc(0));
      const content = decodeHead(this.#layout, bytes);
      const last = content?.hashes.at(-1);
      if (content === undefined || last?.toString(16).padStart(16, '0') !== hash) {
        await this.#fs.rm(path, { force: true, recursive: true });
        continue;
      }
      const { mtimeMs, size } = await this.#fs.stat(path);
      const file = Number.parseInt(number, 36);
      this.#names.set(file, entry.slice(0, -SUFFIX.length));
      found.push({ file, content, usedMs: mtimeMs, bytes: size });
    }
    found.sort((a, b) => b.usedMs - a.usedMs || b.file - a.file);
    let left = bytesMax;
    const kept = found.filter(({ bytes }) => {
      left -= bytes;
      return left >= 0;
    });
    for (const { file } of found.slice(kept.length)) await this.#delete(file);
    return kept.reverse().map(({ file, content }) => ({ file, content }));
  }
}

/** What the scheduler counts with. */
export function fileSizes(layout: FileLayout): { fileBytes: number; blockBytes: number } {
  return { fileBytes: FILE_BYTES, blockBytes: bytesPerBlock(layout) };
}

/** Runs tasks, so many at once, in the order they came. */
class Lanes {
  readonly #max: number;
  readonly #tasks: (() => Promise<void>)[] = [];
  #running = 0;
  #onIdle: (() => void)[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  /** A task may not fail. */
  run(task: () => Promise<void>): void {
    this.#tasks.push(task);
    this.#next();
  }

  async idle(): Promise<void> {
    if (this.#running + this.#tasks.length === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle.push(resolve);
    });
  }

  #next(): void {
    if (this.#running >= this.#max) return;
    const task = this.#tasks.shift();
    if (task === undefined) {
      if (this.#running === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
      return;
    }
    this.#running++;
    void task().finally(() => {
      this.#running--;
      this.#next();
    });
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'the disk is full';
    case 'EROFS':
      return 'the file system is read-only';
    case 'EACCES':
    case 'EPERM':
      return 'writing there is not allowed';
    default:
      return message;
  }
}
