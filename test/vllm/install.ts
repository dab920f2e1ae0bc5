/**
 * `node --import tsx test/vllm/install.ts`: puts vLLM's CPU build into a virtual environment in the cache
 * folder, from the Python registry, as requirements.txt pins it; where it is there already it only says
 * so. About 4.5 GB, most of it GPU libraries that torch's build loads whether there is a GPU or not.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { REQUIREMENTS, vllmFolder, vllmHere } from './installation.ts';

/** vLLM's own bounds, and what all pinned packages have wheels for. */
const PYTHONS = ['python3.12', 'python3.13', 'python3.11', 'python3'];
const MINOR_MIN = 11;
const MINOR_MAX = 13;
const INSTALL_MS_MAX = 600_000;

const here = vllmHere();
if (here.kind === 'found') console.log(`vLLM is here: ${here.python}`);
else install();

function install(): void {
  const python = PYTHONS.find(isUsable);
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    refuse(`it is pinned for Linux on x86-64, not for ${process.platform} on ${process.arch}`);
  }
  if (python === undefined) refuse(`none of ${PYTHONS.join(', ')} is Python 3.11 to 3.13`);
  const { folder, python: own, complete } = vllmFolder();
  const startMs = Date.now();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(dirname(folder), { recursive: true, mode: 0o700 });
  run(python, ['-m', 'venv', folder]);
  // Byte code is written where it is needed: doing so for all of it takes longer than the download.
  const manner = ['--quiet', '--disable-pip-version-check', '--no-cache-dir', '--no-compile'];
  run(own, ['-m', 'pip', 'install', ...manner, '--no-deps', '-r', REQUIREMENTS]);
  writeFileSync(complete, '');
  console.log(`vLLM was installed in ${((Date.now() - startMs) / 1000).toFixed(0)} s: ${own}`);
}

function isUsable(python: string): boolean {
  const { status, stdout } = spawnSync(
    python,
    ['-c', 'import ensurepip, sys; print(sys.version_info.major, sys.version_info.minor)'],
    { encoding: 'utf8' },
  );
  const [major, minor] = (stdout ?? '').split(' ').map(Number);
  return status === 0 && major === 3 && minor >= MINOR_MIN && minor <= MINOR_MAX;
}

function run(command: string, args: readonly string[]): void {
  const { status } = spawnSync(command, args, { stdio: 'inherit', timeout: INSTALL_MS_MAX });
  if (status !== 0) refuse(`${command} ${args.slice(0, 3).join(' ')} did not end well`);
}

function refuse(reason: string): never {
  console.error(`vLLM cannot be installed: ${reason}.`);
  process.exit(1);
}
