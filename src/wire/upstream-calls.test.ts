import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Part } from '../model/part.ts';
import { type UpstreamCall, UpstreamCalls } from './upstream-calls.ts';

interface Said {
  id: string;
  name: string;
  arguments: string;
}

test('calls that come one after the other stream as they come', () => {
  const calls = new UpstreamCalls();
  const kinds = (pieces: UpstreamCall[]) => calls.read(pieces).map(({ kind }) => kind);
  assert.deepEqual(kinds([piece({ index: 0, id: 'a', name: 'ls' })]), ['toolCall']);
  assert.deepEqual(kinds([piece({ index: 0, arguments: '{"x"' })]), ['toolArguments']);
  assert.deepEqual(kinds([piece({ index: 0, arguments: ':1}' })]), ['toolArguments']);
  assert.deepEqual(kinds([piece({ index: 1, id: 'b', name: 'ls', arguments: '{}' })]), [
    'toolCall',
    'toolArguments',
  ]);
  assert.deepEqual(calls.end(), []);
});

test('engines that name a call in every piece, or number all alike, are understood', () => {
  const named = [
    piece({ index: 0, id: 'a', name: 'ls', arguments: '{' }),
    piece({ index: 0, id: 'a', name: 'ls', arguments: '}' }),
    piece({ index: 1, id: 'b', name: 'ls', arguments: '{}' }),
  ];
  assert.deepEqual(said(named), [call('a', 'ls', '{}'), call('b', 'ls', '{}')]);
  const alike = [
    piece({ index: 0, id: 'a', name: 'ls', arguments: '{}' }),
    piece({ index: 0, id: 'b', name: 'cd', arguments: '{"to":' }),
    piece({ index: 0, arguments: '1}' }),
  ];
  assert.deepEqual(said(alike), [call('a', 'ls', '{}'), call('b', 'cd', '{"to":1}')]);
  const bare = [piece({ name: 'ls' }), piece({ arguments: '{}' }), piece({ name: 'cd' })];
  assert.deepEqual(said(bare), [call('call_0', 'ls', '{}'), call('call_1', 'cd', '')]);
});

test('however pieces of several calls are mixed, each call is told whole and in one piece of time', () => {
  const one = fc.record({ arguments: fc.dictionary(fc.string(), fc.jsonValue()) });
  fc.assert(
    fc.property(fc.array(one, { maxLength: 4 }), fc.infiniteStream(fc.nat()), (given, random) => {
      const rest = given.map((it, i) => call(`id-${i}`, `tool${i}`, JSON.stringify(it.arguments)));
      const expected = rest.map((it) => ({ ...it }));
      const pieces: UpstreamCall[] = [];
      let begun = 0;
      const draw = (below: number) => (random.next().value as number) % below;
      for (;;) {
        const open = [...rest.keys()].filter((i) => i < begun && rest[i].arguments !== '');
        if (begun < rest.length && (open.length === 0 || draw(2) === 0)) {
          const { id, name } = rest[begun];
          pieces.push(piece({ index: begun++, id, name }));
        } else if (open.length > 0) {
          const index = open[draw(open.length)];
          const size = 1 + draw(8);
          pieces.push(piece({ index, arguments: rest[index].arguments.slice(0, size) }));
          rest[index].arguments = rest[index].arguments.slice(size);
        } else break;
      }
      assert.deepEqual(said(pieces), expected);
    }),
    { numRuns: 200 },
  );
});

/** What a reader of parts makes of it: arguments belong to the call that began last. */
function said(pieces: readonly UpstreamCall[]): Said[] {
  const calls = new UpstreamCalls();
  const parts: Part[] = pieces.flatMap((it) => calls.read([it]));
  const told: Said[] = [];
  for (const part of [...parts, ...calls.end()]) {
    if (part.kind === 'toolCall') told.push(call(part.id, part.name, ''));
    else if (part.kind === 'toolArguments') {
      assert.equal(part.index, told.length - 1);
      told[told.length - 1].arguments += part.text;
    }
  }
  return told;
}

function call(id: string, name: string, text: string): Said {
  return { id, name, arguments: text };
}

function piece(given: {
  index?: number;
  id?: string;
  name?: string;
  arguments?: string;
}): UpstreamCall {
  const { index, id, ...fn } = given;
  return { index, id, function: fn };
}
