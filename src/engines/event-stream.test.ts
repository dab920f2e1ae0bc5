import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Dispatcher } from 'undici';
import { EventStream } from './event-stream.ts';

test('a reader that is slow leaves the socket alone, and nothing is lost meanwhile', async () => {
  const { stream, controller, data } = begun();
  let sent = 0;
  while (!controller.paused) {
    data(`data: ${'x'.repeat(1000)} ${sent++}\n\n`);
    assert.ok(sent < 1000, 'more is taken than anybody reads');
  }
  const { value } = await stream.next();
  assert.equal(value?.length, sent);
  assert.ok(!controller.paused);
  data('data: on\n\n');
  assert.deepEqual((await stream.next()).value, [{ event: undefined, data: 'on' }]);
});

test('the socket may bring more, and be left alone again, while it is taken up', async () => {
  const { stream, controller, data } = begun();
  const much = `data: ${'x'.repeat(70_000)}\n\n`;
  data(much);
  assert.ok(controller.paused);
  const go = controller.resume;
  controller.resume = () => {
    go();
    controller.resume = go;
    data(much);
    return controller;
  };
  await stream.next();
  assert.ok(controller.paused);
  await stream.next();
  assert.ok(!controller.paused, 'it is not left alone for ever');
});

test('a piece without a whole event wakes nobody; a character may be cut anywhere', async () => {
  const { stream, controller, bytes } = begun();
  const text = Buffer.from('event: a\ndata: ü\n\ndata: 2\n\n');
  const next = stream.next();
  for (const byte of text) bytes(Buffer.from([byte]));
  stream.onResponseEnd();
  assert.deepEqual((await next).value, [{ event: 'a', data: 'ü' }]);
  assert.deepEqual((await stream.next()).value, [{ event: undefined, data: '2' }]);
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
  assert.ok(!controller.aborted);
});

test('whoever leaves in the midst aborts the request; at its end there is nothing to abort', async () => {
  const early = begun();
  early.data('data: 1\n\n');
  for await (const _ of early.stream) break;
  assert.ok(early.controller.aborted);
  const late = begun();
  late.stream.onResponseEnd();
  await late.stream.return();
  assert.ok(!late.controller.aborted);
});

test('an abort before the connection stands is carried out when it does', async () => {
  const leaving = new AbortController();
  leaving.abort();
  const { stream, controller } = begun(leaving.signal);
  assert.ok(controller.aborted);
  await assert.rejects(stream.next(), /^Error: lost: the client left$/);
});

test('an event that never ends is refused before it fills the memory', async () => {
  const { stream, controller, data } = begun();
  const next = stream.next();
  next.catch(() => {});
  for (let mb = 0; mb < 9 && !controller.aborted; mb++) data('x'.repeat(1024 * 1024));
  await assert.rejects(next, /too long/);
});

test('another status is what the engine says, cut where it says too much', async () => {
  const { stream, data } = begun(undefined, 503);
  for (let i = 0; i < 100; i++) data('busy '.repeat(1000));
  stream.onResponseEnd();
  await assert.rejects(stream.next(), ({ message }: Error) => {
    assert.ok(message.startsWith('503: busy') && message.length < 100_000);
    return true;
  });
});

function begun(signal = new AbortController().signal, status = 200) {
  const controller = {
    paused: false,
    aborted: false,
    reason: null,
    pause: () => Object.assign(controller, { paused: true }),
    resume: () => Object.assign(controller, { paused: false }),
    abort: () => Object.assign(controller, { aborted: true }),
  };
  const given = controller as unknown as Dispatcher.DispatchController;
  const stream = new EventStream({
    signal,
    refused: ({ status: code, body }) => new Error(`${code}: ${body}`),
    lost: (error) => new Error(`lost: ${(error as Error).message}`),
  });
  stream.onRequestStart(given);
  stream.onResponseStart(given, status, {});
  const bytes = (chunk: Buffer) => stream.onResponseData(given, chunk);
  return { stream, controller, bytes, data: (text: string) => bytes(Buffer.from(text)) };
}
