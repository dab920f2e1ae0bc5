import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Dispatcher } from 'undici';
import type { Part } from '../model/part.ts';
import { EventStream } from './event-stream.ts';
import { PartStream } from './part-stream.ts';

test('events of no, one and several parts, together and apart: in order, none lost', async () => {
  const { parts, send, end } = begun();
  send('data: \n\n');
  send('data: a\n\ndata: bc\n\ndata: \n\n');
  send('data: \n\n');
  send('data: def\n\n');
  end();
  const said: string[] = [];
  for await (const part of parts) if (part.kind === 'text') said.push(part.text);
  assert.deepEqual(said, ['a', 'b', 'c', 'd', 'e', 'f']);
});

test('an event that cannot be read ends the answer and closes the connection', async () => {
  const { parts, send, controller } = begun();
  send('data: a\n\n');
  assert.equal((await parts.next()).done, false);
  send('data: !\n\n');
  await assert.rejects(parts.next(), /cannot be read/);
  assert.ok(controller.aborted);
  assert.equal((await parts.return()).done, true);
});

test('who leaves in the midst of what came together gets nothing more of it', async () => {
  const { parts, send, controller } = begun();
  send('data: abc\n\n');
  for await (const _ of parts) break;
  assert.ok(controller.aborted);
});

/** Each letter of an event is a part; `!` is none. */
function begun() {
  const controller = { aborted: false, abort: () => Object.assign(controller, { aborted: true }) };
  const given = controller as unknown as Dispatcher.DispatchController;
  const lost = (error: unknown) => error as Error;
  const { signal } = new AbortController();
  const events = new EventStream({ signal, refused: () => new Error('refused'), lost });
  events.onRequestStart(given);
  events.onResponseStart(given, 200, {});
  const parts = new PartStream(events, ({ data }): Part[] => {
    if (data === '!') throw new Error('it cannot be read');
    return Array.from(data, (text) => ({ kind: 'text', text, tokens: 1 }));
  });
  const send = (text: string) => events.onResponseData(given, Buffer.from(text));
  return { parts, send, controller, end: () => events.onResponseEnd() };
}
