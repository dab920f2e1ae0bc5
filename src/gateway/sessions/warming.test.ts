import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Call, replyJson } from '../../http/call.ts';
import type { SessionId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { KvAnswer } from '../../model/kv-control.ts';
import type { KvControl } from '../../ports.ts';
import { SimClock } from '../../sim/clock.ts';
import type { Json } from '../../wire/fields.ts';
import { Keeping } from './keeping.ts';
import type { Sessions } from './sessions.ts';
import { blankRecord, type ThreadRecord } from './thread-record.ts';
import { Warming } from './warming.ts';

const TENANT = 't' as TenantId;
const SYSTEM = 'You are careful.';

test('each API is asked in its own words for one token, behind something a user says', async () => {
  const rig = new Rig();
  const last = async (body: Json) => {
    await rig.warm(body);
    return rig.calls.at(-1) ?? assert.fail('it walks like any other');
  };
  const chat = await last({ model: 'm', messages: [{ role: 'system', content: SYSTEM }] });
  assert.equal(chat.path, '/v1/chat/completions');
  assert.deepEqual(
    (chat.body.messages as Json[]).map(({ role }) => role),
    ['system', 'user'],
  );
  assert.equal(chat.body.max_tokens, 1);
  const messages = await last({ model: 'm', system: SYSTEM, tools: [] });
  assert.equal(messages.path, '/v1/messages');
  assert.equal((messages.body.messages as Json[]).length, 1);
  const responses = await last({ model: 'm', instructions: SYSTEM, input: 'look at it' });
  assert.equal(responses.path, '/v1/responses');
  assert.deepEqual(responses.body.input, [{ role: 'user', content: 'look at it' }]);
  assert.deepEqual([responses.body.max_output_tokens, responses.body.store], [1, false]);
});

test('nothing comes of it but KV: no long answer, no stream, nothing stored', async () => {
  const rig = new Rig();
  const more = { n: 5, max_completion_tokens: 9000, stream: true, stream_options: {} };
  await rig.warm({ model: 'm', messages: [{ role: 'user', content: 'a' }], ...more });
  const [chat] = rig.calls;
  assert.deepEqual(Object.keys(chat.body).sort(), ['max_tokens', 'messages', 'model', 'stream']);
  assert.equal(chat.body.stream, false);
  await rig.warm({ model: 'm', input: 'a', background: true, conversation: 'c', store: true });
  const { body } = rig.calls[1];
  assert.deepEqual([body.background, body.conversation, body.store], [undefined, undefined, false]);
});

test('the same is the same thread, whatever its fields’ order, and another is another', async () => {
  const rig = new Rig();
  const messages = [{ role: 'system', content: SYSTEM }];
  await rig.warm({ model: 'm', messages, tools: [] });
  await rig.warm({ tools: [], messages, model: 'm', n: 2 });
  await rig.warm({ model: 'm', messages, tools: [{ type: 'function' }] });
  const [a, b, c] = rig.calls.map(({ session }) => session);
  assert.equal(a, b);
  assert.notEqual(a, c);
  assert.ok(rig.calls.every(({ purpose, tenant }) => purpose === 'prewarm' && tenant === 't'));
});

test('what its worker answered is told, and what is kept is held against the kernel’s wishes', async () => {
  const rig = new Rig();
  const body = { model: 'm', messages: [{ role: 'user', content: 'a' }] };
  const kept = await rig.warm(body);
  assert.ok('session' in kept);
  assert.deepEqual([kept.answer, kept.keptUntil], ['accepted', new Date(60_000).toISOString()]);
  assert.equal(rig.records.get(kept.session)?.heldUntilMs, 60_000);
  rig.answer = 'rejected';
  const full = await rig.warm({ ...body, model: 'other' });
  assert.ok('session' in full);
  assert.deepEqual([full.answer, full.keptUntil], ['rejected', null]);
  rig.takesWishes = false;
  const plain = await rig.warm({ ...body, model: 'third' });
  assert.ok('session' in plain);
  assert.deepEqual([plain.answer, plain.keptUntil], [null, null]);
});

test('a body with nothing to compute is refused in a sentence', async () => {
  await assert.rejects(new Rig().warm({ model: 'm' }), /nothing to compute ahead/);
});

test('a refusal comes back as the API gave it', async () => {
  const rig = new Rig();
  rig.status = 404;
  const refused = await rig.warm({ model: 'nobody', messages: [{ role: 'user', content: 'a' }] });
  assert.ok('refused' in refused);
  assert.equal(refused.refused.status, 404);
});

interface Asked {
  path: string;
  body: Json;
  session: string;
  purpose: string | undefined;
  tenant: string | undefined;
}

class Rig {
  readonly calls: Asked[] = [];
  readonly records = new Map<string, ThreadRecord>();
  answer: KvAnswer = 'accepted';
  takesWishes = true;
  status = 200;
  readonly #warming: Warming;

  constructor() {
    const outcome = () => ({ answer: this.answer, blocks: 1, tokens: 16, sentence: undefined });
    const kv = { retain: async () => outcome() } as unknown as KvControl;
    const kvOf = () => (this.takesWishes ? kv : undefined);
    const sessions: Pick<Sessions, 'records' | 'stateOf' | 'changed'> = {
      records: (_tenant, name) => [this.records.get(name) ?? assert.fail()],
      stateOf: () => ({ cachedTokens: 0, computedTokens: 9 }) as never,
      changed: () => {},
    };
    this.#warming = new Warming({
      clock: new SimClock(),
      handler: (call) => this.#handle(call),
      keeping: new Keeping({ kvOf, sink: { note: () => {} } }),
      sessions: sessions as Sessions,
    });
  }

  warm(body: Json) {
    const { signal } = new AbortController();
    return this.#warming.warm(TENANT, body, { ttlUs: 60_000_000, requestId: 'r', signal });
  }

  async #handle(call: Call): Promise<void> {
    const body = JSON.parse(Buffer.from(await call.body()).toString()) as Json;
    const session = call.headers['x-stator-session-id'] ?? assert.fail('it has a name');
    const purpose = call.headers['x-stator-purpose'];
    this.calls.push({ path: call.path, body, session, purpose, tenant: call.vouched?.tenant });
    const names = { tenant: TENANT, session: session as SessionId, thread: session as ThreadId };
    const record = blankRecord({ ...names, parent: undefined });
    this.records.set(session, { ...record, worker: 'w' as WorkerId });
    replyJson(call.reply, this.status, {});
  }
}
