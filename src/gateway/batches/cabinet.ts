/**
 * Clients' files and batches, as files: a folder for each tenant, readable by their owner alone. Names are
 * hashes, of what a file is called and whose it is.
 *
 *   <id>.data   the bytes of a file       <id>.file   what is said of it       <id>.batch   a batch
 */
import {
  appendFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { GatewayError } from '../../model/error.ts';
import { placeOf } from '../place.ts';
import type { BatchRecord, FileRecord } from './records.ts';

export interface CabinetLimits {
  /** All tenants, and each of them. */
  bytesMax: number;
  tenantBytesMax: number;
  tenantFilesMax: number;
  fileBytesMax: number;
}

type Kind = 'data' | 'file' | 'batch';

const HALF_DONE = '.half';

export class Cabinet {
  readonly #root: string;
  readonly #limits: CabinetLimits;
  /** Bytes of data, by folder. */
  readonly #bytes = new Map<string, number>();
  #allBytes = 0;
  readonly #found: Promise<void>;

  constructor(given: { folder: string; limits: CabinetLimits }) {
    this.#root = given.folder;
    this.#limits = given.limits;
    this.#found = this.#takeStock();
    this.#found.catch(() => {});
  }

  get totalBytes(): number {
    return this.#allBytes;
  }

  /** Keeps what comes as a file's data. Throws `body_too_large` or `queue_full` beyond the limits. */
  async write(tenant: string, id: string, pieces: AsyncIterable<Uint8Array>): Promise<number> {
    await this.#found;
    const files = await this.files(tenant);
    if (files.length >= this.#limits.tenantFilesMax) {
      throw full(`There are ${files.length} files already; delete some.`);
    }
    const path = await this.#make(tenant, id, 'data');
    const half = path + HALF_DONE;
    const file = await open(half, 'w', 0o600);
    let bytes = 0;
    try {
      for await (const piece of pieces) {
        if (bytes + piece.length > this.#limits.fileBytesMax) {
          const sentence = `The file is larger than ${this.#limits.fileBytesMax} bytes.`;
          throw new GatewayError('body_too_large', sentence);
        }
        this.#grow(tenant, piece.length);
        bytes += piece.length;
        await file.writeFile(piece);
      }
      await file.close();
      await rename(half, path);
    } catch (thrown) {
      await file.close().catch(() => {});
      await rm(half, { force: true });
      this.#shrink(tenant, bytes);
      throw thrown;
    }
    return bytes;
  }

  /** Adds a line to a file's data; throws `queue_full` where that is too much. */
  async append(tenant: string, id: string, line: string): Promise<void> {
    await this.#found;
    const bytes = Buffer.from(`${line}\n`);
    this.#grow(tenant, bytes.length);
    await appendFile(await this.#make(tenant, id, 'data'), bytes, { mode: 0o600 });
  }

  /** Where a file's data lies, whether it is there or not. */
  pathOf(tenant: string, id: string): string {
    return this.#path(tenant, id, 'data');
  }

  /** Bytes of a file's data; 0 where there is none. */
  async sizeOf(tenant: string, id: string): Promise<number> {
    return (await sizeAt(this.pathOf(tenant, id))) ?? 0;
  }

  /** Cuts a file's data back to so many bytes. */
  async truncate(tenant: string, id: string, bytes: number): Promise<void> {
    await this.#found;
    const before = await this.sizeOf(tenant, id);
    if (before <= bytes) return;
    const file = await open(this.pathOf(tenant, id), 'r+');
    try {
      await file.truncate(bytes);
    } finally {
      await file.close();
    }
    this.#shrink(tenant, before - bytes);
  }

  saveFile(record: FileRecord): Promise<void> {
    return this.#save(record.tenant, record.file.id, 'file', record);
  }

  saveBatch(record: BatchRecord): Promise<void> {
    return this.#save(record.tenant, record.batch.id, 'batch', record);
  }

  async file(tenant: string, id: string): Promise<FileRecord | undefined> {
    return (await this.#read(this.#path(tenant, id, 'file'))) as FileRecord | undefined;
  }

  async batch(tenant: string, id: string): Promise<BatchRecord | undefined> {
    return (await this.#read(this.#path(tenant, id, 'batch'))) as BatchRecord | undefined;
  }

  async files(tenant: string): Promise<FileRecord[]> {
    return (await this.#all(placeOf(tenant, '').folder, 'file')) as FileRecord[];
  }

  batches(tenant: string): Promise<BatchRecord[]> {
    return this.#batchesIn(placeOf(tenant, '').folder);
  }

  /** Of all tenants. */
  async everything(): Promise<{ files: FileRecord[]; batches: BatchRecord[] }> {
    const files: FileRecord[] = [];
    const batches: BatchRecord[] = [];
    for (const folder of await namesIn(this.#root)) {
      files.push(...((await this.#all(folder, 'file')) as FileRecord[]));
      batches.push(...(await this.#batchesIn(folder)));
    }
    return { files, batches };
  }

  async removeFile(tenant: string, id: string): Promise<void> {
    await this.#found;
    const bytes = await this.sizeOf(tenant, id);
    await rm(this.#path(tenant, id, 'file'), { force: true });
    await rm(this.pathOf(tenant, id), { force: true });
    this.#shrink(tenant, bytes);
  }

  async removeBatch(tenant: string, id: string): Promise<void> {
    await rm(this.#path(tenant, id, 'batch'), { force: true });
  }

  #grow(tenant: string, bytes: number): void {
    const { bytesMax, tenantBytesMax } = this.#limits;
    const { folder } = placeOf(tenant, '');
    const own = (this.#bytes.get(folder) ?? 0) + bytes;
    if (own > tenantBytesMax || this.#allBytes + bytes > bytesMax) {
      throw full('There is no room for more files; delete some.');
    }
    this.#bytes.set(folder, own);
    this.#allBytes += bytes;
  }

  #shrink(tenant: string, bytes: number): void {
    const { folder } = placeOf(tenant, '');
    const own = Math.max(0, (this.#bytes.get(folder) ?? 0) - bytes);
    this.#allBytes = Math.max(0, this.#allBytes - bytes);
    if (own === 0) this.#bytes.delete(folder);
    else this.#bytes.set(folder, own);
  }

  /** What was begun when the gateway stopped is nobody's, unless a batch goes on with it. */
  async #takeStock(): Promise<void> {
    for (const folder of await namesIn(this.#root)) {
      const names = await namesIn(join(this.#root, folder));
      const owned = new Set(names.filter((name) => name.endsWith('.file')));
      for (const { tenant, outputId, errorId } of await this.#batchesIn(folder)) {
        for (const id of [outputId, errorId]) owned.add(`${placeOf(tenant, id).file}.file`);
      }
      for (const name of names) {
        const path = join(this.#root, folder, name);
        const isData = name.endsWith('.data');
        const isLost = isData && !owned.has(name.replace('.data', '.file'));
        if (isLost || name.endsWith(HALF_DONE)) await rm(path, { force: true });
        else if (isData) {
          const bytes = (await sizeAt(path)) ?? 0;
          this.#bytes.set(folder, (this.#bytes.get(folder) ?? 0) + bytes);
          this.#allBytes += bytes;
        }
      }
    }
  }

  async #batchesIn(folder: string): Promise<BatchRecord[]> {
    return (await this.#all(folder, 'batch')) as BatchRecord[];
  }

  async #all(folder: string, kind: Kind): Promise<unknown[]> {
    const found: unknown[] = [];
    for (const name of await namesIn(join(this.#root, folder))) {
      if (!name.endsWith(`.${kind}`)) continue;
      const record = await this.#read(join(this.#root, folder, name));
      if (record !== undefined) found.push(record);
    }
    return found;
  }

  /** Undefined where there is none, or none that can be read. */
  async #read(path: string): Promise<unknown> {
    try {
      return JSON.parse(await readFile(path, 'utf8'));
    } catch (error) {
      if (isMissing(error) || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /** At once: what was there before, or all of this. */
  async #save(tenant: string, id: string, kind: Kind, record: unknown): Promise<void> {
    const path = await this.#make(tenant, id, kind);
    await writeFile(path + HALF_DONE, JSON.stringify(record), { mode: 0o600 });
    await rename(path + HALF_DONE, path);
  }

  async #make(tenant: string, id: string, kind: Kind): Promise<string> {
    const { folder } = placeOf(tenant, '');
    await mkdir(join(this.#root, folder), { recursive: true, mode: 0o700 });
    return this.#path(tenant, id, kind);
  }

  #path(tenant: string, id: string, kind: Kind): string {
    const { folder, file } = placeOf(tenant, id);
    return join(this.#root, folder, `${file}.${kind}`);
  }
}

function full(sentence: string): GatewayError {
  return new GatewayError('queue_full', sentence);
}

async function sizeAt(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'ENOTDIR') return [];
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
