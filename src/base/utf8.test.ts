import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Utf8Reader } from './utf8.ts';

/** Characters, halves of them, and bytes that are none. */
const bytes = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 3 }).map((text) => new TextEncoder().encode(text)),
      fc.constantFrom('é', '漢', '😀', '\ufeff').map((text) => new TextEncoder().encode(text)),
      fc.uint8Array({ maxLength: 3 }),
    ),
  )
  .map((pieces) => Uint8Array.from(pieces.flatMap((piece) => [...piece])));

test('pieces cut anywhere are the text that the whole is', () => {
  fc.assert(
    fc.property(bytes, fc.infiniteStream(fc.integer({ min: 0, max: 4 })), (all, sizes) => {
      const reader = new Utf8Reader();
      let text = '';
      for (let at = 0; at < all.length; ) {
        const size = sizes.next().value as number;
        text += reader.push(all.slice(at, at + size));
        at += size;
      }
      // What has only begun at the end is still waited for: a plain character ends it.
      text += reader.push(Uint8Array.of(0x21));
      assert.equal(text, new TextDecoder().decode(Uint8Array.from([...all, 0x21])));
    }),
    { numRuns: 1_000 },
  );
});
