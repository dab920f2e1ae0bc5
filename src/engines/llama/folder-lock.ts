/**
 * A folder that one process at a time may use, as the operating system sees it: the lock goes with
 * its holder, however that ends, and holds across containers that share the folder. A process id in
 * a file would do neither.
 *
 *   Linux, macOS   flock(2), through koffi, since Node has no call for it
 *   Windows        the file is opened for this process alone (libuv's UV_FS_O_EXLOCK)
 */
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import koffi, { type KoffiFunc } from 'koffi';

const LOCK_EXCLUSIVE_NOW = 2 | 4;
const UV_FS_O_EXLOCK = 0x10000000;

let flock: KoffiFunc<(file: number, operation: number) => number> | undefined;

export class FolderLock {
  readonly #file: number;

  /** Undefined where somebody else holds it; throws where the folder cannot be written. */
  static take(folder: string): FolderLock | undefined {
    const path = join(folder, 'lock');
    const flags = constants.O_RDWR | constants.O_CREAT;
    if (process.platform === 'win32') return takeOnWindows(path, flags);
    const file = openSync(path, flags, 0o600);
    try {
      // Whoever cleared the folder away meanwhile has left us a lock that nobody else would see.
      if (callFlock(file) === 0 && fstatSync(file).ino === statSync(path).ino) {
        return new FolderLock(file);
      }
    } catch (error) {
      closeSync(file);
      throw error;
    }
    closeSync(file);
    return undefined;
  }

  /** For `take`. */
  constructor(file: number) {
    this.#file = file;
  }

  release(): void {
    closeSync(this.#file);
  }
}

function callFlock(file: number): number {
  const library = process.platform === 'darwin' ? '/usr/lib/libSystem.B.dylib' : 'libc.so.6';
  flock ??= koffi.load(library).func('int flock(int file, int operation)');
  return flock(file, LOCK_EXCLUSIVE_NOW);
}

function takeOnWindows(path: string, flags: number): FolderLock | undefined {
  try {
    return new FolderLock(openSync(path, flags | UV_FS_O_EXLOCK, 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return undefined;
    throw error;
  }
}
