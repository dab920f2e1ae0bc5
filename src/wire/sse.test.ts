import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type SseEvent, SseReader, sse } from './sse.ts';

/** A line of a stream, and its end; together they are what a sender might write. */
const line = fc.oneof(
  fc.constant(''),
  fc.constant(''),
  fc.constantFrom('data', 'data:', 'data: ', 'event: ping', ': comment', 'id: 7', 'retry', 'x'),
  fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => `data: ${text}`),
  fc.constantFrom('data: 😀é漢', 'data:  two spaces', 'data: [DONE]', 'event:', 'data: a: b'),
);
const stream = fc
  .array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r')))
  .map((lines) => lines.map(([text, end]) => text.replace(/[\r\n]/g, '') + end).join(''));

test('any cutting of the bytes, even within a character, gives the same events', () => {
  fc.assert(
    fc.property(stream, fc.infiniteStream(fc.integer({ min: 1, max: 9 })), (text, sizes) => {
      const bytes = new TextEncoder().encode(text);
      const reader = new SseReader(1e6);
      const events: SseEvent[] = [];
      for (let at = 0; at < bytes.length; ) {
        const size = sizes.next().value as number;
        events.push(...reader.push(bytes.subarray(at, at + size)));
        at += size;
      }
      assert.deepEqual(events, eventsOf(text));
    }),
    { numRuns: 500 },
  );
});

/** The dumb twin: all lines first, then what the specification says of each. */
function eventsOf(text: string): SseEvent[] {
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\r|\n/);
  lines.pop(); // What is not ended is not there yet.
  const events: SseEvent[] = [];
  let data: string[] = [];
  let event: string | undefined;
  for (const text of lines) {
    if (text === '') {
      if (data.length > 0) events.push({ event, data: data.join('\n') });
      data = [];
      event = undefined;
      continue;
    }
    const [, field, value] = /^([^:]*):? ?([\s\S]*)$/.exec(text) as RegExpExecArray;
    if (field === 'data') data.push(value);
    if (field === 'event') event = value;
  }
  return events;
}

test('an event is there with the last byte of it, whatever ends its lines', () => {
  for (const end of ['\n', '\r\n', '\r']) {
    const reader = new SseReader(1000);
    const push = (text: string) => reader.push(new TextEncoder().encode(text));
    assert.deepEqual(push(`data: a${end}`), [], JSON.stringify(end));
    assert.deepEqual(push(end.slice(0, 1)), [{ event: undefined, data: 'a' }]);
    assert.deepEqual(push(`${end.slice(1)}data: b${end}${end}`), [{ event: undefined, data: 'b' }]);
  }
});

test('an event of many lines keeps them; one without data is none', () => {
  const reader = new SseReader(1000);
  const text = 'event: a\n\n: c\nevent: b\ndata: 1\ndata\ndata:2\nid: 9\n\n';
  assert.deepEqual(reader.push(new TextEncoder().encode(text)), [{ event: 'b', data: '1\n\n2' }]);
});

test('an event longer than allowed is an error, in one line or in many', () => {
  for (const piece of ['x'.repeat(100), `data: ${'x'.repeat(50)}\n`, 'data\n']) {
    const reader = new SseReader(10_000);
    const bytes = new TextEncoder().encode(piece);
    assert.throws(() => {
      for (let i = 0; i < 20_000; i++) reader.push(bytes);
    }, /too long/);
  }
});

test('what was sent before does not count against an event', () => {
  const reader = new SseReader(100);
  const bytes = new TextEncoder().encode(sse('x'.repeat(50), 'message').repeat(10));
  for (let i = 0; i < 10; i++) assert.equal(reader.push(bytes).length, 10);
});
