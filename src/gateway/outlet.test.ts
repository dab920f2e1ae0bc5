import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Reply } from '../http/call.ts';
import { GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import { SimClock } from '../sim/clock.ts';
import { anthropicMessages } from '../wire/anthropic-messages.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import type { Wire } from '../wire/wire.ts';
import { Outlet } from './outlet.ts';
import type { Manners } from './patience.ts';

const MANNERS: Manners = {
  patienceUs: 300e6,
  holdUs: 15e6,
  keepAliveUs: 10e6,
  readerUsMax: 60e6,
  lastWord: 'error',
};
const text = (said: string): Part => ({ kind: 'text', text: said, tokens: 1 });
const usage = { promptTokens: 5, outputTokens: 2, cachedTokens: undefined };
const DONE: Part = { kind: 'done', finish: { kind: 'stop' }, usage };
const FULL: Part = { kind: 'error', error: new GatewayError('queue_full', 'It is full.') };

test('headers are held until there is something to say, and no longer than they may be', async () => {
  const rig = new Rig({ waitedUs: 5e6 });
  rig.pass(9_999_999);
  assert.equal(rig.reply.headSent, false, 'it can still be refused');
  rig.pass(1);
  await turn();
  assert.equal(rig.reply.status, 200);
  assert.match(rig.reply.text, /"role":"assistant"/);
  const early = new Rig({});
  early.outlet.send(text('x'));
  await turn();
  assert.equal(early.reply.status, 200);
  assert.equal(early.reply.writes.length, 1, 'with what it opens with');
});

test('nothing of a refused stream goes out, and its time is forgotten', async () => {
  const rig = new Rig({});
  rig.outlet.end();
  rig.pass(100e6);
  await turn();
  assert.deepEqual([rig.reply.headSent, rig.reply.ends, rig.reply.writes], [false, 0, []]);
});

test('silence, and only silence, is filled with events of the protocol that mean nothing', async () => {
  const wires = [
    [openaiChat, /^data: \{.*"choices":\[\]\}\n\n$/],
    [anthropicMessages, /^event: ping\ndata: \{"type":"ping"\}\n\n$/],
  ] as const;
  for (const [wire, nothing] of wires) {
    const rig = new Rig({ wire });
    rig.pass(15e6);
    await turn();
    rig.reply.writes.length = 0;
    rig.pass(10e6);
    await turn();
    assert.equal(rig.reply.writes.length, 1);
    assert.match(rig.reply.writes[0], nothing);
    for (let i = 0; i < 10; i++) {
      rig.pass(4e6);
      rig.outlet.send(text('x'));
      await turn();
    }
    assert.equal(rig.reply.writes.length, 11, 'while there is text, nothing else is said');
    rig.pass(9_999_999);
    await turn();
    assert.equal(rig.reply.writes.length, 11);
    rig.pass(1);
    await turn();
    assert.match(rig.reply.writes[11], nothing);
    rig.outlet.send(DONE);
    rig.outlet.end();
    const { length } = rig.reply.text;
    rig.pass(1000e6);
    await turn();
    assert.equal(rig.reply.text.length, length, 'nothing follows the end');
  }
});

test('what comes in one turn goes out in one write, and no later', async () => {
  const rig = new Rig({});
  for (let i = 0; i < 50; i++) {
    rig.outlet.send(text(`t${i} `));
    await Promise.resolve(); // As parts come out of generators: in one turn, one after the other.
  }
  await turn();
  assert.equal(rig.reply.writes.length, 1);
  rig.outlet.send(text('next'));
  await turn();
  assert.equal(rig.reply.writes.length, 2);
  rig.outlet.send(DONE);
  rig.outlet.end();
  assert.equal(rig.reply.ends, 1);
  assert.equal(rig.content(), `${Array.from({ length: 50 }, (_, i) => `t${i} `).join('')}next`);
});

test('a long turn is not gathered without bound', () => {
  const rig = new Rig({});
  for (let i = 0; i < 1000; i++) rig.outlet.send(text('x'.repeat(1000)));
  const longest = Math.max(...rig.reply.writes.map(({ length }) => length));
  assert.ok(rig.reply.writes.length > 10 && longest < 70_000, `${longest}`);
});

test('a full socket holds the writer; when it drains, what waited goes out in one write', async () => {
  const rig = new Rig({});
  rig.reply.isFull = true;
  rig.outlet.send(text('a'));
  await turn();
  assert.equal(rig.outlet.isBlocked, true);
  for (const said of ['b', 'c', 'd']) rig.outlet.send(text(said));
  rig.pass(50e6);
  await turn();
  assert.equal(rig.reply.writes.length, 1, 'not even a sign of life is piled on it');
  let isFree = false;
  const room = rig.outlet.room().then(() => (isFree = true));
  await turn();
  assert.equal(isFree, false);
  rig.reply.isFull = false;
  rig.reply.drain();
  await room;
  assert.equal(rig.reply.writes.length, 2);
  assert.equal(rig.content(), 'abcd');
});

test('who reads nothing for too long is told so and written to no more', async () => {
  const rig = new Rig({});
  rig.reply.isFull = true;
  rig.outlet.send(text('a'));
  await turn();
  const late = assert.rejects(rig.outlet.room(), /read nothing of this stream for 60 s/);
  rig.pass(60e6);
  await late;
  rig.outlet.send({ kind: 'error', error: new GatewayError('request_timeout', 'Too slow.') });
  rig.outlet.end();
  assert.equal(rig.reply.ends, 1);
  assert.match(rig.reply.text, /"message":"Too slow\."/);
});

test('a stream that failed ends in an error or is cut, as its client wants it', async () => {
  const told = new Rig({});
  told.outlet.send(text('a'));
  told.outlet.send(FULL);
  told.outlet.end();
  assert.deepEqual([told.reply.ends, told.reply.destroyed], [1, 0]);
  assert.equal(told.reply.text.match(/"message":"It is full\."/g)?.length, 1);
  const cut = new Rig({ lastWord: 'cut' });
  cut.outlet.send(text('a'));
  await turn();
  cut.outlet.send(FULL);
  cut.outlet.end();
  assert.deepEqual([cut.reply.ends, cut.reply.destroyed], [0, 1]);
  // What is the request's own fault would fail again.
  const wrong = new Rig({ lastWord: 'cut' });
  const error = new GatewayError('invalid_request', 'It is wrong.');
  wrong.outlet.send({ kind: 'error', error });
  wrong.outlet.end();
  assert.match(wrong.reply.text, /It is wrong/);
});

class Rig {
  readonly clock = new SimClock();
  readonly reply = new SlowReply();
  readonly outlet: Outlet;

  constructor(given: { wire?: Wire; waitedUs?: number; lastWord?: 'cut' }) {
    const { wire = openaiChat, waitedUs = 0, lastWord = 'error' } = given;
    const messages = [{ role: 'user', content: 'hi' }];
    const ask = wire.parse({ model: 'm', max_tokens: 5, messages, stream: true });
    const opening = { id: 'i', createdS: 0, model: 'm', promptTokens: 1 };
    this.outlet = new Outlet({
      ...{ reply: this.reply, clock: this.clock, waitedUs },
      manners: { ...MANNERS, lastWord },
      open: () => ({ framer: wire.framer(ask, opening), headers: {} }),
    });
  }

  pass(us: number): void {
    let isOver = false;
    this.clock.after(us, () => {
      isOver = true;
    });
    while (!isOver) this.clock.step();
  }

  content(): string {
    return [...this.reply.text.matchAll(/"content":"([^"]*)"/g)].map(([, said]) => said).join('');
  }
}

/** A socket that takes what it is given, or says that it is full. */
class SlowReply implements Reply {
  status = 0;
  readonly writes: string[] = [];
  ends = 0;
  destroyed = 0;
  isFull = false;
  drain: () => void = () => {};
  #last = '';

  get headSent(): boolean {
    return this.status !== 0;
  }

  get text(): string {
    return this.writes.join('') + this.#last;
  }

  head(status: number): void {
    assert.equal(this.status, 0, 'one head');
    this.status = status;
  }

  write(more: string): Promise<void> | undefined {
    this.writes.push(more);
    if (!this.isFull) return undefined;
    return new Promise((resolve) => {
      this.drain = resolve;
    });
  }

  end(more?: string | Uint8Array): void {
    if (typeof more === 'string') this.#last = more;
    this.ends++;
  }

  destroy(): void {
    this.destroyed++;
  }
}

/** Until all that is ready in this turn of the event loop is done. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
