import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LlamaSlots } from './llama-slots.ts';

test('one tenant: the server chooses, and where a thread lies is known from what it says', () => {
  const slots = new LlamaSlots(2);
  const use = { salt: '', thread: 't', ids: Uint32Array.of(1, 2, 3) };
  assert.deepEqual(slots.choose(use), { slot: undefined, cachePrompt: true });
  slots.began(undefined)({ use, tokens: 5 }, 1);
  assert.equal(slots.of('t', '')?.slot, 1);
  assert.equal(slots.of('t', 'other'), undefined);
  const other = { salt: '', thread: 'u', ids: undefined };
  slots.began(undefined)({ use: other, tokens: 9 }, 1);
  assert.equal(slots.of('t', ''), undefined);
  assert.equal(slots.free(), 0);
});

/**
 * A server as llama.cpp's is: it takes what the slot holds of a prompt, and where that is little, what its
 * host memory holds of anybody's.
 */
test('several tenants: nobody’s prompt ever takes KV of another’s, and a next turn takes its own', () => {
  const turn = fc.record({
    tenant: fc.nat(2),
    thread: fc.nat(1),
    grows: fc.integer({ min: 1, max: 60 }),
    overlaps: fc.boolean(),
    breaksOff: fc.boolean(),
  });
  let reused = 0;
  fc.assert(
    fc.property(fc.array(turn, { maxLength: 40 }), (turns) => {
      const slots = new LlamaSlots(3);
      const held: { owner: string; ids: number[] }[] = [0, 1, 2].map(() => ({
        owner: '',
        ids: [],
      }));
      const talks = new Map<string, number[]>();
      const running: (() => void)[] = [];
      for (const { tenant, thread, grows, overlaps, breaksOff } of turns) {
        const key = `${tenant} ${thread}`;
        // Everybody begins alike, so that there is something to take.
        const ids = [...(talks.get(key) ?? Array.from({ length: 40 }, (_, i) => i))];
        for (let i = 0; i < grows; i++) ids.push(1000 * (tenant + 1) + thread * 100 + i);
        talks.set(key, ids);
        const use = { salt: String(tenant), thread: key, ids: Uint32Array.from(ids) };
        const { slot, cachePrompt } = slots.choose(use);
        const end = slots.began(slot);
        const place = slot ?? 0;
        const before = held[place];
        if (slot !== undefined && cachePrompt) {
          const shared = common(before.ids, ids);
          assert.equal(before.owner, String(tenant), 'it takes what another left');
          assert.ok(
            shared >= before.ids.length / 2 && shared > ids.length / 10,
            'it looks elsewhere',
          );
          reused++;
        }
        held[place] = { owner: String(tenant), ids: [...ids, 7, 7] };
        const left = breaksOff ? undefined : { use, tokens: ids.length + 2 };
        const over = () => end(left, breaksOff ? undefined : place);
        if (overlaps) running.push(over);
        else over();
        if (running.length > 1) running.shift()?.();
      }
    }),
    { numRuns: 200 },
  );
  assert.ok(reused > 0);
});

function common(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((id, i) => id !== b[i]);
  return at < 0 ? a.length : at;
}
