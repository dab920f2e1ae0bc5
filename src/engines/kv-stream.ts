/**
 * KV of one chain on its way from engine to engine: a head, then blocks from the first on, each with
 * all that is needed to trust it. Little-endian; digests are the first 16 bytes of SHA-256.
 *
 *   head   magic, version, layout (16), tokens per block, bytes per block, blocks that follow, blocks
 *          of the chain, salt bytes, root, hash of the block before the first that follows (64 bits
 *          each; where the chain begins there is none: the root), blocks before it, salt, digest of
 *          all this (16)
 *   block  hash (64 bits), token ids (4 each), KV, digest of all this (16)
 *
 * A stream that ends early, or holds a block that is not as it was sent, is good up to there.
 */
import { assert } from '../base/assert.ts';
import type { BlockHash } from '../model/block.ts';
import { digest, type FileLayout, SALT_BYTES_MAX } from './llama/block-file.ts';

export interface KvHead {
  root: BlockHash;
  salt: string;
  /** Blocks that follow, and those of the chain. */
  blockCount: number;
  chainBlocks: number;
  /** Blocks before the first that follows, and the last of them: whoever takes it has those. */
  skippedBlocks: number;
  after: BlockHash;
}

export interface KvBlock {
  hash: BlockHash;
  tokens: Uint32Array;
}

/** Consecutive blocks, and their KV one after the other. */
export interface KvWindow {
  blocks: KvBlock[];
  bytes: Uint8Array;
  /** What hinders those that should follow. */
  broken: 'torn' | 'damaged' | undefined;
}

const MAGIC = 0x584b_5453;
const VERSION = 2;
const DIGEST_BYTES = 16;
const FIXED_BYTES = 64;

/** Undefined where the salt is longer than a stream has room for. */
export function encodeHead(layout: FileLayout, head: KvHead): Uint8Array | undefined {
  const salt = Buffer.from(head.salt);
  if (salt.length > SALT_BYTES_MAX) return undefined;
  const bytes = Buffer.alloc(FIXED_BYTES + salt.length + DIGEST_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(VERSION, 4);
  bytes.write(layout.key, 8, DIGEST_BYTES, 'hex');
  bytes.writeUInt32LE(layout.blockTokens, 24);
  bytes.writeUInt32LE(layout.blockBytes, 28);
  bytes.writeUInt32LE(head.blockCount, 32);
  bytes.writeUInt32LE(head.chainBlocks, 36);
  bytes.writeUInt32LE(salt.length, 40);
  bytes.writeBigUInt64LE(head.root, 44);
  bytes.writeBigUInt64LE(head.after, 52);
  bytes.writeUInt32LE(head.skippedBlocks, 60);
  salt.copy(bytes, FIXED_BYTES);
  const end = bytes.length - DIGEST_BYTES;
  digest(bytes.subarray(0, end)).copy(bytes, end);
  return bytes;
}

/** `bytes`: the KV of these blocks, one after the other. */
export function encodeBlocks(
  { blockBytes, blockTokens }: FileLayout,
  blocks: readonly KvBlock[],
  bytes: Uint8Array,
): Uint8Array {
  assert(bytes.length === blocks.length * blockBytes, 'each block has its KV');
  const before = 8 + 4 * blockTokens;
  const each = before + blockBytes + DIGEST_BYTES;
  const frames = Buffer.allocUnsafeSlow(blocks.length * each);
  blocks.forEach(({ hash, tokens }, i) => {
    const frame = frames.subarray(i * each, (i + 1) * each);
    let at = frame.writeBigUInt64LE(hash, 0);
    for (const token of tokens) at = frame.writeUInt32LE(token, at);
    frame.set(bytes.subarray(i * blockBytes, (i + 1) * blockBytes), before);
    digest(frame.subarray(0, before + blockBytes)).copy(frame, before + blockBytes);
  });
  return frames;
}

/** Reads a stream that somebody else sent: nothing in it is believed before it was checked. */
export class KvStreamReader {
  readonly #layout: FileLayout;
  readonly #source: ByteReader;

  constructor(layout: FileLayout, bytes: AsyncIterable<Uint8Array>) {
    this.#layout = layout;
    this.#source = new ByteReader(bytes);
  }

  /** Or one sentence that says why this engine cannot use what follows. */
  async head(): Promise<KvHead | string> {
    const { key, blockTokens, blockBytes } = this.#layout;
    const fixed = Buffer.alloc(FIXED_BYTES);
    if (!(await this.#source.fill(fixed))) return 'This is no stream of KV, or its head is torn.';
    if (fixed.readUInt32LE(0) !== MAGIC) return 'This is no stream of KV.';
    if (fixed.readUInt32LE(4) !== VERSION) return 'This stream is of another version.';
    if (
      fixed.toString('hex', 8, 8 + DIGEST_BYTES) !== key ||
      fixed.readUInt32LE(24) !== blockTokens ||
      fixed.readUInt32LE(28) !== blockBytes
    ) {
      return 'This KV is of another model, or laid out in another way; this engine cannot use it.';
    }
    const saltBytes = fixed.readUInt32LE(40);
    if (saltBytes > SALT_BYTES_MAX) return 'This stream has a damaged head.';
    const rest = Buffer.alloc(saltBytes + DIGEST_BYTES);
    if (!(await this.#source.fill(rest))) return 'This stream has a torn head.';
    const salt = rest.subarray(0, saltBytes);
    if (!digest(Buffer.concat([fixed, salt])).equals(rest.subarray(saltBytes))) {
      return 'This stream has a damaged head.';
    }
    return {
      root: fixed.readBigUInt64LE(44),
      salt: salt.toString(),
      blockCount: fixed.readUInt32LE(32),
      chainBlocks: fixed.readUInt32LE(36),
      skippedBlocks: fixed.readUInt32LE(60),
      after: fixed.readBigUInt64LE(52),
    };
  }

  /** The next blocks, `count` of them unless the stream breaks off. */
  async window(count: number): Promise<KvWindow> {
    const { blockTokens, blockBytes } = this.#layout;
    const blocks: KvBlock[] = [];
    const bytes = new Uint8Array(count * blockBytes);
    const before = Buffer.alloc(8 + 4 * blockTokens);
    const sum = Buffer.alloc(DIGEST_BYTES);
    let broken: KvWindow['broken'];
    while (blocks.length < count) {
      const body = bytes.subarray(blocks.length * blockBytes, (blocks.length + 1) * blockBytes);
      const { fill } = this.#source;
      if (!((await fill(before)) && (await fill(body)) && (await fill(sum)))) broken = 'torn';
      else if (!digest(before, body).equals(sum)) broken = 'damaged';
      if (broken !== undefined) break;
      const tokens = Uint32Array.from({ length: blockTokens }, (_, i) =>
        before.readUInt32LE(8 + 4 * i),
      );
      blocks.push({ hash: before.readBigUInt64LE(0), tokens });
    }
    return { blocks, bytes: bytes.subarray(0, blocks.length * blockBytes), broken };
  }
}

/** Bytes of a stream, as many at a time as are asked for. */
class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #left: Uint8Array = new Uint8Array(0);

  constructor(bytes: AsyncIterable<Uint8Array>) {
    this.#source = bytes[Symbol.asyncIterator]();
  }

  /** False where the stream ends, or breaks off, before the target is full. */
  readonly fill = async (target: Uint8Array): Promise<boolean> => {
    let at = 0;
    while (at < target.length) {
      if (this.#left.length === 0) {
        // Whoever sent it broke off: what came before is as good as it is.
        const next = await this.#source.next().catch(() => undefined);
        if (next === undefined || next.done === true) return false;
        this.#left = next.value;
        continue;
      }
      const part = this.#left.subarray(0, target.length - at);
      target.set(part, at);
      this.#left = this.#left.subarray(part.length);
      at += part.length;
    }
    return true;
  };
}
