import { readdirSync, statSync } from 'node:fs';
import { basename, join, sep } from 'node:path';
import type { CatalogueEntry } from './catalogue.ts';
import { CATALOGUE } from './catalogue.ts';
import { ModelError } from './model-error.ts';

/** What `--model` meant. A catalogue entry without a path is yet to be fetched. */
export type ModelChoice =
  | { kind: 'demo' }
  | { kind: 'file'; path: string }
  | { kind: 'catalogue'; entry: CatalogueEntry; path: string | undefined };

export interface CachedModel {
  /** What `--model` takes: a catalogue name, else the file's. */
  name: string;
  path: string;
  bytes: number;
  entry: CatalogueEntry | undefined;
}

/** Fetched models lie in the cache folder's own folder, so that listing them finds nothing else. */
export function modelsFolder(cache: string): string {
  return join(cache, 'models');
}

/** Throws `ModelError`, which lists what there is, where the name means nothing. */
export function resolveModel(nameOrPath: string, cache: string): ModelChoice {
  if (nameOrPath === 'demo') return { kind: 'demo' };
  const cached = cachedModels(cache);
  const entry = CATALOGUE.find((it) => it.name === nameOrPath.toLowerCase());
  if (entry !== undefined) {
    return { kind: 'catalogue', entry, path: cached.find((it) => it.entry === entry)?.path };
  }
  if (isFile(nameOrPath)) return { kind: 'file', path: nameOrPath };
  const byFile = cached.find((it) => it.name === nameOrPath || basename(it.path) === nameOrPath);
  if (byFile !== undefined) return { kind: 'file', path: byFile.path };
  throw unknown(nameOrPath, cached);
}

/** Whole and checked files only, the latest first. */
export function cachedModels(cache: string): CachedModel[] {
  const folder = modelsFolder(cache);
  const found: { mtimeMs: number; model: CachedModel }[] = [];
  for (const file of filesIn(folder)) {
    const path = join(folder, file);
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!file.endsWith('.gguf') || !stat?.isFile()) continue;
    const entry = CATALOGUE.find((it) => it.file === file);
    const name = entry?.name ?? basename(file, '.gguf');
    found.push({ mtimeMs: stat.mtimeMs, model: { name, path, bytes: stat.size, entry } });
  }
  return found.sort((a, b) => b.mtimeMs - a.mtimeMs).map((it) => it.model);
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // Nothing was fetched yet, or it may not be read: either way nothing can be used.
    return [];
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function unknown(nameOrPath: string, cached: readonly CachedModel[]): ModelError {
  const looksLikePath = nameOrPath.endsWith('.gguf') || nameOrPath.includes(sep);
  const what = looksLikePath ? 'is no file' : 'is no model Stator knows';
  const names = ['demo', ...CATALOGUE.map((it) => it.name), ...cached.map((it) => it.name)];
  return new ModelError(
    `'${nameOrPath}' ${what}; give a GGUF file's path or one of ${[...new Set(names)].join(', ')}.`,
  );
}
