import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTrtllmEvents } from './trtllm-events.ts';

const block = (hash: string, ids: readonly number[], more = '') =>
  `{"type":"stored_block","block_hash":${hash},"cache_level":0${more},"tokens":[${ids
    .map((id) => `{"type":"unique_token","token_id":${id},"token_extra_id":0}`)
    .join()}]}`;

test('what the server hands out is read; hashes keep all their digits', () => {
  const text = `[
    {"event_id":0,"data":{"type":"created","num_blocks_per_cache_level":[101,230]}},
    {"event_id":1,"data":{"type":"stored","parent_hash":null,"blocks":[
      ${block('17205911239215398433', [1, 2])},${block('-5', [3, 4])},${block('7', [5])}]}},
    {"event_id":2,"data":{"type":"updated","block_hash":7,"cache_level":{"old_value":0,"new_value":1}}},
    {"event_id":3,"data":{"type":"stored","parent_hash":17205911239215398433,"blocks":[
      ${block('8', [6, 7], ',"lora_id":3,"note":"1234567890123456789"')}]}},
    {"event_id":4,"data":{"type":"removed","block_hashes":[17205911239215398433,8]}}
  ]`;
  const first = 17_205_911_239_215_398_433n;
  const stored = { kind: 'stored', blockTokens: 2, tier: 'device' };
  assert.deepEqual(readTrtllmEvents(text, 2), [
    { number: 0, events: [{ kind: 'cleared' }] },
    {
      number: 1,
      events: [
        {
          ...stored,
          hashes: [first, 2n ** 64n - 5n],
          parent: undefined,
          tokens: Uint32Array.of(1, 2, 3, 4),
          extraKeys: [],
        },
      ],
    },
    { number: 2, events: [] },
    {
      number: 3,
      events: [
        { ...stored, hashes: [8n], parent: first, tokens: Uint32Array.of(6, 7), extraKeys: ['3'] },
      ],
    },
    {
      number: 4,
      events: [
        { kind: 'removed', hashes: [first, 8n], tier: 'device' },
        { kind: 'removed', hashes: [first, 8n], tier: 'host' },
      ],
    },
  ]);
});

test('what is no list is refused, what is not full or no token has no identity', () => {
  for (const text of [
    '{}',
    'null',
    'x',
    '[{"event_id":1,"data":{"type":"removed","block_hashes":["x"]}}]',
  ]) {
    assert.throws(() => readTrtllmEvents(text, 2), text);
  }
  for (const ids of [[1], [1, -2], [1, 2.5]]) {
    const data = `{"type":"stored","parent_hash":null,"blocks":[${block('1', ids)}]}`;
    assert.deepEqual(readTrtllmEvents(`[null,{"event_id":1,"data":${data}}]`, 2), [
      { number: 1, events: [] },
    ]);
  }
});
