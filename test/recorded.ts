/** Requests of real clients: a part of them in test/fixtures, all of them where STATOR_SHARED points. */
import { existsSync, readFileSync } from 'node:fs';
import { globSync } from './glob.ts';

export interface Recorded {
  /** `client/001-request.json`. */
  name: string;
  client: string;
  /** Without the query. */
  path: string;
  /** Lower-case names. */
  headers: Record<string, string>;
  body: Record<string, unknown>;
}

/** Those that were sent to one of these paths; recordings of other wires are other files. */
export function recorded(...paths: string[]): Recorded[] {
  const { STATOR_SHARED } = process.env;
  const whole = STATOR_SHARED === undefined ? undefined : `${STATOR_SHARED}/clients`;
  const folder = whole !== undefined && existsSync(whole) ? whole : 'test/fixtures/clients';
  const found = globSync([folder], '-request.json').map((file) => readRecorded(folder, file));
  return found.filter(({ path }) => paths.includes(path));
}

function readRecorded(folder: string, file: string): Recorded {
  const { path, headers, body } = JSON.parse(readFileSync(file, 'utf8')) as {
    path: string;
    headers: Record<string, string>;
    body: Record<string, unknown>;
  };
  const name = file.slice(folder.length + 1);
  return {
    name,
    client: name.split('/')[0],
    path: path.split('?')[0],
    headers: Object.fromEntries(
      Object.entries(headers).map(([key, value]) => [key.toLowerCase(), value]),
    ),
    body,
  };
}
