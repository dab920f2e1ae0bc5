import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { NumberedBatch } from '../../wire/kv-event-log.ts';
import { BatchQueue } from './batch-queue.ts';

const HEAD_BYTES = 12;

/** Lengths of batches that are pushed; undefined takes one. */
const steps = fc.array(fc.option(fc.integer({ min: 0, max: 90 }), { nil: undefined, freq: 2 }), {
  maxLength: 300,
});

test('it is a list of batches that holds so many bytes', () => {
  const property = fc.property(steps, fc.integer({ min: 40, max: 700 }), (lengths, bytesMax) => {
    const queue = new BatchQueue({ bytesMax, pieceBytes: 80 });
    const twin: NumberedBatch[] = [];
    lengths.forEach((length, number) => {
      if (length === undefined) {
        if (twin.length > 0) queue.shift();
        twin.shift();
      } else {
        const payload = new Uint8Array(length).fill(number);
        const isTaken = queue.push({ number: number * 2 ** 33, payload });
        // What was pushed is its own from then on.
        const copy = payload.slice();
        payload.fill(255);
        if (isTaken) twin.push({ number: number * 2 ** 33, payload: copy });
        else assert.ok(bytesOf(twin) + HEAD_BYTES + length > bytesMax, 'refused for want of room');
      }
      assert.deepEqual(queue.first(), twin[0]);
      assert.equal(queue.count, twin.length);
      assert.equal(queue.bytes, bytesOf(twin));
      assert.ok(queue.bytes <= bytesMax);
    });
    while (twin.length > 0) {
      assert.deepEqual(queue.first(), twin.shift());
      queue.shift();
    }
    assert.equal(queue.first(), undefined);
  });
  fc.assert(property, { numRuns: 500 });
});

test('cleared, it takes batches as before', () => {
  const queue = new BatchQueue({ bytesMax: 1000, pieceBytes: 100 });
  for (let round = 0; round < 3; round++) {
    for (let number = 0; number < 10; number++) {
      assert.ok(queue.push({ number, payload: new Uint8Array(60).fill(number) }));
    }
    queue.shift();
    assert.deepEqual(queue.first(), { number: 1, payload: new Uint8Array(60).fill(1) });
    queue.clear();
    assert.deepEqual([queue.first(), queue.count, queue.bytes], [undefined, 0, 0]);
  }
});

test('a batch larger than all its room is refused, and others still fit', () => {
  const queue = new BatchQueue({ bytesMax: 1000, pieceBytes: 100 });
  assert.ok(!queue.push({ number: 0, payload: new Uint8Array(1000) }));
  assert.ok(queue.push({ number: 1, payload: new Uint8Array(500) }));
  assert.equal(queue.first()?.number, 1);
});

function bytesOf(batches: readonly NumberedBatch[]): number {
  return batches.reduce((bytes, { payload }) => bytes + HEAD_BYTES + payload.length, 0);
}
