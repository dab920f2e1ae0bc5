// Builds dist/: compiles src/ and assembly/, and copies what is not code. Run by `prepare`, `npm run build`, `npm test`.
// With --if-possible a missing compiler (an install without dev dependencies) is said, not an error.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');

if (!existsSync(tsc)) {
  const built = existsSync(join(root, 'dist', 'main.js'));
  console.error(
    `stator: dist/ was not ${built ? 'rebuilt' : 'built'}: the compiler is a dev dependency; run npm install without --omit=dev.`,
  );
  process.exit(process.argv.includes('--if-possible') ? 0 : 1);
}

const wasm = spawnSync(process.execPath, [join(root, 'scripts', 'build-wasm.js')], {
  stdio: 'inherit',
});
if (wasm.status !== 0) process.exit(wasm.status ?? 1);

rmSync(join(root, 'dist'), { recursive: true, force: true });
for (const project of ['tsconfig.build.json', 'src/dashboard/page/tsconfig.json']) {
  const run = spawnSync(process.execPath, [tsc, '-p', join(root, project)], { stdio: 'inherit' });
  if (run.status !== 0) process.exit(run.status ?? 1);
}
for (const asset of [
  'dashboard/page/index.html',
  'dashboard/page/style.css',
  'sim/profiles',
  'tokens/block-hash.wasm',
  'weights/demo-tokenizer.bpe',
]) {
  cpSync(join(root, 'src', asset), join(root, 'dist', asset), { recursive: true });
}
chmodSync(join(root, 'dist', 'main.js'), 0o755);
