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

/** What `index.json` says of a request. */
export interface RecordedAbout {
  /** Sessions that were continued count as one. */
  session: number;
  role: 'main' | 'subagent' | 'side-call' | 'probe';
  wasServed: boolean;
}

/** Those that were sent to one of these paths; recordings of other wires are other files. */
export function recorded(...paths: string[]): Recorded[] {
  const folder = isWhole() ? wholeFolder() : 'test/fixtures/clients';
  const found = globSync([folder], '-request.json').map((file) => readRecorded(folder, file));
  return found.filter(({ path }) => paths.includes(path));
}

/** Whether all of them are there. */
export function isWhole(): boolean {
  return existsSync(wholeFolder());
}

/** By name; empty where not all of them are there. */
export function recordedAbouts(): Map<string, RecordedAbout> {
  const abouts = new Map<string, RecordedAbout>();
  for (const file of isWhole() ? globSync([wholeFolder()], 'index.json') : []) {
    const { client, sessions } = JSON.parse(readFileSync(file, 'utf8')) as RecordedIndex;
    let session = 0;
    for (const { note, requests } of sessions) {
      if (!/continue/.test(note)) session++;
      for (const { n, role, answered_with } of requests) {
        const name = `${client}/${String(n).padStart(3, '0')}-request.json`;
        abouts.set(name, { session, role, wasServed: /^(tool_calls|text)/.test(answered_with) });
      }
    }
  }
  return abouts;
}

interface RecordedIndex {
  client: string;
  sessions: {
    note: string;
    requests: { n: number; role: RecordedAbout['role']; answered_with: string }[];
  }[];
}

function wholeFolder(): string {
  return `${process.env.STATOR_SHARED ?? '/nowhere'}/clients`;
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
