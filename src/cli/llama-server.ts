/**
 * Where llama.cpp's own server lies: our benches and tests run it beside our engine. Nobody publishes it
 * in a package; `scripts/build-llama-server.ts` builds it on the libraries our engine loads.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findLibraries } from '../engines/llama/libraries.ts';
import { cacheHere } from './model-choice.ts';

export type LlamaServer =
  | { kind: 'found'; path: string }
  /** One sentence that says how to get it. */
  | { kind: 'missing'; reason: string };

/** What STATOR_LLAMA_SERVER names, else what was built for the installed libraries. */
export function llamaServerHere(): LlamaServer {
  const named = process.env.STATOR_LLAMA_SERVER;
  if (named) {
    if (existsSync(named)) return { kind: 'found', path: named };
    return { kind: 'missing', reason: `STATOR_LLAMA_SERVER names ${named}, which does not exist.` };
  }
  const build = llamaServerBuild();
  if (build.kind === 'impossible') return { kind: 'missing', reason: build.reason };
  if (existsSync(build.path)) return { kind: 'found', path: build.path };
  return {
    kind: 'missing',
    reason:
      'llama-server was not built; npm run test:llama-server builds it, or STATOR_LLAMA_SERVER names one.',
  };
}

export type LlamaServerBuild =
  | {
      kind: 'possible';
      /** Of the executable; the libraries lie beside it. */
      path: string;
      /** Folder of the libraries, and the version of their package: sources come with the same. */
      libraries: string;
      version: string;
    }
  | { kind: 'impossible'; reason: string };

/** What to build, and where it goes. */
export function llamaServerBuild(): LlamaServerBuild {
  const found = findLibraries('cpu');
  if (found.kind === 'missing') return { kind: 'impossible', reason: found.reason };
  if (process.platform !== 'linux') {
    const reason = `llama-server is built on Linux only, not on ${process.platform}.`;
    return { kind: 'impossible', reason };
  }
  const about = readFileSync(join(found.folder, '..', '..', 'package.json'), 'utf8');
  const { version } = JSON.parse(about) as { version: string };
  const folder = join(cacheHere(), `llama-server-${process.arch}-${version}`);
  return { kind: 'possible', path: join(folder, 'llama-server'), libraries: found.folder, version };
}
