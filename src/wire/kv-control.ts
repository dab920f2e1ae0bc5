/**
 * KV control between gateway and worker, as JSON. A chain is `{thread, cacheSalt?}` or
 * `{blockHashes, skipBlocks?, follow?}`: 64-bit hashes from the first block on, each as 16 hexadecimal digits, because JSON's
 * numbers do not hold 64 bits.
 */
import type { BlockHash } from '../model/block.ts';
import { GatewayError } from '../model/error.ts';
import type { KvAnswer, KvChain, KvOutcome } from '../model/kv-control.ts';
import {
  type Json,
  list,
  object,
  optionalBoolean,
  optionalCount,
  optionalString,
  wrong,
} from './fields.ts';

const HASH = /^[0-9a-f]{16}$/;
const THREAD_CHARACTERS_MAX = 1024;
/** More than any context has. */
const HASHES_MAX = 1_000_000;
const ANSWERS: readonly KvAnswer[] = ['accepted', 'clipped', 'deferred', 'rejected', 'missing'];

export function readChain(body: Json): KvChain {
  const thread = optionalString(body.thread, 'thread');
  if ((thread === undefined) === (body.blockHashes === undefined)) {
    throw new GatewayError('invalid_request', 'Send thread or blockHashes, one of them.');
  }
  if (thread !== undefined) {
    if (thread.length > THREAD_CHARACTERS_MAX) throw wrong('thread', 'is too long');
    return { kind: 'thread', thread, salt: optionalString(body.cacheSalt, 'cacheSalt') ?? '' };
  }
  const hashes = list(body.blockHashes, 'blockHashes');
  if (hashes.length === 0) throw wrong('blockHashes', 'must not be empty');
  if (hashes.length > HASHES_MAX) throw wrong('blockHashes', `may hold at most ${HASHES_MAX}`);
  const skip = optionalCount(body.skipBlocks, 'skipBlocks', 0);
  const follow = optionalBoolean(body.follow, 'follow');
  return {
    kind: 'blocks',
    hashes: BigUint64Array.from(hashes, readHash),
    ...(skip !== undefined && { skip }),
    ...(follow && { follow }),
  };
}

export function chainFields(chain: KvChain): Json {
  if (chain.kind === 'blocks') {
    const { hashes, skip = 0, follow = false } = chain;
    const blockHashes = Array.from(hashes, hashText);
    return { blockHashes, ...(skip > 0 && { skipBlocks: skip }), ...(follow && { follow }) };
  }
  const { thread, salt } = chain;
  return salt === '' ? { thread } : { thread, cacheSalt: salt };
}

/** Lenient: another version may say more. */
export function readOutcome(value: unknown): KvOutcome {
  const { answer, blocks, tokens, sentence } = object(value, 'answer');
  const known = ANSWERS.find((one) => one === answer);
  if (known === undefined) {
    throw new GatewayError('engine_failed', 'The engine gave an answer that is none.');
  }
  return {
    answer: known,
    blocks: typeof blocks === 'number' ? blocks : 0,
    tokens: typeof tokens === 'number' ? tokens : 0,
    sentence: typeof sentence === 'string' ? sentence : undefined,
  };
}

export function hashText(hash: BlockHash): string {
  return hash.toString(16).padStart(16, '0');
}

function readHash(value: unknown, index: number): BlockHash {
  if (typeof value !== 'string' || !HASH.test(value)) {
    throw wrong(`blockHashes[${index}]`, 'must be 16 hexadecimal digits');
  }
  return BigInt(`0x${value}`);
}
