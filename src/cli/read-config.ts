/** Files that people write, as YAML or JSON: the gateway's configuration, and lists of workers. */
import { readFileSync } from 'node:fs';
import { loadAll, load as parseYaml } from 'js-yaml';
import { Config, parseConfig } from '../model/config.ts';
import { type WorkerConfig, WorkerList } from '../model/fleet-config.ts';
import { Complaint } from './complaint.ts';
import { whyUnreadable } from './unreadable.ts';

/** Throws a `Complaint` that names the file and each mistake in it. */
export function readConfig(path: string): Config {
  return configOf(readText(path), path);
}

/** The same of its text; throws the same. */
export function configOf(text: string, path: string): Config {
  const parsed = parseConfig(Config, documentIn(text, path) ?? {});
  if (parsed.kind === 'ok') return parsed.value;
  throw new Complaint(`The configuration ${path} is wrong: ${parsed.sentences.join('; ')}.`, 2);
}

function documentIn(text: string, path: string): unknown {
  let documents: unknown[];
  try {
    documents = loadAll(text);
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0];
    throw new Complaint(`The configuration ${path} cannot be read: ${reason}.`, 2);
  }
  if (documents.length === 1) return documents[0];
  // Taken for all defaults, a file that an editor is writing would take all workers away.
  const why =
    documents.length === 0
      ? 'is empty; write {} for all defaults'
      : 'holds several documents; join them';
  throw new Complaint(`The configuration ${path} ${why}.`, 2);
}

/** Throws a `Complaint`. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new Complaint(`The configuration ${path} ${whyUnreadable(error)}.`, 2);
  }
}

/** A list like `workers:`, alone or under that word. Throws one sentence. */
export function workersOf(text: string): WorkerConfig[] {
  const input = parseYaml(text) as unknown;
  const isNamed = typeof input === 'object' && input !== null && 'workers' in input;
  const parsed = parseConfig(WorkerList, isNamed ? input.workers : input);
  if (parsed.kind === 'ok') return parsed.value;
  throw new Error(parsed.sentences.slice(0, MISTAKES_SHOWN).join('; '));
}

const MISTAKES_SHOWN = 3;
