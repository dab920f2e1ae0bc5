/** Where this repository's tests keep vLLM's CPU build, and whether it is there. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheHere } from '../../src/cli/model-choice.ts';

export const REQUIREMENTS = join(import.meta.dirname, 'requirements.txt');

export type VllmInstallation =
  | { kind: 'found'; python: string }
  /** One sentence that says how to get it. */
  | { kind: 'missing'; reason: string };

/** What STATOR_VLLM_PYTHON names, else what `test/vllm/install.ts` put into the cache folder. */
export function vllmHere(): VllmInstallation {
  const named = process.env.STATOR_VLLM_PYTHON;
  if (named) {
    if (existsSync(named)) return { kind: 'found', python: named };
    return { kind: 'missing', reason: `STATOR_VLLM_PYTHON names ${named}, which does not exist` };
  }
  const { python, complete } = vllmFolder();
  if (existsSync(complete)) return { kind: 'found', python };
  return {
    kind: 'missing',
    reason: 'it needs vLLM’s CPU build; npm run test:vllm installs and runs it',
  };
}

/** Other pins lie in another folder. */
export function vllmFolder(): { folder: string; python: string; complete: string } {
  const pins = createHash('sha256').update(readFileSync(REQUIREMENTS)).digest('hex');
  const folder = join(cacheHere(), `vllm-${pins.slice(0, 12)}`);
  return {
    folder,
    python: join(folder, 'bin', 'python3'),
    complete: join(folder, 'complete'),
  };
}
