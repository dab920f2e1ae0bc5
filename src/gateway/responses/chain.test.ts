/** A chain that is made anew, of what it was added or of what it says it is, answers the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Item, ResponseObject } from '../../wire/responses-items.ts';
import { Chain } from './chain.ts';
import type { ChainRecord, ResponseRecord } from './chain-record.ts';

test('made anew of its additions or of its records, a chain tells the same', () => {
  const step = fc.record({
    kind: fc.constantFrom('continue', 'say', 'replace', 'items', 'gone', 'gone'),
    at: fc.nat(30),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), fc.boolean(), (steps, isConversation) => {
      const begun: ChainRecord = { kind: 'conversation', createdS: 0, metadata: {} };
      const added: ChainRecord[] = isConversation ? [begun] : [];
      for (const [i, { kind, at }] of steps.entries()) {
        const ids = added.flatMap((record) => namesIn(record));
        const responses = ids.filter((id) => id.startsWith('resp'));
        const some = <T>(list: T[]): T | undefined => list[at % Math.max(1, list.length)];
        if (kind === 'items') added.push({ kind, items: [itemOf(`msg_${i}`)] });
        else if (kind === 'gone') added.push({ kind, id: some(ids) ?? 'none' });
        else if (kind === 'replace') {
          const id = some(responses);
          const before = added.findLast((record) => isOf(record, id)) as ResponseRecord | undefined;
          if (before === undefined || before.inConversation) continue;
          const inConversation = isConversation && before.previous === undefined;
          const response = responseOf(before.response.id, i);
          added.push({ ...before, response, inConversation });
        } else {
          const previous = kind === 'continue' ? some(responses) : undefined;
          const isSaid = kind === 'say' && at % 2 === 0;
          added.push(turnOf(i, { previous, inConversation: isConversation && isSaid }));
        }
      }
      const chain = new Chain(added);
      const ids = added.flatMap((record) => namesIn(record));
      const expected = toldBy(chain, ids);
      assert.deepEqual(toldBy(new Chain(chain.records()), ids), expected);
      const half = Math.floor(added.length / 2);
      const resumed = new Chain(new Chain(added.slice(0, half)).records());
      for (const record of added.slice(half)) resumed.add(record);
      assert.deepEqual(toldBy(resumed, ids), expected);
    }),
    { numRuns: 300 },
  );
});

test('what was deleted is in no record any more, and the conversation keeps what was said', () => {
  const chain = new Chain([
    { kind: 'conversation', createdS: 0, metadata: {} },
    turnOf(1, { inConversation: true }),
    turnOf(2, { inConversation: true }),
    { kind: 'items', items: [itemOf('msg_x')] },
  ]);
  const items = () => chain.conversationItems().map(({ id }) => id);
  chain.add({ kind: 'gone', id: 'resp_1' });
  assert.equal(chain.response('resp_1'), undefined);
  assert.deepEqual(items(), ['in_1', 'out_1', 'in_2', 'out_2', 'msg_x']);
  chain.add({ kind: 'gone', id: 'msg_x' });
  chain.add({ kind: 'gone', id: 'in_1' });
  assert.deepEqual(items(), ['out_1', 'in_2', 'out_2']);
  const text = JSON.stringify(chain.records());
  assert.ok(!text.includes('of msg_x') && !text.includes('of in_1') && text.includes('of out_1'));
});

test('a response in a conversation goes on from what was said before it, not after', () => {
  const chain = new Chain([
    { kind: 'conversation', createdS: 0, metadata: {} },
    turnOf(1, { inConversation: true }),
    turnOf(2, { inConversation: true }),
  ]);
  chain.add(turnOf(3, { previous: 'resp_1', inConversation: false }));
  const ids = chain.historyOf('resp_3').map(({ id }) => id);
  assert.deepEqual(ids, ['in_1', 'out_1', 'in_3', 'out_3']);
  assert.ok(chain.isContinued('resp_1') && !chain.isContinued('resp_2'));
  const before = (i: number) => {
    const record = chain.response(`resp_${i}`);
    return record && chain.contextOf(record).map(({ id }) => id);
  };
  assert.deepEqual([before(1), before(2)], [[], ['in_1', 'out_1']]);
  chain.add({ kind: 'gone', id: 'in_1' });
  chain.add({ kind: 'items', items: [itemOf('in_1')] });
  assert.deepEqual(before(2), ['out_1']);
});

function toldBy(chain: Chain, ids: readonly string[]): unknown {
  return {
    isEmpty: chain.isEmpty,
    items: chain.conversationItems(),
    responses: ids.map((id) => [id, chain.response(id), historyOf(chain, id)]),
  };
}

function historyOf(chain: Chain, id: string): unknown {
  try {
    return chain.historyOf(id);
  } catch (error) {
    return (error as Error).message;
  }
}

function turnOf(
  i: number,
  { previous, inConversation }: { previous?: string | undefined; inConversation: boolean },
): ResponseRecord {
  const response = responseOf(`resp_${i}`, i);
  return { kind: 'response', response, input: [itemOf(`in_${i}`)], previous, inConversation };
}

function responseOf(id: string, i: number): ResponseObject {
  const output = [itemOf(`out_${i}`)] as unknown as ResponseObject['output'];
  return { id, object: 'response', status: 'completed', output, error: null };
}

function itemOf(id: string): Item {
  return { id, type: 'message', content: `words of ${id}` };
}

function namesIn(record: ChainRecord): string[] {
  if (record.kind === 'items') return record.items.map(({ id }) => id);
  if (record.kind !== 'response') return [];
  const { response, input } = record;
  return [response.id, ...input.map(({ id }) => id), ...response.output.map(({ id }) => id)];
}

function isOf(record: ChainRecord, id: string | undefined): boolean {
  return record.kind === 'response' && record.response.id === id;
}
