/**
 * Runs the tests: `node --import tsx test/run.ts [tidy] [unit] [e2e] [part of a file's name]`.
 * Few processes: one for all unit tests, one for each end-to-end file. Last line: the totals.
 */
import { spawn } from 'node:child_process';
import { globSync } from './glob.ts';

const SUITES: Record<string, { files: string[]; together: boolean }> = {
  tidy: { files: ['test/tidy.test.ts'], together: true },
  unit: { files: globSync(['src', 'scripts'], '.test.ts'), together: true },
  e2e: { files: globSync(['test/e2e'], '.test.ts'), together: false },
};

const words = process.argv.slice(2);
const named = words.filter((word) => word in SUITES);
const parts = words.filter((word) => !(word in SUITES));
const totals = { passed: 0, failed: 0, skipped: 0 };

for (const suite of named.length > 0 ? named : Object.keys(SUITES)) {
  const { files, together } = SUITES[suite];
  const chosen = files.filter((file) => parts.every((part) => file.includes(part)));
  if (chosen.length === 0) continue;
  for (const group of together ? [chosen] : chosen.map((file) => [file])) {
    const startMs = Date.now();
    const counts = await runGroup(group);
    totals.passed += counts.passed;
    totals.failed += counts.failed;
    totals.skipped += counts.skipped;
    const what = together ? suite : group[0];
    const seconds = ((Date.now() - startMs) / 1000).toFixed(1);
    console.log(
      `${what}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped in ${seconds} s`,
    );
  }
}
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exit(totals.failed > 0 ? 1 : 0);

/** One process that imports the files; a process that dies counts as one failure. */
function runGroup(files: string[]): Promise<typeof totals> {
  const args = ['--import', 'tsx', '--test-reporter', './test/reporter.ts', 'test/import-all.ts'];
  const child = spawn(process.execPath, [...args, ...files], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
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
      if (counts !== undefined) return resolve(counts);
      console.log(`✗ ${files[0]} … ended before its tests did (${signal ?? `exit code ${code}`})`);
      resolve({ passed: 0, failed: 1, skipped: 0 });
    });
  });
}
