/**
 * The law, as an ordinary test: which folder may import which, what the kernel may never touch, how
 * long files and functions get, and that nothing is dead.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { globSync } from './glob.ts';

/** Folder → folders it may import from, besides itself. Type imports count. */
const ARROWS: Record<string, readonly string[]> = {
  base: [],
  model: ['base'],
  ports: ['base', 'model'],
  kernel: ['base', 'model'],
  wire: ['base', 'model'],
  http: ['base', 'model', 'wire'],
  tokens: ['base', 'model', 'ports'],
  weights: ['base', 'model'],
  gateway: ['base', 'model', 'ports', 'kernel', 'wire', 'http'],
  engines: ['base', 'model', 'ports', 'wire', 'kernel/cache'],
  worker: ['base', 'model', 'ports', 'wire', 'http'],
  traces: ['base', 'model', 'ports'],
  planes: ['base', 'model', 'ports', 'wire'],
  observe: ['base', 'model', 'ports'],
  dashboard: ['base', 'model', 'ports', 'http'],
  sim: [
    'base',
    'model',
    'ports',
    'wire',
    'http',
    'kernel',
    'gateway',
    'engines',
    'planes',
    'traces',
  ],
  bench: ['base', 'model', 'ports', 'kernel', 'wire', 'tokens', 'engines', 'sim', 'traces'],
  cli: ['*'],
  main: ['cli'],
};

/** Files of a folder that only these other folders may use. */
const SIM_ENGINES = ['engines/local.ts', 'engines/runner-simulated.ts', 'engines/perf.ts'];

/** Packages, and who may import them; node:* is for everybody above the kernel. */
const LIBRARIES: Record<string, readonly string[]> = {
  commander: ['main.ts', 'cli/args.ts'],
  'js-yaml': ['cli/read-config.ts'],
  koffi: [
    'engines/llama/binding.ts',
    'engines/llama/batch-memory.ts',
    'engines/llama/folder-lock.ts',
  ],
  undici: [
    'engines/http.ts',
    'engines/event-stream.ts',
    'bench/drive.ts',
    'bench/streams/bare-pipe.ts',
    'weights/hub.ts',
  ],
  ws: ['http/web-sockets.ts'],
  zeromq: ['worker/events.ts', 'planes/zeromq.ts'],
  zod: [
    'model/agent-config.ts',
    'model/config.ts',
    'model/fleet-config.ts',
    'model/receipt.ts',
    'model/script.ts',
    'model/worker-card.ts',
  ],
};

const KERNEL_BANS: readonly [RegExp, string][] = [
  [/\basync\b|\bawait\b|\bPromise\b/, 'waits for something'],
  [/\bset(Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/, 'sets a timer'],
  [/\bDate\b|\bperformance\b|\bhrtime\b/, 'reads a clock'],
  [/Math\.random|randomUUID|\bcrypto\b/, 'draws at random'],
  [/\bconsole\b|\bprocess\b/, 'touches the process'],
];

/** Clocks and chance come in through ports; only these may make them. */
const CLOCKS = /\bDate\.now\b|\bperformance\.now\b|\bsetTimeout\b|\bsetInterval\b|Math\.random/;
const CLOCKLESS = [
  'gateway',
  'engines/local.ts',
  'engines/runner-simulated.ts',
  'sim',
  'wire',
  'base',
  'model',
];

/** Begun from outside: by a shell, as a thread or process, or by tests that simulate. */
const ENTRIES = [
  'src/main.ts',
  'src/engines/llama/thread.ts',
  'src/cli/tokenizer-thread.ts',
  'src/cli/feed-bystander.ts',
  'src/cli/feed-publisher.ts',
  'src/cli/bench-stream-process.ts',
  'src/bench/bare-loop-process.ts',
  'src/sim/fast.ts',
  'src/sim/whole.ts',
];

const LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;

const sources = globSync(['src'], '.ts').filter(
  (file) => !file.endsWith('.test.ts') && !file.endsWith('.bench.ts') && !file.endsWith('.d.ts'),
);

test('arrows point the way ARCHITECTURE.md says', () => {
  const wrong: string[] = [];
  for (const file of sources) {
    const from = folderOf(file);
    const allowed = ARROWS[from];
    if (allowed === undefined) {
      wrong.push(`${file}: ${from}/ has no arrows in tidy.test.ts`);
      continue;
    }
    for (const target of imports(file)) {
      if (!target.startsWith('src/')) continue;
      const to = folderOf(target);
      if (to === from || allowed.includes('*') || allowed.includes(to)) continue;
      if (allowed.some((path) => target.startsWith(`src/${path}/`))) continue;
      wrong.push(`${file} imports ${target}`);
    }
    if (from !== 'sim') continue;
    for (const target of imports(file)) {
      const engine = target.startsWith('src/engines/') ? target.slice(4) : undefined;
      if (engine !== undefined && !SIM_ENGINES.includes(engine))
        wrong.push(`${file} imports ${target}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('libraries stay where they were let in', () => {
  const wrong: string[] = [];
  for (const file of sources) {
    if (file.startsWith('src/dashboard/page/')) continue;
    for (const target of imports(file)) {
      if (target.startsWith('src/')) continue;
      if (target.startsWith('node:')) {
        const pure = ['kernel', 'base', 'model', 'wire'].includes(folderOf(file));
        if (pure) wrong.push(`${file} imports ${target}`);
        continue;
      }
      const users = LIBRARIES[target];
      if (!users?.includes(file.slice(4))) wrong.push(`${file} imports ${target}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('the kernel reaches no library, not even through others', () => {
  const reached = new Set<string>();
  const visit = (file: string) => {
    if (reached.has(file)) return;
    reached.add(file);
    for (const target of imports(file, { types: false })) {
      assert.ok(target.startsWith('src/'), `${file}, which the kernel reaches, imports ${target}`);
      visit(target);
    }
  };
  for (const file of sources) if (folderOf(file) === 'kernel') visit(file);
});

test('the kernel waits for nothing, reads no clock, draws no lot', () => {
  const wrong: string[] = [];
  for (const file of sources) {
    if (folderOf(file) !== 'kernel') continue;
    const code = withoutComments(file);
    for (const [pattern, what] of KERNEL_BANS)
      if (pattern.test(code)) wrong.push(`${file} ${what}`);
  }
  assert.deepEqual(wrong, []);
});

test('clocks and chance come in through ports', () => {
  const wrong = sources.filter(
    (file) =>
      CLOCKLESS.some((path) => file === `src/${path}` || file.startsWith(`src/${path}/`)) &&
      CLOCKS.test(withoutComments(file)),
  );
  assert.deepEqual(wrong, []);
});

test('files and functions stay readable', () => {
  const wrong: string[] = [];
  for (const file of globSync(['src', 'test', 'scripts'], '.ts')) {
    if (file.includes('/fixtures/')) continue;
    const lines = readFileSync(file, 'utf8').split('\n');
    if (lines.length > LINES_MAX) wrong.push(`${file} has ${lines.length} lines`);
    if (!file.endsWith('.test.ts')) wrong.push(...longFunctions(file, lines));
  }
  assert.deepEqual(wrong, []);
});

test('no file is dead', () => {
  const used = new Set<string>(ENTRIES);
  for (const file of [...sources, ...globSync(['scripts'], '.ts')]) {
    for (const target of imports(file)) used.add(target);
  }
  const dead = sources.filter((file) => !used.has(file) && !file.startsWith('src/dashboard/page/'));
  assert.deepEqual(dead, []);
});

test('each file that is not a drawer bears one name', () => {
  const drawers = sources.filter((file) => /\/(utils?|common|helpers?|types|misc)\.ts$/.test(file));
  assert.deepEqual(drawers, []);
});

test('nothing is left for later in the code', () => {
  const marked = sources.filter((file) =>
    /\b(TODO|FIXME|XXX|HACK)\b/.test(readFileSync(file, 'utf8')),
  );
  assert.deepEqual(marked, []);
});

test('documents name only files that exist', () => {
  const wrong: string[] = [];
  for (const document of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'AGENTS.md']) {
    const text = readFileSync(document, 'utf8');
    for (const [, path] of text.matchAll(/`((?:src|test|scripts|docs|bench)\/[\w./-]+)`/g)) {
      if (!existsSync(path)) wrong.push(`${document}: ${path}`);
    }
  }
  assert.deepEqual(wrong, []);
});

function folderOf(file: string): string {
  const [, folder] = file.split('/');
  return folder.replace(/\.ts$/, '');
}

/** Files of ours (from the root) and packages that the file imports, statically or not. */
function imports(file: string, { types } = { types: true }): string[] {
  const text = withoutComments(file);
  const found: string[] = [];
  const pattern =
    /(?:^|\n)\s*(?:import|export)\s+(type\s)?[^;'"]*?\bfrom\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)|(?:^|\n)import\s+'([^']+)'/g;
  for (const [, type, named, dynamic, bare] of text.matchAll(pattern)) {
    if (type !== undefined && !types) continue;
    const target = named ?? dynamic ?? bare;
    found.push(target.startsWith('.') ? normalize(join(dirname(file), target)) : target);
  }
  return found;
}

function withoutComments(file: string): string {
  return readFileSync(file, 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|[^:'"`])\/\/.*$/gm, '$1');
}

/** Functions and methods by indentation: from a line that opens one to the line that closes it. */
function longFunctions(file: string, lines: readonly string[]): string[] {
  const long: string[] = [];
  const opening =
    /^(\s*)(?:export |async |static |private |get |function\b|\*?#?[\w$]+\(|#?[\w$]+<)[^=;]*\{$/;
  lines.forEach((line, start) => {
    const match = opening.exec(line);
    if (match === null || /\b(class|interface|type|switch|if|for|while)\b/.test(line.split('(')[0]))
      return;
    const end = lines.findIndex((other, i) => i > start && other === `${match[1]}}`);
    if (end - start > FUNCTION_LINES_MAX)
      long.push(`${file}:${start + 1} is ${end - start} lines long`);
  });
  return long;
}
