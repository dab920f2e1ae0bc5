import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { introduction, standIn } from '../../test/engine-stand-in.ts';
import type { Config } from '../model/config.ts';
import { WallClock } from '../planes/wall-clock.ts';
import type { Note } from '../ports.ts';
import { FoundWorkers } from './found-workers.ts';
import { configOf } from './read-config.ts';

test('a worker that is found from now on, and named no more, stays who it is; so back again', async (t) => {
  const rig = await Rig.start(t);
  const [x, y] = rig.urls;
  rig.begin(`workers: [${worker(x)}]`);
  await rig.heard('up worker-1');
  rig.list('first', [x, y]);
  rig.set(`discovery: [${rig.file('first')}]`);
  await rig.heard('up worker-2');
  rig.list('second', [y]);
  rig.set(`workers: [${worker(x)}]`, `discovery: [${rig.file('second')}]`);
  rig.set(`workers: [${worker(x)}, ${worker(y)}]`);
  assert.deepEqual(rig.story, ['up worker-1', 'up worker-2']);
  rig.set(`workers: [${worker(y)}]`);
  await rig.heard('leaving worker-1');
  assert.deepEqual(rig.warnings, []);
});

test('whom one found who is not asked any more stays until others say whom they find, or for a while', async (t) => {
  const rig = await Rig.start(t);
  const [x, y] = rig.urls;
  rig.list('first', [x, y]);
  rig.begin(`discovery: [${rig.file('first')}]`);
  await rig.heard('up worker-2');
  rig.set(`discovery: [${rig.file('missing')}]`);
  await until(() => rig.warnings.length === 1);
  assert.match(rig.warnings[0], /missing cannot be read: ENOENT; those that were there last stay/);
  assert.equal(rig.story.length, 2);
  rig.list('missing', [y]);
  await rig.heard('leaving worker-1');

  rig.set(`discovery: [${rig.file('never')}]`);
  assert.equal(rig.story.length, 3);
  rig.clock.hurry();
  await rig.heard('leaving worker-2');
});

test('what cannot be asked at all changes nothing', async (t) => {
  const rig = await Rig.start(t);
  const [x] = rig.urls;
  rig.begin(`workers: [${worker(x)}]`);
  await rig.heard('up worker-1');
  const outside = () => rig.set('discovery: [{from: kubernetes, service: s}]');
  assert.throws(outside, /no pod of a Kubernetes cluster, so discovery needs server:/);
  const astray = () => rig.set('discovery: [{from: dns, name: llm, servers: [nowhere]}]');
  assert.throws(astray, /name servers nowhere is no address; one is like 10\.0\.0\.2/);
  assert.deepEqual(rig.story, ['up worker-1']);
});

test('certificates that are missing or none are named, and waited for', async (t) => {
  const rig = await Rig.start(t);
  const path = join(rig.folder, 'ca.crt');
  rig.begin(`workers: [{url: 'https://127.0.0.1:1', kind: openai, ca: '${path}'}]`);
  await until(() => rig.warnings.length === 1);
  assert.match(rig.warnings[0], /the certificates in \S+ca.crt cannot be read \(ENOENT\)/);
  writeFileSync(path, 'not one');
  rig.set(`workers: [{url: 'https://127.0.0.1:1', kind: openai, ca: '${path}', model: m}]`);
  await until(() => rig.warnings.length === 2);
  assert.match(rig.warnings[1], /there are no certificates \(PEM\) in \S+ca.crt/);
});

function worker(url: string): string {
  return `{url: '${url}', kind: openai, engineModel: gpt-5.1}`;
}

/** The machine's, but for what waits for ten seconds and longer. */
class HurriedClock extends WallClock {
  readonly #late = new Set<() => void>();

  override after(us: number, run: () => void): () => void {
    if (us < 10_000_000) return super.after(us, run);
    this.#late.add(run);
    return () => this.#late.delete(run);
  }

  hurry(): void {
    for (const run of [...this.#late]) run();
  }
}

class Rig {
  readonly clock = new HurriedClock();
  readonly urls: string[];
  readonly folder = mkdtempSync(join(tmpdir(), 'stator-found-'));
  readonly story: string[] = [];
  readonly notes: Note[] = [];
  #workers: FoundWorkers | undefined;

  static async start(t: TestContext): Promise<Rig> {
    const engines = [
      await standIn(t, introduction('openai')),
      await standIn(t, introduction('openai')),
    ];
    const rig = new Rig(engines.map(({ url }) => url));
    t.after(() => {
      rig.set('workers: []');
      rig.workers.fleet.close();
      rmSync(rig.folder, { recursive: true });
    });
    return rig;
  }

  constructor(urls: string[]) {
    this.urls = urls;
  }

  get workers(): FoundWorkers {
    return this.#workers ?? assert.fail('it has begun');
  }

  /** But for what a hosted engine always has to say. */
  get warnings(): string[] {
    const sentences = this.notes.map((note) => (note.kind === 'warning' ? note.sentence : ''));
    return sentences.filter((sentence) => !/: key:|API key/.test(sentence));
  }

  begin(...lines: string[]): void {
    const sink = { note: (note: Note) => void this.notes.push(note) };
    const world = { clock: this.clock, sink, models: new Map() };
    this.#workers = new FoundWorkers(this.#config(lines), world);
    this.#workers.fleet.watch((change) => {
      const id = change.kind === 'up' ? change.worker.id : change.worker;
      this.story.push(`${change.kind} ${id}`);
    });
  }

  set(...lines: string[]): void {
    this.workers.set(this.#config(lines));
  }

  list(name: string, urls: readonly string[]): void {
    writeFileSync(join(this.folder, name), `[${urls.map(worker).join(', ')}]`);
  }

  file(name: string): string {
    return `{from: file, path: '${join(this.folder, name)}', everyUs: 1000}`;
  }

  async heard(what: string): Promise<void> {
    await until(() => this.story.at(-1) === what);
  }

  #config(lines: readonly string[]): Config {
    return configOf(lines.join('\n'), 'stator.yaml');
  }
}

async function until(isSo: () => boolean): Promise<void> {
  const endMs = Date.now() + 20_000;
  while (!isSo()) {
    assert.ok(Date.now() < endMs, `never: ${isSo}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
