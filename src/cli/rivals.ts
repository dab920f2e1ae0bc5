/** Public libraries to measure beside: taken where they are installed, never needed. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Where they may be: beside whoever measures, or with this repository's own exact tests. */
const PLACES = [process.cwd(), ROOT, join(ROOT, 'test', 'exact')];

/** The package, or undefined where it is not installed or does not load. */
export function rival<T>(name: string): T | undefined {
  for (const place of PLACES) {
    try {
      return createRequire(join(place, 'package.json'))(name) as T;
    } catch {
      // Looked for in the next place.
    }
  }
  return undefined;
}

/** A file of an installed package, also one that it does not export. */
export function rivalFile(name: string, file: string): string | undefined {
  return PLACES.map((place) => join(place, 'node_modules', name, file)).find((path) =>
    existsSync(path),
  );
}
