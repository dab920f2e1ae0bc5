import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, test } from 'node:test';
import { demoModel, demoModelBytes } from './demo-model.ts';
import { demoVocabulary } from './demo-vocabulary.ts';
import { fingerprintOf } from './fingerprint.ts';
import { readGguf } from './gguf-read.ts';
import { ModelError } from './model-error.ts';
import { modelInfo } from './model-info.ts';
import { vocabularyOf } from './vocabulary.ts';

const root = mkdtempSync(join(tmpdir(), 'stator-demo-'));
after(() => rmSync(root, { recursive: true }));

test('the same version writes the same bytes, which its name and its check know', () => {
  const bytes = demoModelBytes();
  assert.deepEqual(demoModelBytes(), bytes);
  const path = demoModel(join(root, 'cache'));
  assert.deepEqual(readFileSync(path), bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  assert.ok(basename(path).includes(sha256.slice(0, 12)), `DEMO_SHA256 is to be ${sha256}`);
});

test('what is whole is kept, what is damaged is written anew', () => {
  const folder = join(root, 'kept');
  const path = demoModel(folder);
  const { mtimeMs, ino } = statSync(path);
  assert.equal(demoModel(folder), path);
  assert.deepEqual([statSync(path).mtimeMs, statSync(path).ino], [mtimeMs, ino]);
  const whole = readFileSync(path);
  const flipped = Buffer.from(whole);
  flipped[flipped.length >> 1] ^= 1;
  for (const damaged of [flipped, whole.subarray(0, 1000), Buffer.alloc(0)]) {
    writeFileSync(path, damaged);
    assert.equal(demoModel(folder), path);
    assert.deepEqual(readFileSync(path), whole);
  }
  assert.deepEqual(readdirSync(folder), [basename(path)]);
});

test('only its owner can read it', { skip: process.platform === 'win32' && 'no modes' }, () => {
  const folder = join(root, 'a', 'b');
  const path = demoModel(folder);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
});

test('processes that start at once all end with a whole file', async () => {
  const folder = join(root, 'race');
  const url = new URL('./demo-model.ts', import.meta.url).href;
  const script = `import { demoModel } from '${url}'; demoModel(process.argv[1]);`;
  const flags = ['--import', 'tsx', '--input-type=module', '-e', script, folder];
  const start = () =>
    new Promise((resolve) => {
      spawn(process.execPath, flags, { stdio: 'inherit' }).on('exit', resolve);
    });
  assert.deepEqual(await Promise.all([start(), start(), start()]), [0, 0, 0]);
  const files = readdirSync(folder);
  assert.equal(files.length, 1);
  assert.deepEqual(readFileSync(join(folder, files[0])), demoModelBytes());
});

test('a folder that cannot be written is named with its mend', () => {
  const file = join(root, 'a-file');
  writeFileSync(file, '');
  assert.throws(
    () => demoModel(join(file, 'cache')),
    (thrown: unknown) =>
      thrown instanceof ModelError && /cannot be written .*; set STATOR_CACHE/.test(thrown.message),
  );
});

test('it reads as a small Qwen3 with a vocabulary of its own', () => {
  const gguf = readGguf(demoModel(join(root, 'cache')));
  const info = modelInfo(gguf);
  assert.equal(info.architecture, 'qwen3');
  assert.equal(info.contextTokens, 65_536);
  assert.equal(info.kvBytesPerToken, 768);
  assert.ok(info.parameters > 20e6 && info.parameters < 22e6);
  assert.deepEqual(info.blockCaching, { possible: true });
  assert.deepEqual(info.demo, { answerTokensMin: 20, answerTokensMax: 80 });
  assert.match(fingerprintOf(gguf), /^[0-9a-f]{16}$/);

  const vocabulary = vocabularyOf(gguf);
  const { tokens, kinds } = vocabulary;
  assert.equal(tokens.length, 16_384);
  assert.equal(vocabulary.preTokenizer, 'qwen2');
  assert.equal(vocabulary.algorithm, 'bpe');
  assert.equal(vocabulary.addsBegin, false);
  assert.ok(vocabulary.template?.includes('<|im_start|>'));
  const ends = vocabulary.endTokens.map((id) => tokens[id]);
  assert.deepEqual(ends, ['<|endoftext|>', '<|im_end|>']);
  const ofKind = (kind: string) => tokens.filter((_, id) => kinds[id] === kind);
  assert.deepEqual(ofKind('control'), ['<|endoftext|>', '<|im_start|>', '<|im_end|>']);
  assert.equal(ofKind('userDefined').length, 6);
  assert.equal(ofKind('normal').length, 16_375);
});

test('each merge joins two tokens that are there before it', () => {
  const { tokens, merges } = demoVocabulary();
  const known = new Set(tokens.slice(0, 256));
  for (const merge of merges) {
    const [left, right, ...rest] = merge.split(' ');
    assert.ok(known.has(left) && known.has(right) && rest.length === 0, merge);
    known.add(left + right);
  }
  assert.equal(new Set(merges).size, merges.length);
  assert.equal(new Set(tokens).size, tokens.length);
});

test('weights have mean 0 and deviation 1/√inputs', () => {
  const gguf = readGguf(demoModel(join(root, 'cache')));
  const tensor = gguf.tensors.find((it) => it.name === 'blk.0.ffn_up.weight');
  assert.ok(tensor);
  const file = readFileSync(gguf.path);
  const start = gguf.dataOffset + tensor.offset;
  const weights = dequantized(file.subarray(start, start + tensor.bytes));
  const mean = weights.reduce((sum, it) => sum + it, 0) / weights.length;
  const square = weights.reduce((sum, it) => sum + it * it, 0) / weights.length;
  const wanted = 1 / Math.sqrt(tensor.shape[0]);
  assert.ok(Math.abs(mean) < 0.01 * wanted);
  assert.ok(Math.abs(Math.sqrt(square) / wanted - 1) < 0.01);
});

/** Q8_0 as ggml states it: scale times step. */
function dequantized(blocks: Buffer): number[] {
  const weights: number[] = [];
  for (let at = 0; at < blocks.length; at += 34) {
    const half = blocks.readUInt16LE(at);
    const scale = 2 ** ((half >> 10) - 15) * (1 + (half & 0x3ff) / 1024);
    for (let i = 0; i < 32; i++) weights.push(scale * blocks.readInt8(at + 2 + i));
  }
  return weights;
}
