/** On a terminal, the first start asks once whether to fetch a real model, and says what it would be like. */
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { bytes, thousands } from '../base/text.ts';
import type { WorkerCard } from '../model/worker-card.ts';
import { CATALOGUE, type CatalogueEntry } from '../weights/catalogue.ts';
import { cacheHere, fetchNamed } from './model-choice.ts';

/** A coding agent's first prompt: tools, rules, the repository's outline. */
const FIRST_PROMPT_TOKENS = 15_000;

/** Resolves to whether a model was fetched. Asks nobody twice, and nobody who is not there. */
export async function offerModel(demo: WorkerCard): Promise<boolean> {
  if (process.stdin.isTTY !== true || process.stdout.isTTY !== true) return false;
  if (!isFirst()) return false;
  const [entry] = CATALOGUE;
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  // A terminal that is read line by line keeps Ctrl-C to itself.
  terminal.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
  let answer: string;
  try {
    answer = await terminal.question(question(entry, demo));
  } catch {
    return false; // Ctrl-D: no answer is an answer.
  } finally {
    terminal.close();
  }
  if (!/^y(es)?$/i.test(answer.trim())) return false;
  try {
    await fetchNamed(entry.name);
    return true;
  } catch (error) {
    process.stdout.write(`${(error as Error).message} The demo goes on.\n`);
    return false;
  }
}

export function question(entry: CatalogueEntry, demo: WorkerCard): string {
  const seconds = Math.ceil(firstPromptUs(entry, demo) / 1e6);
  const time = seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} minutes`;
  return `Fetch ${entry.name} (${bytes(entry.bytes)}, ${entry.licence}: ${entry.line})?\nHere its first answer to a prompt of ${thousands(FIRST_PROMPT_TOKENS)} tokens would take about ${time}; later turns compute only what is new. [y/N] `;
}

/** What the demo was measured to take, by the number of weights each token meets. */
function firstPromptUs(entry: CatalogueEntry, { model, pace }: WorkerCard): number {
  return (FIRST_PROMPT_TOKENS * pace.perTokenUs * entry.parameters) / model.parameters;
}

function isFirst(): boolean {
  const marker = join(cacheHere(), 'offered');
  if (existsSync(marker)) return false;
  mkdirSync(cacheHere(), { recursive: true, mode: 0o700 });
  closeSync(openSync(marker, 'w', 0o600));
  return true;
}
