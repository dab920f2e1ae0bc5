import assert from 'node:assert/strict';
import { promises as files } from 'node:fs';
import { mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import type { FileContent, FileId, FileNews } from '../../model/step.ts';
import { bytesPerBlock, FILE_BYTES } from './block-file.ts';
import { FileStore, type OpenedFiles } from './file-store.ts';
import type { FileSystem } from './kv-folder.ts';

const LAYOUT = { key: 'ab'.repeat(16), blockTokens: 4, blockBytes: 3000 };
const BLOCKS = 5;
const FILE_SIZE = FILE_BYTES + BLOCKS * bytesPerBlock(LAYOUT);

test('what is saved is found again by the next run, block for block', async (t) => {
  const folder = await folderOf(t);
  const first = await Rig.open(folder);
  for (let file = 1; file <= 3; file++) await first.save(file);
  await first.close();
  const second = await Rig.open(folder);
  assert.deepEqual(
    second.opened.found.map(({ file }) => file),
    [1, 2, 3],
  );
  for (const { file, content } of second.opened.found) {
    assert.deepEqual(content, contentOf(file));
    assert.deepEqual(await second.load(file, [4, 0]), [blockOf(file, 4), blockOf(file, 0)]);
  }
  await second.drop(2);
  await second.close();
  const third = await Rig.open(folder);
  assert.deepEqual(third.opened.found.map(({ file }) => file).sort(), [1, 3]);
  await third.close();
});

test('whatever byte is flipped, or wherever a file is torn, it is a miss and it goes', async (t) => {
  const folder = await folderOf(t);
  const random = new Prng(5);
  for (let i = 0; i < 120; i++) {
    const rig = await Rig.open(folder);
    await rig.save(1);
    const path = await rig.pathOf(1);
    const bytes = await readFile(path);
    const at = i < 40 ? i * 2 : random.below(bytes.length);
    if (i % 3 === 0) await truncate(path, at);
    else {
      bytes[at] ^= 1 << random.below(8);
      await writeFile(path, bytes);
    }
    assert.equal(await rig.load(1, [0, 1, 2, 3, 4]), 'lost', `byte ${at}`);
    await assert.rejects(stat(path), { code: 'ENOENT' });
    await rig.close();
  }
});

test('a flipped head is not even found; files of a killed write are cleared away', async (t) => {
  const folder = await folderOf(t);
  const rig = await Rig.open(folder);
  await rig.save(1);
  await rig.save(2);
  const path = await rig.pathOf(1);
  const bytes = await readFile(path);
  bytes[80] ^= 1;
  await writeFile(path, bytes);
  const part = `${await rig.pathOf(2)}`.replace('.kv', 'x.part');
  await writeFile(part, bytes.subarray(0, 500));
  await rig.close();
  const again = await Rig.open(folder);
  assert.deepEqual(
    again.opened.found.map(({ file }) => file),
    [2],
  );
  assert.deepEqual((await readdir(again.opened.path)).length, 2);
  await again.close();
});

test('a full disk switches the tier off with one sentence, and leaves nothing half written', async (t) => {
  const folder = await folderOf(t);
  const rig = await Rig.open(folder, { fs: withQuota(2.5 * FILE_SIZE) });
  await rig.save(1);
  await rig.save(2);
  rig.store.save(3, contentOf(3), filler(3));
  rig.store.save(4, contentOf(4), filler(4));
  const off = await rig.until((news) => news.kind === 'off');
  assert.match(off.kind === 'off' ? off.reason : '', /cannot be written \(the disk is full\)/);
  rig.store.load(1, [0], assert.fail);
  rig.store.drop(1);
  await rig.close();
  assert.equal(rig.news.filter(({ kind }) => kind === 'off').length, 1);
  assert.equal(rig.news.length, 3);
  const left = await readdir(rig.opened.path);
  assert.deepEqual(
    left.filter((name) => name.endsWith('.part')),
    [],
  );
});

test('a folder that cannot be used says so in a sentence', async (t) => {
  const folder = await folderOf(t);
  for (const [code, said] of [
    ['EROFS', 'read-only'],
    ['EACCES', 'not allowed'],
    ['EIO', 'EIO'],
  ]) {
    const mkdir = () => Promise.reject(Object.assign(new Error(`${code}: broken`), { code }));
    const opening = Rig.open(folder, { fs: { ...files, mkdir } as FileSystem });
    await assert.rejects(opening, (error: Error) => {
      assert.match(error.message, /^KV is not kept on disk, because .* --disk 0\.$/);
      assert.ok(error.message.includes(said), error.message);
      return true;
    });
  }
  const inTheWay = join(folder, 'file');
  await writeFile(inTheWay, '');
  await assert.rejects(Rig.open(inTheWay), /cannot be used/);
});

test('two at once take two folders, and each finds one again', async (t) => {
  const folder = await folderOf(t);
  const [a, b] = [await Rig.open(folder), await Rig.open(folder)];
  assert.notEqual(a.opened.path, b.opened.path);
  await a.save(1);
  await b.save(1);
  assert.deepEqual(await a.load(1, [2]), [blockOf(1, 2)]);
  await a.close();
  const c = await Rig.open(folder);
  assert.equal(c.opened.path, a.opened.path);
  assert.equal(c.opened.found.length, 1);
  await Promise.all([b.close(), c.close()]);
});

test('what another model left is never read, counts, and goes where it is too much', async (t) => {
  const folder = await folderOf(t);
  const other = await Rig.open(folder, { key: 'cd'.repeat(16) });
  for (let file = 1; file <= 4; file++) await other.save(file);
  const beside = await Rig.open(folder, { bytesMax: 10 * FILE_SIZE });
  assert.deepEqual(beside.opened.found, []);
  assert.equal(beside.opened.bytesMax, 10 * FILE_SIZE, 'what another uses is its own affair');
  await Promise.all([beside.close(), other.close()]);
  const roomy = await Rig.open(folder, { bytesMax: 10 * FILE_SIZE });
  assert.ok(roomy.opened.bytesMax <= 6 * FILE_SIZE && roomy.opened.bytesMax >= 5 * FILE_SIZE);
  await roomy.close();
  const tight = await Rig.open(folder, { bytesMax: 5 * FILE_SIZE });
  assert.equal(tight.opened.bytesMax, 5 * FILE_SIZE);
  assert.ok(!(await readdir(folder)).some((name) => name.startsWith('cdcd')));
  await tight.close();
});

test('a smaller limit than before keeps the files used last', async (t) => {
  const folder = await folderOf(t);
  const rig = await Rig.open(folder);
  for (let file = 1; file <= 6; file++) {
    await rig.save(file);
    await files.utimes(await rig.pathOf(file), file, file);
  }
  await rig.close();
  const smaller = await Rig.open(folder, { bytesMax: 3.5 * FILE_SIZE });
  assert.deepEqual(
    smaller.opened.found.map(({ file }) => file),
    [4, 5, 6],
  );
  assert.equal((await readdir(smaller.opened.path)).length, 3 + 1);
  await smaller.close();
});

test('dropped while it is written, a file leaves no trace; nobody else may read what stays', async (t) => {
  const folder = await folderOf(t);
  const rig = await Rig.open(folder);
  rig.store.save(1, contentOf(1), filler(1));
  rig.store.drop(1);
  await rig.save(2);
  await rig.close();
  const names = await readdir(rig.opened.path);
  assert.equal(names.length, 2);
  if (process.platform === 'win32') return;
  for (const name of names) {
    assert.equal((await stat(join(rig.opened.path, name))).mode & 0o777, 0o600);
    assert.match(name, /^(lock|[0-9a-f]{16}-[0-9a-z]+\.kv)$/);
  }
  assert.equal((await stat(rig.opened.path)).mode & 0o777, 0o700);
});

class Rig {
  readonly news: FileNews[] = [];
  store!: FileStore;
  opened!: OpenedFiles;
  #heard: (() => void)[] = [];

  static async open(
    folder: string,
    given: { fs?: FileSystem; key?: string; bytesMax?: number } = {},
  ): Promise<Rig> {
    const rig = new Rig();
    const layout = { ...LAYOUT, key: given.key ?? LAYOUT.key };
    const settings = { folder, bytesMax: given.bytesMax ?? 1e9, fileBlocksMax: 8, layout };
    const { store, opened } = await FileStore.open(given.fs ?? files, settings, (news) => {
      rig.news.push(news);
      for (const wake of rig.#heard.splice(0)) wake();
    });
    rig.store = store;
    rig.opened = opened;
    return rig;
  }

  async save(file: FileId): Promise<void> {
    this.store.save(file, contentOf(file), filler(file));
    await this.until((news) => news.kind === 'saved' && news.file === file);
  }

  async load(file: FileId, indexes: number[]): Promise<Uint8Array[] | 'lost'> {
    this.news.length = 0;
    const blocks: Uint8Array[] = [];
    this.store.load(file, indexes, (position, block) => {
      blocks[position] = Uint8Array.from(block);
    });
    const news = await this.until(({ kind }) => kind === 'loaded' || kind === 'lost');
    if (news.kind === 'lost') assert.deepEqual(blocks, []);
    return news.kind === 'lost' ? 'lost' : blocks;
  }

  async drop(file: FileId): Promise<void> {
    const path = await this.pathOf(file);
    this.store.drop(file);
    while (
      (await open(path).then(
        (handle) => handle.close(),
        () => 'gone',
      )) !== 'gone'
    );
  }

  async pathOf(file: FileId): Promise<string> {
    const names = await readdir(this.opened.path);
    const name = names.find((one) => one.endsWith(`-${file.toString(36)}.kv`));
    return join(this.opened.path, name ?? assert.fail('the file is there'));
  }

  async until(is: (news: FileNews) => boolean): Promise<FileNews> {
    for (;;) {
      const found = this.news.find(is);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#heard.push(resolve));
    }
  }

  async close(): Promise<void> {
    await this.store.close();
  }
}

function contentOf(file: FileId): FileContent {
  return {
    parent: file === 1 ? undefined : 77n,
    hashes: BigUint64Array.from({ length: BLOCKS }, (_, i) => BigInt(file) * 1000n + BigInt(i)),
    tokens: Uint32Array.from({ length: BLOCKS * 4 }, (_, i) => file * 100 + i),
    salt: file === 2 ? 'tenänt' : '',
  };
}

function blockOf(file: FileId, index: number): Uint8Array {
  const random = new Prng(file * 10 + index);
  return Uint8Array.from({ length: LAYOUT.blockBytes }, () => random.below(256));
}

function filler(file: FileId) {
  return (index: number, target: Uint8Array) => target.set(blockOf(file, index));
}

/** A disk that holds so many bytes; a write that does not fit leaves what did. */
function withQuota(bytes: number): FileSystem {
  let left = bytes;
  const limited: FileSystem['writeFile'] = async (path, data, options) => {
    const whole = data as Buffer;
    const fits = whole.subarray(0, Math.max(0, left));
    left -= whole.length;
    await files.writeFile(path, fits, options);
    if (left < 0) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
  };
  return { ...files, writeFile: limited };
}

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'stator-kv-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
