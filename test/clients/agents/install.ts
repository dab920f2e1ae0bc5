/**
 * `node --import tsx test/clients/agents/install.ts`: installs each coding agent from the registry, in a
 * folder of its own, as its lock file says. Install scripts do not run: they fetch or copy programs that
 * come as packages too. What cannot be installed leaves its reason there.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { FAVOURITES, ON_OTHER_WIRES } from './all.ts';
import { modulesOf, reasonFileOf } from './installed.ts';

const INSTALL_MS_MAX = 180_000;
const REASON_CHARACTERS_MAX = 300;

const installations = [...FAVOURITES, ...ON_OTHER_WIRES].map((agent) => agent.installation);
for (const installation of new Set(installations)) {
  const startMs = Date.now();
  const modules = modulesOf(installation);
  const reason = install(dirname(modules));
  const seconds = ((Date.now() - startMs) / 1000).toFixed(0);
  rmSync(reasonFileOf(installation), { force: true });
  if (reason !== undefined) {
    mkdirSync(modules, { recursive: true });
    writeFileSync(reasonFileOf(installation), reason);
  }
  console.log(`${installation}: ${reason ?? 'installed'} (${seconds} s)`);
}

/** Why it could not be; undefined where it was. */
function install(folder: string): string | undefined {
  const { error, status, stderr } = spawnSync(
    'npm',
    ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
    {
      cwd: folder,
      encoding: 'utf8',
      timeout: INSTALL_MS_MAX,
      // On Windows npm is a script of the shell.
      shell: process.platform === 'win32',
    },
  );
  if (error === undefined && status === 0) return undefined;
  const said = (stderr ?? '')
    .split('\n')
    .flatMap((line) => /^npm error (?!A complete log| *at )(.*)/.exec(line)?.[1] ?? [])
    .join(' ')
    .slice(0, REASON_CHARACTERS_MAX);
  return `npm install failed: ${error?.message ?? (said || `status ${status}`)}`;
}
