import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { CATALOGUE } from './catalogue.ts';
import { ModelError } from './model-error.ts';
import { cachedModels, modelsFolder, resolveModel } from './models.ts';

const cache = mkdtempSync(join(tmpdir(), 'stator-models-'));
after(() => rmSync(cache, { recursive: true }));

const [first] = CATALOGUE;

function put(file: string, seconds: number): string {
  const path = join(modelsFolder(cache), file);
  mkdirSync(modelsFolder(cache), { recursive: true });
  writeFileSync(path, 'four');
  utimesSync(path, seconds, seconds);
  return path;
}

test('names, paths and the demo are told apart', () => {
  assert.deepEqual(resolveModel('demo', cache), { kind: 'demo' });
  const unfetched = { kind: 'catalogue', entry: first, path: undefined };
  assert.deepEqual(resolveModel(first.name.toUpperCase(), cache), unfetched);
  const path = put(first.file, 1000);
  assert.deepEqual(resolveModel(first.name, cache), { ...unfetched, path });
  assert.deepEqual(resolveModel(path, cache), { kind: 'file', path });
  const own = put('my-own.gguf', 2000);
  assert.deepEqual(resolveModel('my-own', cache), { kind: 'file', path: own });
  assert.deepEqual(resolveModel('my-own.gguf', cache), { kind: 'file', path: own });
});

test('only whole models are listed, the latest first', () => {
  assert.deepEqual(cachedModels(join(cache, 'absent')), []);
  put(first.file, 1000);
  put('my-own.gguf', 2000);
  put(`${first.file}.part`, 3000);
  put(`${first.file}.lock`, 3000);
  const listed = cachedModels(cache).map(({ name, bytes, entry }) => ({ name, bytes, entry }));
  assert.deepEqual(listed, [
    { name: 'my-own', bytes: 4, entry: undefined },
    { name: first.name, bytes: 4, entry: first },
  ]);
});

test('what is unknown is answered with what there is', () => {
  put('my-own.gguf', 2000);
  for (const [name, words] of [
    ['gpt-5', /'gpt-5' is no model Stator knows; give .*demo, qwen3-0.6b, .*my-own\.$/],
    [join(cache, 'absent.gguf'), /is no file; give/],
    [cache, /is no file; give/],
  ] as const) {
    assert.throws(
      () => resolveModel(name, cache),
      (thrown: unknown) => thrown instanceof ModelError && words.test(thrown.message),
    );
  }
});

test('the catalogue can be told apart by name and by file', () => {
  assert.equal(new Set(CATALOGUE.map((it) => it.name)).size, CATALOGUE.length);
  assert.equal(new Set(CATALOGUE.map((it) => it.file)).size, CATALOGUE.length);
});
