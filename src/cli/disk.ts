/** The disk tier of one worker: how large by default, where, and opened. */
import { createHash } from 'node:crypto';
import { statfsSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { bytes } from '../base/text.ts';
import { bytesPerBlock, type FileLayout, SALT_BYTES_MAX } from '../engines/llama/block-file.ts';
import { fileSizes, type OpenedFiles } from '../engines/llama/file-store.ts';
import type { RunnerLlama } from '../engines/runner-llama.ts';
import type { TierSizes } from '../kernel/cache/tiers.ts';
import { DISK, type WorkerSettings } from '../model/config.ts';
import type { LoadedModel } from './load-model.ts';
import { cacheHere } from './model-choice.ts';

export interface OpenDisk extends OpenedFiles {
  sizes: NonNullable<TierSizes['disk']>;
  blockCount: number;
}

export function diskFolder(named: string | undefined): string {
  return named ?? join(cacheHere(), 'kv');
}

/** Of all workers together: a share of what is free, and never very much. */
export function diskBytesDefault(folder: string): number {
  for (let path = folder; ; path = dirname(path)) {
    try {
      const { bavail, bsize } = statfsSync(path);
      return Math.min(DISK.bytesMax, Math.floor(bavail * bsize * DISK.freeShareMax));
    } catch {
      if (dirname(path) === path) return 0; // Nothing on the way there can be asked.
    }
  }
}

/** Blocks that so many bytes of files hold. */
export function diskBlocks(settings: WorkerSettings, model: LoadedModel): number {
  return Math.floor(settings.diskBytes / bytesPerBlock(layoutOf(settings, model, '')));
}

/** Undefined where no disk is wanted; throws one sentence where it cannot be had. */
export async function openDisk(
  settings: WorkerSettings,
  model: LoadedModel,
  runner: RunnerLlama,
): Promise<OpenDisk | undefined> {
  if (settings.diskBytes === 0) return undefined;
  const layout = layoutOf(settings, model, runner.version);
  const sizes = sizesOf(layout, settings);
  const opened = await runner.openFiles({
    folder: diskFolder(settings.diskFolder),
    bytesMax: settings.diskBytes,
    fileBlocksMax: sizes.fileBlocksMax,
    layout,
  });
  if ('reason' in opened) throw new Error(opened.reason);
  const { bytesMax } = opened;
  const blockCount = Math.floor(bytesMax / sizes.blockBytes);
  return { ...opened, blockCount, sizes: { ...sizes, bytesMax } };
}

/** The same books without files: empty at every start. Throws one sentence where it is too small. */
export function modelledDisk(settings: WorkerSettings, model: LoadedModel): OpenDisk | undefined {
  if (settings.diskBytes === 0) return undefined;
  const sizes = sizesOf(layoutOf(settings, model, ''), settings);
  const { bytesMax, blockBytes } = sizes;
  const blockCount = Math.floor(bytesMax / blockBytes);
  return { path: '', bytesMax, found: [], blockCount, sizes };
}

function sizesOf(
  layout: FileLayout,
  { diskBytes: bytesMax, memoryBytes }: WorkerSettings,
): OpenDisk['sizes'] {
  const { fileBytes, blockBytes } = fileSizes(layout);
  const fitting = Math.floor(DISK.fileBytesMax / blockBytes);
  const fileBlocksMax = Math.max(1, Math.min(DISK.fileBlocksMax, fitting));
  const least = fileBytes + fileBlocksMax * blockBytes;
  if (bytesMax < least) {
    throw new Error(
      `KV is not kept on disk, because ${bytes(bytesMax)} are less than one file takes (${bytes(least)}); raise --disk, or switch it off with --disk 0.`,
    );
  }
  // What is being written lies in memory beside everything else.
  const dirtyBytes = Math.min(DISK.dirtyBytesMax, memoryBytes * DISK.dirtyShareMax);
  const dirtyBytesMax = Math.max(dirtyBytes, least);
  return {
    bytesMax,
    dirtyBytesMax,
    fileBytes,
    blockBytes,
    fileBlocksMax,
    saltBytesMax: SALT_BYTES_MAX,
  };
}

/** Equal keys mean that KV of one may be used by the other: bit for bit, where that is promised. */
export function layoutOf(settings: WorkerSettings, model: LoadedModel, engine: string): FileLayout {
  const { blockTokens, exact, exactChunkTokens } = settings;
  const blockBytes = model.info.kvBytesPerToken * blockTokens;
  const sameBits = exact ? [exactChunkTokens, cpus()[0]?.model] : [];
  const facts = [model.fingerprint, blockTokens, blockBytes, engine, ...sameBits];
  const key = createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32);
  return { key, blockTokens, blockBytes };
}
