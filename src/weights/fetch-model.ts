import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { bytes as inWords } from '../base/text.ts';
import type { HubFile, HubFileFacts } from './hub.ts';
import { Hub, HubError } from './hub.ts';
import { ModelError } from './model-error.ts';

export interface FetchOptions {
  /** Made if needed (0700). */
  folder: string;
  /** See `hubEndpoint`. */
  endpoint: string;
  /** Between attempts that a cut connection makes necessary. */
  retryWaitMs: number;
  onProgress(bytes: number, bytesTotal: number): void;
  signal: AbortSignal;
}

/** Attempts in a row that bring nothing new before it gives up. */
const VAIN_ATTEMPTS_MAX = 5;

const FULL_CODES: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const DISK_CODES: ReadonlySet<string> = new Set([
  ...FULL_CODES,
  ...['EACCES', 'EPERM', 'EROFS', 'EIO', 'EISDIR', 'ENOENT', 'EMFILE'],
]);

/**
 * Fetches a file into `folder` and returns its path; at once where it is there already. It grows as
 * `<file>.part`, which a later call continues, and gets its name only once its SHA-256 is what the hub
 * states. Throws `ModelError` in one sentence; an aborted signal throws as node's own calls do.
 *
 *   <file>.part ── ranges, resumed ──► whole? ── SHA-256 ──► rename ──► <file>
 *                                                     └─ differs: removed, told
 */
export async function fetchModel(file: HubFile, options: FetchOptions): Promise<string> {
  const path = join(options.folder, file.file);
  try {
    if ((await sizeOf(path)) !== undefined) return path;
    await mkdir(options.folder, { recursive: true, mode: 0o700 });
    const release = await claim(`${path}.lock`, file.file);
    try {
      // Another process may have finished between the look and the lock.
      if ((await sizeOf(path)) === undefined) await fetchInto(path, file, options);
    } finally {
      await release();
    }
  } catch (thrown) {
    throw inOneSentence(thrown, options);
  }
  return path;
}

async function fetchInto(path: string, file: HubFile, options: FetchOptions): Promise<void> {
  const hub = new Hub(options.endpoint);
  const facts = await hub.facts(file, options.signal);
  const download = { hub, file, facts, part: `${path}.part`, options };
  await makeRoom(download);
  await fill(download);
  const sha256 = await sha256Of(download.part, options.signal);
  if (sha256 !== facts.sha256) {
    await rm(download.part, { force: true });
    throw new ModelError(
      `${file.file} arrived damaged: its SHA-256 is not what the hub states, ` +
        'so the partial file was removed; run the command again.',
    );
  }
  await rename(download.part, path);
}

interface Download {
  hub: Hub;
  file: HubFile;
  facts: HubFileFacts;
  part: string;
  options: FetchOptions;
}

async function makeRoom({ part, facts, options }: Download): Promise<void> {
  const had = (await sizeOf(part)) ?? 0;
  const usable = had <= facts.bytes;
  if (!usable) await rm(part);
  const { bavail, bsize } = await statfs(options.folder);
  const needed = facts.bytes - (usable ? had : 0);
  if (bavail * bsize >= needed) return;
  throw new ModelError(
    `${inWords(needed)} are needed in ${options.folder} and ${inWords(bavail * bsize)} are free; ` +
      'make room, or set STATOR_CACHE to another disk.',
  );
}

/** Appends until the file has all its bytes; connections may break as long as bytes still come. */
async function fill(download: Download): Promise<void> {
  const { part, facts, options } = download;
  let failure: HubError | undefined;
  let most = -1;
  let vain = 0;
  for (;;) {
    const size = (await sizeOf(part)) ?? 0;
    if (size === facts.bytes) return;
    vain = size > most ? 0 : vain + 1;
    most = Math.max(most, size);
    if (failure !== undefined && vain >= VAIN_ATTEMPTS_MAX) throw failure;
    if (failure !== undefined) await sleep(options.retryWaitMs, undefined, options);
    failure = await append(download, size);
  }
}

/** One connection's worth. Returns why it ended where another may go on, and throws otherwise. */
async function append(download: Download, size: number): Promise<HubError> {
  const { hub, file, facts, part, options } = download;
  try {
    const { start, body } = await hub.open(file, size, options.signal);
    const meter = meterFrom(start, facts.bytes, options.onProgress);
    const writer = createWriteStream(part, { flags: start === 0 ? 'w' : 'a', mode: 0o600 });
    await pipeline(body, meter, writer, { signal: options.signal });
    return hub.unreachable(new Error('the connection ended early'));
  } catch (thrown) {
    if (thrown instanceof HubError && thrown.kind === 'passing') return thrown;
    const final = options.signal.aborted || thrown instanceof ModelError || ofTheDisk(thrown);
    if (final) throw thrown;
    return hub.unreachable(thrown);
  }
}

function meterFrom(start: number, total: number, tell: FetchOptions['onProgress']): Transform {
  let bytes = start;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > total) {
        done(new ModelError(`The hub sent more than the ${total} bytes it stated; try again.`));
        return;
      }
      tell(bytes, total);
      done(null, chunk);
    },
  });
}

async function sha256Of(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash, { signal });
  return hash.digest('hex');
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw thrown;
  }
}

/** Two processes that wrote one file would spoil it: whoever holds the lock's name writes. */
async function claim(lock: string, name: string): Promise<() => Promise<void>> {
  for (;;) {
    try {
      const handle = await open(lock, 'wx', 0o600);
      await handle.writeFile(String(process.pid));
      await handle.close();
      return () => rm(lock, { force: true });
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
    }
    const holder = Number(await readFile(lock, 'utf8').catch(() => ''));
    if (holder > 0 && alive(holder)) {
      throw new ModelError(`${name} is being fetched by process ${holder}; wait until it is done.`);
    }
    await rm(lock, { force: true });
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function ofTheDisk(thrown: unknown): boolean {
  return DISK_CODES.has((thrown as NodeJS.ErrnoException).code ?? '');
}

function inOneSentence(thrown: unknown, { folder, signal }: FetchOptions): unknown {
  if (thrown instanceof ModelError || signal.aborted) return thrown;
  const { code } = thrown as NodeJS.ErrnoException;
  if (code === undefined) return thrown;
  const sentence = FULL_CODES.has(code)
    ? `The disk of ${folder} is full; make room and run the command again, it goes on where it stopped.`
    : `${folder} cannot be written (${code}); set STATOR_CACHE to a folder that can.`;
  return new ModelError(sentence, { cause: thrown });
}
