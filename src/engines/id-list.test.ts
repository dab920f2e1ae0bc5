import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { jsonWithIds } from './id-list.ts';

test('any ids and any other fields are read back as they were', () => {
  const id = fc.oneof(
    fc.nat({ max: 0xffff_ffff }),
    fc.constantFrom(0, 9, 10, 99, 100, 999, 1000, 1001, 999_999, 1_000_000, 4_294_967_295),
  );
  const other = fc.dictionary(fc.constantFrom('a', 'é"', 'n'), fc.option(fc.jsonValue()));
  fc.assert(
    fc.property(fc.uniqueArray(id), other, (ids, fields) => {
      const bytes = jsonWithIds(fields, 'prompt', Uint32Array.from(ids));
      const read: unknown = JSON.parse(new TextDecoder().decode(bytes));
      assert.deepEqual(read, JSON.parse(JSON.stringify({ prompt: ids, ...fields })));
    }),
    { numRuns: 300 },
  );
});
