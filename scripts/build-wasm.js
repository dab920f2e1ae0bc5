// Builds src/tokens/block-hash.wasm from assembly/block-hash.ts where it is missing or older than its
// source. It lies beside the code that loads it, ignored by git: sources run as they are (tests,
// benches), and build.js copies it to dist/.
import { spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = 'assembly/block-hash.ts';
const BUILT = 'src/tokens/block-hash.wasm';
// Two pages hold all of its memory, and it never grows: views of it stay good.
const OPTIONS = '-O3 --converge --noAssert --runtime stub --enable simd'.split(' ');
const MEMORY = '--initialMemory 2 --maximumMemory 2'.split(' ');

const script = fileURLToPath(import.meta.url);
const root = dirname(dirname(script));
const changedMs = (file) => statSync(join(root, file)).mtimeMs;

const age = Math.max(changedMs(SOURCE), statSync(script).mtimeMs);
if (existsSync(join(root, BUILT)) && changedMs(BUILT) >= age) process.exit(0);

const asc = join(root, 'node_modules', 'assemblyscript', 'bin', 'asc.js');
if (!existsSync(asc)) {
  console.error(
    `stator: ${BUILT} was not built: its compiler is a dev dependency; run npm install without --omit=dev.`,
  );
  process.exit(1);
}
// Renamed when whole: another build, or who loads it, may be at work beside this one.
const part = `${BUILT}.${process.pid}`;
const run = spawnSync(process.execPath, [asc, SOURCE, '-o', part, ...OPTIONS, ...MEMORY], {
  cwd: root,
  stdio: 'inherit',
});
if (run.status === 0) renameSync(join(root, part), join(root, BUILT));
else rmSync(join(root, part), { force: true });
process.exit(run.status ?? 1);
