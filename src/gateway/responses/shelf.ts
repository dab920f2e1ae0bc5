/**
 * Where chains lie as bytes: in memory, or in files. Both name them alike, by hashes: a folder for each
 * tenant, and in it a file for each chain.
 */
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { NAME_ON_DISK, type Place } from '../place.ts';

/** A chain as it was found at the start. */
export interface Found extends Place {
  bytes: number;
  writtenMs: number;
}

export interface Written {
  bytes: Uint8Array;
  /** By the gateway's clock: a later start finds it as `writtenMs`. */
  atMs: number;
}

/** Calls for one place come one after the other. All may reject with the system's error. */
export interface Shelf {
  /** All there is. */
  list(): Promise<Found[]>;
  /** Undefined where there is nothing. */
  read(place: Place): Promise<Uint8Array | undefined>;
  append(place: Place, written: Written): Promise<void>;
  /** At once: what was there before, or all of this. */
  replace(place: Place, written: Written): Promise<void>;
  remove(place: Place): Promise<void>;
}

/** Gone when the process is. */
export class MemoryShelf implements Shelf {
  readonly #pieces = new Map<string, Uint8Array[]>();

  async list(): Promise<Found[]> {
    return [];
  }

  async read(place: Place): Promise<Uint8Array | undefined> {
    const pieces = this.#pieces.get(nameOf(place));
    return pieces && Buffer.concat(pieces);
  }

  async append(place: Place, { bytes }: Written): Promise<void> {
    const pieces = this.#pieces.get(nameOf(place));
    if (pieces === undefined) this.#pieces.set(nameOf(place), [bytes]);
    else pieces.push(bytes);
  }

  async replace(place: Place, { bytes }: Written): Promise<void> {
    this.#pieces.set(nameOf(place), [bytes]);
  }

  async remove(place: Place): Promise<void> {
    this.#pieces.delete(nameOf(place));
  }
}

/** Readable by their owner alone. Folders are made when the first chain is kept. */
export class FileShelf implements Shelf {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async list(): Promise<Found[]> {
    const found: Found[] = [];
    for (const folder of await names(this.#root)) {
      if (!NAME_ON_DISK.test(folder)) continue;
      // Goes only where nothing is in it.
      await rmdir(join(this.#root, folder)).catch(() => {});
      for (const file of await names(join(this.#root, folder))) {
        const path = join(this.#root, folder, file);
        if (file.endsWith(HALF_DONE)) await rm(path, { force: true });
        if (!NAME_ON_DISK.test(file)) continue;
        const { size, mtimeMs } = await stat(path);
        found.push({ folder, file, bytes: size, writtenMs: Math.round(mtimeMs) });
      }
    }
    return found;
  }

  async read(place: Place): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.#path(place));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async append(place: Place, { bytes, atMs }: Written): Promise<void> {
    await this.#makeFolder(place);
    const file = await open(this.#path(place), 'a', 0o600);
    try {
      const { size } = await file.stat();
      // Of what a full disk took half of, nobody would know how much there is.
      await file
        .appendFile(bytes)
        .catch((error: unknown) => this.#undo(place, { file, size, error }));
      await file.utimes(atMs / 1000, atMs / 1000);
    } finally {
      await file.close();
    }
  }

  async #undo(
    place: Place,
    { file, size, error }: { file: FileHandle; size: number; error: unknown },
  ): Promise<never> {
    if (size === 0) await this.remove(place);
    else await file.truncate(size);
    throw error;
  }

  async replace(place: Place, { bytes, atMs }: Written): Promise<void> {
    await this.#makeFolder(place);
    const half = this.#path(place) + HALF_DONE;
    try {
      await writeFile(half, bytes, { mode: 0o600 });
      await utimes(half, atMs / 1000, atMs / 1000);
      await rename(half, this.#path(place));
    } catch (error) {
      await rm(half, { force: true });
      throw error;
    }
  }

  async remove(place: Place): Promise<void> {
    await rm(this.#path(place), { force: true });
  }

  #path({ folder, file }: Place): string {
    return join(this.#root, folder, file);
  }

  async #makeFolder({ folder }: Place): Promise<void> {
    await mkdir(join(this.#root, folder), { recursive: true, mode: 0o700 });
  }
}

const HALF_DONE = '.half';

async function names(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'ENOTDIR') return [];
    throw error;
  }
}

/** One word for a place. */
export function nameOf({ folder, file }: Place): string {
  return `${folder}/${file}`;
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
