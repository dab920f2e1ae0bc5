/**
 * Where one worker keeps its files: a subfolder of its own, named by the layout of what it holds and
 * a number, and locked. A worker takes the first one of its layout that nobody uses, so that it finds
 * what it kept before; two workers at once take two.
 *
 *   <folder>/3f9a…c2-0/lock, 51d2…-1a.kv, …      of this model, worker 1
 *           /3f9a…c2-1/…                         worker 2
 *           /77b0…01-0/…                         left by another model: nobody reads it here
 *
 * What nobody uses any more counts against this worker's bytes, and is cleared away, oldest first,
 * where it is more than half of them.
 */
import { join } from 'node:path';
import { FolderLock } from './folder-lock.ts';

/** What the disk tier asks of the file system; `node:fs/promises` has it. */
export type FileSystem = Pick<
  typeof import('node:fs/promises'),
  'mkdir' | 'open' | 'readdir' | 'rename' | 'rm' | 'stat' | 'unlink' | 'utimes' | 'writeFile'
>;

export interface KvFolder {
  path: string;
  lock: FolderLock;
  /** What is left for this worker's files. */
  bytesMax: number;
}

/** Workers that may share a folder and a model. */
const NUMBERS_MAX = 256;
const LEFTOVERS_SHARE_MAX = 0.5;
const NAME = /^[0-9a-f]{32}-\d+$/;

/** Throws what the file system throws, where the folder cannot be made or written. */
export async function openKvFolder(
  fs: FileSystem,
  given: { folder: string; key: string; bytesMax: number },
): Promise<KvFolder> {
  const { folder, key } = given;
  await fs.mkdir(folder, { recursive: true, mode: 0o700 });
  const own = await takeOwn(fs, folder, key);
  const leftoverBytes = await tidyUp(fs, given, own.path);
  return { ...own, bytesMax: Math.max(0, given.bytesMax - leftoverBytes) };
}

async function takeOwn(
  fs: FileSystem,
  folder: string,
  key: string,
): Promise<{ path: string; lock: FolderLock }> {
  for (let number = 0; number < NUMBERS_MAX; number++) {
    const path = join(folder, `${key}-${number}`);
    await fs.mkdir(path, { recursive: true, mode: 0o700 });
    const lock = FolderLock.take(path);
    if (lock !== undefined) return { path, lock };
  }
  throw new Error(`${NUMBERS_MAX} workers of this model use it already`);
}

/** Returns the bytes of what nobody uses and stays. */
async function tidyUp(
  fs: FileSystem,
  { folder, bytesMax }: { folder: string; bytesMax: number },
  own: string,
): Promise<number> {
  const leftovers: { path: string; lock: FolderLock; bytes: number; usedMs: number }[] = [];
  for (const name of await fs.readdir(folder)) {
    const path = join(folder, name);
    if (!NAME.test(name) || path === own) continue;
    const lock = FolderLock.take(path);
    if (lock !== undefined) leftovers.push({ path, lock, ...(await sizeOf(fs, path)) });
  }
  leftovers.sort((a, b) => b.usedMs - a.usedMs);
  let bytes = 0;
  for (const leftover of leftovers) {
    if (bytes + leftover.bytes <= bytesMax * LEFTOVERS_SHARE_MAX) bytes += leftover.bytes;
    else await fs.rm(leftover.path, { recursive: true, force: true });
    leftover.lock.release();
  }
  return bytes;
}

async function sizeOf(fs: FileSystem, path: string): Promise<{ bytes: number; usedMs: number }> {
  let bytes = 0;
  let usedMs = 0;
  for (const name of await fs.readdir(path)) {
    const { size, mtimeMs } = await fs.stat(join(path, name));
    bytes += size;
    usedMs = Math.max(usedMs, mtimeMs);
  }
  return { bytes, usedMs };
}
