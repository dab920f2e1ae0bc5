/** Batches as a real vLLM (0.32, CPU build) repeated them: test/fixtures/engines/README.md says how. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FEED_SETTINGS } from '../../sim/scene.ts';
import { ChainHasher } from '../../tokens/block-hash.ts';
import { KvEventReader, type StoredBlocks } from '../../wire/kv-event-reader.ts';
import { BlockNames } from './block-names.ts';

const BLOCK = 32;
const hasher = new ChainHasher({ fingerprint: 'f', blockTokens: BLOCK });

test('each batch is read whole; blocks get the hashes that the same tokens have as one prompt', () => {
  const names = new BlockNames(hasher, FEED_SETTINGS);
  const chains = new Map<string, number[]>();
  let checked = 0;
  for (const { payload } of batches()) {
    new KvEventReader().read(
      payload,
      ({ rank, atS }) => assert.ok(rank === 0 && (atS ?? 0) > 1.7e9),
      {
        stored: (event) => {
          const ids = extended(chains, event);
          const naming = names.stored(event);
          assert.ok(naming.kind === 'named');
          const wanted = hasher.blocks(hasher.root(saltOf(event)), Uint32Array.from(ids));
          const told = naming.runs.flatMap(({ hashes }) => [...hashes]);
          assert.deepEqual(told, [...wanted].slice(-event.count));
          checked += event.count;
        },
        removed: (event) => void names.removed(event),
        cleared: () => names.clear(),
        skipped: (why) => assert.fail(why),
      },
    );
  }
  assert.ok(checked > 100, `${checked} blocks`);
});

test('an answer to a replay is numbered from the first batch on, and ends', () => {
  const numbers = batches().map(({ number }) => number);
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => i),
  );
  const last = frames().at(-1);
  assert.equal(last?.[1].readBigInt64BE(), -1n);
});

/** Tokens of the chain up to and with the event's blocks, by the engine's own names. */
function extended(chains: Map<string, number[]>, event: StoredBlocks): number[] {
  const name = (words: Uint32Array, i: number) => `${words[2 * i]} ${words[2 * i + 1]}`;
  const before = event.parent === undefined ? [] : chains.get(name(event.parent, 0));
  assert.ok(before !== undefined, 'a parent is told of before');
  const ids = [...before, ...event.tokens];
  for (let i = 0; i < event.count; i++) {
    chains.set(name(event.names, i), ids.slice(0, before.length + (i + 1) * BLOCK));
  }
  return ids;
}

function saltOf({ keys }: StoredBlocks): string {
  return keys?.[0] ?? '';
}

function batches(): { number: number; payload: Buffer }[] {
  return frames()
    .slice(0, -1)
    .map(([, sequence, payload]) => ({ number: Number(sequence.readBigInt64BE()), payload }));
}

/** Topic, number and payload. */
function frames(): Buffer[][] {
  const text = readFileSync('test/fixtures/engines/vllm/replay.json', 'utf8');
  return (JSON.parse(text) as string[][]).map((message) =>
    message.map((frame) => Buffer.from(frame, 'base64')),
  );
}
