/** Which model to serve: the one named, else one that was fetched before, else the demo. */
import { homedir } from 'node:os';
import { CATALOGUE } from '../weights/catalogue.ts';
import { demoModel } from '../weights/demo-model.ts';
import { fetchModel } from '../weights/fetch-model.ts';
import { cacheFolder } from '../weights/folders.ts';
import { hubEndpoint } from '../weights/hub.ts';
import { cachedModels, modelsFolder, resolveModel } from '../weights/models.ts';
import { ProgressLine } from './progress.ts';

export interface ChosenModel {
  path: string;
  /** What clients call it. */
  name: string;
  demo: boolean;
}

/** Throws one sentence where the name means nothing or the model cannot be fetched. */
export async function chooseModel(named: string | undefined): Promise<ChosenModel> {
  const cache = cacheHere();
  const cached = cachedModels(cache)[0];
  if (named === undefined && cached !== undefined) {
    return { path: cached.path, name: cached.name, demo: false };
  }
  const choice = resolveModel(named ?? 'demo', cache);
  switch (choice.kind) {
    case 'demo':
      return { path: demoModel(cache), name: 'demo', demo: true };
    case 'file':
      return { path: choice.path, name: nameOf(choice.path), demo: false };
    case 'catalogue': {
      const { entry } = choice;
      const path = choice.path ?? (await fetchNamed(entry.name));
      return { path, name: entry.name, demo: false };
    }
  }
}

/** Fetches a model of the catalogue, with progress where somebody watches. */
export async function fetchNamed(name: string): Promise<string> {
  const entry = CATALOGUE.find((one) => one.name === name);
  if (entry === undefined) throw new Error(`There is no model ${name} in the catalogue.`);
  const line = new ProgressLine();
  try {
    return await fetchModel(entry, {
      folder: modelsFolder(cacheHere()),
      endpoint: hubEndpoint(process.env),
      retryWaitMs: 2_000,
      onProgress: (bytes, total) => line.bytes(`fetching ${name}`, bytes, total),
      signal: AbortSignal.timeout(24 * 3600 * 1000),
    });
  } finally {
    line.end();
  }
}

export function cacheHere(): string {
  return cacheFolder({ env: process.env, platform: process.platform, home: homedir() });
}

function nameOf(path: string): string {
  return (path.split(/[\\/]/).pop() ?? path).replace(/\.gguf$/i, '');
}
