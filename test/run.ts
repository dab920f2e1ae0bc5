/**
 * Runs the tests: `node --import tsx test/run.ts [tidy] [unit] [e2e] [clients] [exact] [page] [llama-server] [vllm]
 * [part of a file's name]`.
 * Few processes: two for all unit tests, one for each end-to-end file. Last line: the totals.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { llamaServerHere } from '../src/cli/llama-server.ts';
import { globSync } from './glob.ts';
import { vllmHere } from './vllm/installation.ts';

interface Suite {
  files: string[];
  /** So many at once that share the files, or one for each file, one after the other. */
  processes: number | 'each';
  /** Runs where that is there or where the suite is named; elsewhere it is skipped, with the reason. */
  needs?: { isThere: boolean; reason: string };
  /** What takes longer hangs; absent: GROUP_MS_MAX. */
  msMax?: number;
}

const SUITES: Record<string, Suite> = {
  tidy: { files: ['test/tidy.test.ts'], processes: 1 },
  unit: { files: globSync(['src', 'scripts'], '.test.ts'), processes: 2 },
  e2e: { files: globSync(['test/e2e'], '.test.ts'), processes: 'each' },
  clients: installed('clients', 'the official SDKs and coding agents'),
  exact: installed('exact', 'big vocabularies and reference tokenizers'),
  page: installed('page', 'a driver for Chromium'),
  nats: installed('nats', 'a NATS client'),
  'llama-server': {
    files: globSync(['test/llama-server'], '.test.ts'),
    processes: 'each',
    needs: {
      isThere: llamaServerHere().kind === 'found',
      reason: 'it needs llama.cpp’s own server; npm run test:llama-server builds and runs it',
    },
  },
  vllm: vllm(),
};

/** Servers take a minute to start, more beside each other. */
function vllm(): Suite {
  const here = vllmHere();
  const reason = here.kind === 'missing' ? here.reason : '';
  return {
    files: globSync(['test/vllm'], '.test.ts'),
    processes: 'each',
    needs: { isThere: here.kind === 'found', reason },
    msMax: 660_000,
  };
}

/** A suite with packages of its own, which only its npm script installs. */
function installed(name: string, what: string): Suite {
  return {
    files: globSync([`test/${name}`], '.test.ts'),
    processes: 'each',
    needs: {
      isThere: existsSync(`test/${name}/node_modules`),
      reason: `it needs ${what}; npm run test:${name} installs and runs it`,
    },
  };
}

/** All unit tests together, or one end-to-end file. */
const GROUP_MS_MAX = 300_000;

const words = process.argv.slice(2);
const named = words.filter((word) => word in SUITES);
const parts = words.filter((word) => !(word in SUITES));
const totals = { passed: 0, failed: 0, skipped: 0 };
// End-to-end files share the demo model, which takes a moment to write.
const cache = mkdtempSync(join(tmpdir(), 'stator-e2e-cache-'));
process.on('exit', () => rmSync(cache, { recursive: true, force: true }));

// Tests run the sources as they are, but for the WebAssembly that sources load.
const wasm = spawnSync(process.execPath, ['scripts/build-wasm.js'], { stdio: 'inherit' });
if (wasm.status !== 0) process.exit(1);

for (const suite of named.length > 0 ? named : Object.keys(SUITES)) {
  const { files, processes, needs, msMax = GROUP_MS_MAX } = SUITES[suite];
  const chosen = files.filter((file) => parts.every((part) => file.includes(part)));
  if (chosen.length === 0) continue;
  if (needs !== undefined && named.length === 0 && !needs.isThere) {
    for (const file of chosen) console.log(`- skipped: ${file} (${needs.reason})`);
    totals.skipped += chosen.length;
    continue;
  }
  if (processes === 'each') for (const file of chosen) await runGroups(file, [[file]], msMax);
  else await runGroups(suite, shared(chosen, Math.min(processes, chosen.length)), msMax);
}
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exit(totals.failed > 0 ? 1 : 0);

/** Runs a process for each group at the same time, and says how all of them ended. */
async function runGroups(what: string, groups: string[][], msMax: number): Promise<void> {
  const startMs = Date.now();
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const group of await Promise.all(groups.map((files) => runGroup(files, msMax)))) {
    counts.passed += group.passed;
    counts.failed += group.failed;
    counts.skipped += group.skipped;
  }
  totals.passed += counts.passed;
  totals.failed += counts.failed;
  totals.skipped += counts.skipped;
  const seconds = ((Date.now() - startMs) / 1000).toFixed(1);
  console.log(
    `${what}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped in ${seconds} s`,
  );
}

/** The files dealt out in turn. */
function shared(files: string[], groups: number): string[][] {
  return Array.from({ length: groups }, (_, i) => files.filter((_, k) => k % groups === i));
}

/** One process that imports the files; a process that dies or hangs counts as one failure. */
function runGroup(files: string[], msMax: number): Promise<typeof totals> {
  const args = ['--import', 'tsx', '--test-reporter', './test/reporter.ts', 'test/import-all.ts'];
  const child = spawn(process.execPath, [...args, ...files], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, STATOR_E2E_CACHE: cache },
  });
  // Told to end, it still takes along what it started.
  const timer = setTimeout(() => child.kill('SIGTERM'), msMax);
  let rest = '';
  let counts: typeof totals | undefined;
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('#totals ')) counts = JSON.parse(line.slice(8)) as typeof totals;
      else console.log(line);
    }
  });
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (counts !== undefined) return resolve(counts);
      console.log(`✗ ${files[0]} … ended before its tests did (${signal ?? `exit code ${code}`})`);
      resolve({ passed: 0, failed: 1, skipped: 0 });
    });
  });
}
