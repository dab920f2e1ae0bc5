/** Runs a coding agent once, in an environment of its own, and leaves no process behind. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { procFile, until } from '../../e2e/stack.ts';
import type { CodingAgent, Place } from './coding-agent.ts';

const RUN_MS_MAX = 90_000;
const OUTPUT_CHARACTERS_MAX = 1_000_000;
const MARK = 'STATOR_CLIENT_RUN';

export interface AgentRun {
  /** Null where it had to be ended. */
  code: number | null;
  stdout: string;
  stderr: string;
  seconds: number;
}

const running = new Set<() => void>();
process.on('exit', () => {
  for (const end of running) end();
});

export async function runAgent(
  agent: CodingAgent,
  given: { modules: string; prompt: string; place: Place; outside: Record<string, string> },
): Promise<AgentRun> {
  const { modules, prompt, place, outside } = given;
  for (const [name, content] of Object.entries(agent.files(place))) {
    const path = join(place.home, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  const mark = randomUUID();
  const [program, ...leading] = agent.program(modules);
  const startMs = Date.now();
  // Nothing of whoever runs the tests: no keys, no settings.
  const child = spawn(program, [...leading, ...agent.arguments(prompt, place)], {
    cwd: place.folder,
    env: {
      PATH: process.env.PATH,
      HOME: place.home,
      USERPROFILE: place.home,
      TMPDIR: place.home,
      LANG: 'C.UTF-8',
      TERM: 'dumb',
      [MARK]: mark,
      ...outside,
      ...agent.environment(place),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const end = () => endAll(child.pid, mark);
  running.add(end);
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] = (said[name] + text).slice(-OUTPUT_CHARACTERS_MAX);
    });
  }
  const timer = setTimeout(end, RUN_MS_MAX);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', resolve);
  }).finally(() => clearTimeout(timer));
  const seconds = (Date.now() - startMs) / 1000;
  end();
  await until(`nothing that ${agent.name} started runs`, () => marked(mark).length === 0);
  running.delete(end);
  return { code, ...said, seconds };
}

/** The process, its group, and whoever left the group. */
function endAll(pid: number | undefined, mark: string): void {
  for (const target of [pid === undefined ? [] : [-pid], marked(mark)].flat()) {
    try {
      process.kill(target, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}

/** Linux: processes whose environment holds the mark. */
function marked(mark: string): number[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => procFile(pid, 'environ').includes(`${MARK}=${mark}`));
}
