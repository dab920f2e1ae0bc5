import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { WorkerConfig } from '../model/fleet-config.ts';
import type { Note } from '../ports.ts';
import { FileDiscovery } from './file-discovery.ts';

test('the first list counts at once, another when it was read twice the same', async (t) => {
  const rig = new Rig(t);
  rig.write('a b');
  rig.watch();
  await until(() => rig.told.length === 1);
  assert.deepEqual(rig.told, ['a b']);
  rig.write('a');
  await rig.look();
  rig.write('a b c');
  await rig.look();
  assert.equal(rig.told.length, 1, 'whoever writes it is not done');
  await rig.look();
  await rig.look();
  assert.deepEqual(rig.told, ['a b', 'a b c']);
});

test('what is wrong, gone or back as it was leaves the last list, with one sentence each', async (t) => {
  const rig = new Rig(t);
  rig.write('a');
  rig.watch();
  await until(() => rig.told.length === 1);
  rig.write('a wrong');
  for (let i = 0; i < 3; i++) await rig.look();
  rmSync(rig.path);
  for (let i = 0; i < 3; i++) await rig.look();
  rig.write('a b');
  for (let i = 0; i < 2; i++) await rig.look();
  assert.deepEqual(rig.told, ['a', 'a b']);
  const stay = 'those that were there last stay.';
  assert.deepEqual(rig.warnings, [
    `The list of workers in ${rig.path} is wrong: there is 'wrong' in it; ${stay}`,
    `The list of workers in ${rig.path} cannot be read: ENOENT; ${stay}`,
  ]);
});

test('a file that is put in place of another is seen, and so is a link that points elsewhere', async (t) => {
  const rig = new Rig(t);
  writeFileSync(`${rig.path}.1`, 'a');
  writeFileSync(`${rig.path}.2`, 'b');
  symlinkSync(`${rig.path}.1`, rig.path);
  rig.watch();
  await until(() => rig.told.length === 1);
  symlinkSync(`${rig.path}.2`, `${rig.path}.next`);
  renameSync(`${rig.path}.next`, rig.path);
  for (let i = 0; i < 2; i++) await rig.look();
  assert.deepEqual(rig.told, ['a', 'b']);
});

test('closed in mid-reading, it says nothing and looks no more', async (t) => {
  const rig = new Rig(t);
  rig.write('a');
  rig.watch();
  rig.discovery.close();
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([rig.told, rig.isDue], [[], false]);
});

class Rig {
  readonly path: string;
  readonly told: string[] = [];
  readonly notes: Note[] = [];
  readonly discovery: FileDiscovery;
  #run: (() => void) | undefined;

  constructor(t: TestContext) {
    const folder = mkdtempSync(join(tmpdir(), 'stator-list-'));
    t.after(() => rmSync(folder, { recursive: true }));
    this.path = join(folder, 'workers');
    const after = (_us: number, run: () => void) => {
      this.#run = run;
      return () => {};
    };
    this.discovery = new FileDiscovery({
      clock: { nowUs: () => 0, wallMs: () => 0, after },
      sink: { note: (note) => this.notes.push(note) },
      path: this.path,
      everyUs: 1,
      parse: (text) => {
        if (text.includes('wrong')) throw new Error("there is 'wrong' in it");
        return text.split(' ').map((name) => WorkerConfig.parse({ url: `http://${name}` }));
      },
    });
  }

  get isDue(): boolean {
    return this.#run !== undefined;
  }

  get warnings(): string[] {
    return this.notes.flatMap((note) => (note.kind === 'warning' ? [note.sentence] : []));
  }

  write(text: string): void {
    writeFileSync(this.path, text);
  }

  watch(): void {
    this.discovery.watch((found) => {
      this.told.push(found.map(({ config }) => new URL(config.url).hostname).join(' '));
    });
  }

  /** Once more; resolves when it waits again. */
  async look(): Promise<void> {
    await until(() => this.isDue);
    const run = this.#run;
    this.#run = undefined;
    run?.();
    await until(() => this.isDue);
  }
}

async function until(isSo: () => boolean): Promise<void> {
  const endMs = Date.now() + 20_000;
  while (!isSo()) {
    assert.ok(Date.now() < endMs, `never: ${isSo}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
