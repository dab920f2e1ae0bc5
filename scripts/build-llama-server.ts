/**
 * Builds llama.cpp's own server, as it is released, on the very libraries that our engine loads, and
 * prints its path; where it was built before it only prints that. The sources are a git bundle that the
 * npm package node-llama-cpp carries. Because the libraries are not compiled again it takes about two
 * and a half minutes on two cores (measured: 2 min 43 s, 75 files; mostly the server's own twelve).
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { llamaServerBuild, llamaServerHere } from '../src/cli/llama-server.ts';

const TOOLS: Record<string, string> = {
  npm: 'npm',
  tar: 'tar',
  git: 'git',
  cmake: 'cmake',
  'c++': 'a C++ compiler (Debian: g++)',
};

const here = llamaServerHere();
console.log(here.kind === 'found' ? here.path : make());

function make(): string {
  const build = llamaServerBuild();
  if (build.kind === 'impossible') refuse(build.reason);
  const missing = Object.keys(TOOLS).filter((tool) => spawnSync(tool, ['--version']).error);
  if (missing.length > 0) {
    const needed = missing.map((tool) => TOOLS[tool]).join(' and ');
    refuse(
      `Building llama-server needs ${needed}; install that, or name one with STATOR_LLAMA_SERVER.`,
    );
  }
  const folder = mkdtempSync(join(tmpdir(), 'stator-llama-server-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const built = compile(unpack(folder, build.version), folder, build.libraries);
  put(built, build.libraries, dirname(build.path));
  return build.path;
}

/** The sources of the release that the libraries were made of. */
function unpack(folder: string, version: string): string {
  const quiet = ['--silent', '--pack-destination', folder];
  run('npm', ['pack', `node-llama-cpp@${version}`, ...quiet], folder);
  const archive = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  const bundle = 'package/llama/gitRelease.bundle';
  run('tar', ['xzf', archive ?? refuse('npm packed nothing.'), bundle], folder);
  run('git', ['-c', 'advice.detachedHead=false', 'clone', '--quiet', bundle, 'source'], folder);
  return join(folder, 'source');
}

function compile(source: string, folder: string, libraries: string): string {
  const recipe = join(import.meta.dirname, 'llama-server');
  const out = join(folder, 'build');
  const settings = [`-DLLAMA_SOURCE=${source}`, `-DLLAMA_LIBRARIES=${libraries}`];
  run('cmake', ['-S', recipe, '-B', out, ...settings], folder);
  const jobs = String(availableParallelism());
  run('cmake', ['--build', out, '--target', 'llama-server', '--parallel', jobs], folder);
  return join(out, 'bin', 'llama-server');
}

/** Moved into place whole, beside the libraries it was linked with. */
function put(executable: string, libraries: string, target: string): void {
  mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
  const aside = mkdtempSync(`${target}.`);
  copyFileSync(executable, join(aside, 'llama-server'));
  for (const name of readdirSync(libraries)) {
    if (name.endsWith('.so')) copyFileSync(join(libraries, name), join(aside, name));
  }
  run(join(aside, 'llama-server'), ['--version'], aside);
  rmSync(target, { recursive: true, force: true });
  renameSync(aside, target);
}

/** What it says is shown only where it fails. */
function run(command: string, args: readonly string[], cwd: string): void {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status === 0) return;
  const said = `${stdout ?? ''}${stderr ?? ''}`.trim().split('\n').slice(-20).join('\n');
  refuse(`${command} ${args[0]} failed${error ? ` (${error.message})` : ''}:\n${said}`);
}

function refuse(sentence: string): never {
  console.error(sentence);
  process.exit(1);
}
