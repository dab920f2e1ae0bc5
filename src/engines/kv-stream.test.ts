import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeBlocks, encodeHead, type KvBlock, KvStreamReader } from './kv-stream.ts';

const LAYOUT = { key: '00112233445566778899aabbccddeeff', blockTokens: 4, blockBytes: 37 };
const OTHERS = [
  { ...LAYOUT, key: 'ff112233445566778899aabbccddeeff' },
  { ...LAYOUT, blockTokens: 5 },
  { ...LAYOUT, blockBytes: 38 },
];
const FRAME = 8 + 4 * LAYOUT.blockTokens + LAYOUT.blockBytes + 16;

const chain = fc.record({
  root: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  salt: fc.string({ maxLength: 40 }),
  count: fc.integer({ min: 1, max: 9 }),
  seed: fc.integer({ min: 0, max: 255 }),
});
type Chain = typeof chain extends fc.Arbitrary<infer T> ? T : never;

test('what was sent arrives, however it is cut', async () => {
  await fc.assert(
    fc.asyncProperty(chain, fc.array(fc.nat({ max: 200 })), async (given, cuts) => {
      const { blocks, bytes, stream } = encoded(given);
      const read = await readAll(inPieces(stream, cuts), 3);
      const { root, salt, count } = given;
      assert.deepEqual(read.head, headOf({ root, salt, count }));
      assert.deepEqual(read.blocks, blocks);
      assert.deepEqual(read.bytes, bytes);
      assert.equal(read.broken, undefined);
    }),
    { numRuns: 100 },
  );
});

test('a stream that is cut or has a flipped bit is good up to there, and no further', async () => {
  await fc.assert(
    fc.asyncProperty(chain, fc.nat(), fc.boolean(), async (given, where, isCut) => {
      const { blocks, bytes, stream } = encoded(given);
      const at = where % stream.length;
      const bad = isCut ? stream.subarray(0, at) : Buffer.from(stream);
      if (!isCut) bad[at] ^= 1 << (where % 8);
      const read = await readAll(inPieces(bad, [50, 1, 99]), 4);
      const headBytes = stream.length - given.count * FRAME;
      if (at < headBytes) return assert.equal(typeof read.head, 'string');
      const good = Math.floor((at - headBytes) / FRAME);
      assert.deepEqual(read.blocks, blocks.slice(0, good));
      assert.deepEqual(read.bytes, bytes.subarray(0, good * LAYOUT.blockBytes));
      assert.equal(read.broken, isCut ? 'torn' : 'damaged');
    }),
    { numRuns: 200 },
  );
});

test('a stream that breaks off with an error is as good as one that ends there', async () => {
  const { stream, blocks } = encoded({ root: 1n, salt: '', count: 5, seed: 1 });
  const end = stream.length - 2 * FRAME + 3;
  const breaks = async function* () {
    yield stream.subarray(0, end);
    throw new Error('the other side is gone');
  };
  const read = await readAll(breaks(), 2);
  assert.deepEqual(read.blocks, blocks.slice(0, 3));
  assert.equal(read.broken, 'torn');
});

test('KV of another layout is refused, and a salt that does not fit is not sent', async () => {
  const { stream } = encoded({ root: 1n, salt: 'x', count: 1, seed: 1 });
  for (const other of OTHERS) {
    assert.match(String(await new KvStreamReader(other, inPieces(stream, [])).head()), /another/);
  }
  const head = headOf({ root: 1n, salt: '日'.repeat(86), count: 1 });
  assert.equal(encodeHead(LAYOUT, head), undefined);
});

function encoded({ root, salt, count, seed }: Chain) {
  const { blockTokens, blockBytes } = LAYOUT;
  const blocks: KvBlock[] = Array.from({ length: count }, (_, i) => ({
    hash: BigInt.asUintN(64, BigInt(seed * 1000 + i) * 0x9e3779b97f4a7c15n),
    tokens: Uint32Array.from({ length: blockTokens }, (_, j) => seed + 100 * i + j),
  }));
  const bytes = Uint8Array.from({ length: count * blockBytes }, (_, i) => seed + 7 * i);
  const head = encodeHead(LAYOUT, headOf({ root, salt, count }));
  assert.ok(head !== undefined);
  return { blocks, bytes, stream: Buffer.concat([head, encodeBlocks(LAYOUT, blocks, bytes)]) };
}

function headOf({ root, salt, count }: { root: bigint; salt: string; count: number }) {
  const counts = { blockCount: count, chainBlocks: count + 5, skippedBlocks: 3 };
  return { root, salt, ...counts, after: BigInt.asUintN(64, root * 7n + 1n) };
}

async function* inPieces(stream: Buffer, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const cut of cuts) {
    yield stream.subarray(at, at + cut);
    at += cut;
  }
  yield stream.subarray(at);
}

async function readAll(stream: AsyncIterable<Uint8Array>, windowBlocks: number) {
  const reader = new KvStreamReader(LAYOUT, stream);
  const head = await reader.head();
  const blocks: KvBlock[] = [];
  const bytes: Uint8Array[] = [];
  let broken: string | undefined;
  const count = typeof head === 'string' ? 0 : head.blockCount;
  while (broken === undefined && blocks.length < count) {
    const window = await reader.window(Math.min(windowBlocks, count - blocks.length));
    blocks.push(...window.blocks);
    bytes.push(window.bytes);
    broken = window.broken;
  }
  return { head, blocks, bytes: new Uint8Array(Buffer.concat(bytes)), broken };
}
