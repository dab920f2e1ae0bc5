/** Which coding agents lie here, and why the others do not. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CodingAgent } from './coding-agent.ts';

export type Installed =
  | { kind: 'installed'; modules: string; version: string }
  | { kind: 'missing'; reason: string };

/** Where an agent's packages lie; `install.ts` puts them there. */
export function modulesOf(installation: string): string {
  return join(import.meta.dirname, installation, 'node_modules');
}

/** Holds, in one line, why nothing was installed. */
export function reasonFileOf(installation: string): string {
  return join(modulesOf(installation), '.not-installed');
}

export function installed(agent: CodingAgent): Installed {
  const modules = modulesOf(agent.installation);
  const reasonFile = reasonFileOf(agent.installation);
  if (existsSync(reasonFile)) {
    return { kind: 'missing', reason: readFileSync(reasonFile, 'utf8') };
  }
  const manifest = join(modules, agent.package, 'package.json');
  if (!existsSync(manifest)) {
    return { kind: 'missing', reason: 'it is not installed; npm run test:clients does that' };
  }
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
  const file = agent.program(modules).at(-1) ?? '';
  if (existsSync(file)) return { kind: 'installed', modules, version };
  return { kind: 'missing', reason: `${version} has no program for this platform` };
}
