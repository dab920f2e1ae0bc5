/** Goldens: text a reviewer can read. `UPDATE_GOLDEN=1` writes them anew; the diff is the review. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

export function assertGolden(name: string, actual: string): void {
  const path = `test/golden/${name}`;
  if (process.env.UPDATE_GOLDEN === '1') {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, actual);
    return;
  }
  assert.ok(existsSync(path), `${path} is not there; UPDATE_GOLDEN=1 writes it`);
  assert.equal(
    actual,
    readFileSync(path, 'utf8'),
    `${path} differs; UPDATE_GOLDEN=1 writes it anew`,
  );
}
