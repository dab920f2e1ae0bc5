/** KV events to send, and a wait for what comes of them, for tests of whoever carries them. */
import assert from 'node:assert/strict';
import type { KvEvent } from '../src/model/block.ts';

/** One block of equal tokens, named by its number. */
export function stored(number: number, blockTokens: number): KvEvent {
  return {
    kind: 'stored',
    hashes: [BigInt(number)],
    parent: undefined,
    tokens: Uint32Array.from({ length: blockTokens }, () => number),
    blockTokens,
    tier: 'device',
    extraKeys: [],
  };
}

export async function until(
  done: () => boolean,
  meanwhile: () => unknown = () => {},
): Promise<void> {
  for (let i = 0; !done(); i++) {
    assert.ok(i < 4000, 'it happens at last');
    await meanwhile();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
