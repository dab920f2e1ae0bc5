import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GatewayError } from '../model/error.ts';
import { chainFields, readChain, readOutcome } from './kv-control.ts';

test('a chain crosses the wire as it was, all 64 bits of each hash', () => {
  const moved = fc.constantFrom<object>(
    {},
    { skip: 3 },
    { follow: true },
    { skip: 1, follow: true },
  );
  const hash = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  fc.assert(
    fc.property(fc.array(hash, { minLength: 1, maxLength: 20 }), moved, (some, part) => {
      const chain = { kind: 'blocks' as const, hashes: BigUint64Array.from(some), ...part };
      assert.deepEqual(readChain(JSON.parse(JSON.stringify(chainFields(chain)))), chain);
    }),
  );
  for (const salt of ['', '["tenant"]']) {
    const chain = { kind: 'thread' as const, thread: 'session/agent', salt };
    assert.deepEqual(readChain(JSON.parse(JSON.stringify(chainFields(chain)))), chain);
  }
});

test('what names no chain is refused, and the sentence names the field', () => {
  const cases: [Record<string, unknown>, RegExp][] = [
    [{}, /thread or blockHashes/],
    [{ thread: 'x', blockHashes: [] }, /one of them/],
    [{ thread: 7 }, /thread must be a string/],
    [{ thread: 'x'.repeat(1025) }, /thread is too long/],
    [{ thread: 'x', cacheSalt: 7 }, /cacheSalt/],
    [{ blockHashes: ['0123456789abcdef'], skipBlocks: -1 }, /skipBlocks/],
    [{ blockHashes: ['0123456789abcdef'], follow: 1 }, /follow/],
    [{ blockHashes: [] }, /blockHashes must not be empty/],
    [{ blockHashes: ['0123456789abcdef', '0123456789ABCDEF'] }, /blockHashes\[1\]/],
    [{ blockHashes: ['0x23456789abcdef'] }, /blockHashes\[0\]/],
    [{ blockHashes: [1] }, /16 hexadecimal digits/],
    [{ blockHashes: 'all' }, /must be a list/],
  ];
  for (const [body, sentence] of cases) {
    const isSo = (error: Error) => error instanceof GatewayError && sentence.test(error.message);
    assert.throws(() => readChain(body), isSo, JSON.stringify(body));
  }
});

test('an answer is read leniently, but an answer it must be', () => {
  assert.deepEqual(readOutcome({ answer: 'clipped', blocks: 3, tokens: 48, more: 1 }), {
    answer: 'clipped',
    blocks: 3,
    tokens: 48,
    sentence: undefined,
  });
  for (const bad of [{}, { answer: 'perhaps' }, [], null]) assert.throws(() => readOutcome(bad));
});
