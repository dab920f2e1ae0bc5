/** The Responses API with its state, over the real walk. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '../../wire/fields.ts';
import { Rig, until } from './rig.test.ts';
import { MemoryShelf } from './shelf.ts';

const LONG = 'the other king of the rings and the mother of the other thing '.repeat(20);

test('a chain asks the engine what the whole conversation as input would have', async () => {
  const rig = new Rig();
  const first = await rig.create({ input: 'one', instructions: 'Be brief.' });
  const second = await rig.create({ input: 'two', previous_response_id: first.id });
  const third = await rig.create({
    input: [{ role: 'user', content: [{ type: 'input_text', text: 'three' }] }],
    previous_response_id: second.id,
  });
  const chained = rig.prompt();
  assert.deepEqual(
    [first.previous_response_id, second.previous_response_id, third.previous_response_id],
    [null, first.id, second.id],
  );
  // Instructions of before are not carried over.
  assert.ok(!chained.includes('Be brief.'));
  const said = ['one', 'answer 1', 'two', 'answer 2', 'three'];
  const input = said.map((content, i) => ({ role: i % 2 ? 'assistant' : 'user', content }));
  await rig.create({ input, store: false });
  assert.equal(rig.prompt(), chained);
  for (const words of said) assert.ok(chained.includes(words), words);
});

test('a stored thread’s next turn is the same thread’s, and encodes what is new in it alone', async () => {
  const rig = new Rig();
  let previous: unknown;
  for (let turn = 0; turn < 5; turn++) {
    const before = { ...rig.encoder.totals };
    const body = { input: `${LONG} ${turn}`, previous_response_id: previous };
    ({ id: previous } = await rig.create(body));
    const { encoded, remembered } = rig.encoder.totals;
    const { promptTokens } = rig.receipts.at(-1) ?? assert.fail();
    const isNew = encoded - before.encoded;
    assert.equal(isNew + remembered - before.remembered, promptTokens);
    // A turn is its question and the answer before it; the rest is remembered.
    if (turn > 0)
      assert.ok(isNew < 1.2 * ((promptTokens ?? 0) / (turn + 1)), `turn ${turn}: ${isNew}`);
  }
  const threads = new Set(rig.receipts.map(({ thread }) => thread));
  assert.equal(threads.size, 1);
  assert.equal(rig.receipts.at(-1)?.knownBy, 'previous_response_id');
});

test('what is kept survives a restart, thread and all', async () => {
  const shelf = new ListedShelf();
  const before = new Rig({ shelf });
  const { id } = await before.create({ input: 'one' });
  await before.store?.close();
  const after = new Rig({ shelf });
  await after.create({ input: 'two', previous_response_id: id });
  for (const words of ['one', 'answer 1', 'two']) assert.ok(after.prompt().includes(words), words);
  assert.equal(after.receipts[0].thread, before.receipts[0].thread);
  assert.equal((await after.call('GET', `/v1/responses/${id}`)).json().id, id);
});

test('a fork goes on from where it was taken, as a thread of its own', async () => {
  const rig = new Rig();
  const { id: root } = await rig.create({ input: 'root' });
  await rig.create({ input: 'left', previous_response_id: root });
  const { id: right } = await rig.create({ input: 'right', previous_response_id: root });
  await rig.create({ input: 'on', previous_response_id: right });
  const prompt = rig.prompt();
  assert.ok(prompt.includes('root') && prompt.includes('right') && !prompt.includes('left'));
  const [first, left, other, on] = rig.receipts.map(({ thread }) => thread);
  assert.equal(first, left);
  assert.notEqual(first, other);
  assert.equal(other, on);
});

test('what is not kept is a 404 in words: unknown, another tenant’s, not stored, deleted, expired', async () => {
  const rig = new Rig();
  const { id } = await rig.create({ input: 'mine' });
  const { id: unkept } = await rig.create({ input: 'unkept', store: false });
  const { id: child } = await rig.create({ input: 'child', previous_response_id: id });
  const refused = async (previous: unknown, tenant?: string) => {
    const body = { model: 'm', input: 'on', previous_response_id: previous };
    const reply = await rig.call('POST', '/v1/responses', { body, tenant });
    const got = (await rig.call('GET', `/v1/responses/${previous}`, { tenant })).status;
    return [reply.status, reply.code(), got];
  };
  const missing = [404, 'previous_response_not_found', 404];
  assert.deepEqual(await refused('resp_unknown'), missing);
  assert.deepEqual(await refused(String(id).replace(/.$/, 'x')), missing);
  assert.deepEqual(await refused(unkept), missing);
  assert.deepEqual(await refused(id, 'other'), missing);
  const path = `/v1/responses/${id}?stream=true`;
  assert.equal((await rig.call('GET', path, { tenant: 'other' })).status, 404);
  assert.equal((await rig.call('GET', path)).status, 400);
  assert.equal((await rig.call('DELETE', `/v1/responses/${id}`, { tenant: 'other' })).status, 404);
  const deleted = await rig.call('DELETE', `/v1/responses/${id}`);
  assert.deepEqual(deleted.json(), { id, object: 'response', deleted: true });
  assert.deepEqual(await refused(id), missing);
  assert.equal((await rig.call('DELETE', `/v1/responses/${id}`)).status, 404);
  // What goes on from it is still there to be read, and says what is missing when it is to go on.
  assert.deepEqual(await refused(child), [404, 'previous_response_not_found', 200]);
  rig.passUs(1_100_000);
  assert.deepEqual(await refused(child), missing);
});

test('streams and whole answers are kept as they were told', async () => {
  const rig = new Rig();
  const whole = await rig.create({ input: 'hi', metadata: { a: 'b' } });
  assert.deepEqual((await rig.call('GET', `/v1/responses/${whole.id}`)).json(), whole);
  const body = { model: 'm', input: 'hi', stream: true };
  const stream = await rig.call('POST', '/v1/responses', { body });
  const last = stream.events().at(-1)?.response as Json;
  assert.deepEqual([last.status, last.store], ['completed', true]);
  assert.deepEqual((await rig.call('GET', `/v1/responses/${last.id}`)).json(), last);
});

test('input items are listed with what came before, a page at a time', async () => {
  const rig = new Rig();
  const { id: first } = await rig.create({ input: 'one' });
  const { id } = await rig.create({ input: 'two', previous_response_id: first });
  const list = async (query: string) =>
    (await rig.call('GET', `/v1/responses/${id}/input_items${query}`)).json();
  const all = await list('?order=asc');
  const texts = (all.data as Json[]).map(({ content }) => (content as Json[])[0].text);
  assert.deepEqual(texts, ['one', 'answer 1', 'two']);
  assert.equal(all.has_more, false);
  const ids = (all.data as Json[]).map(({ id }) => id);
  assert.deepEqual(
    ((await list('')).data as Json[]).map(({ id }) => id),
    [...ids].reverse(),
  );
  const page = await list('?order=asc&limit=1');
  assert.deepEqual([page.first_id, page.last_id, page.has_more], [ids[0], ids[0], true]);
  const rest = await list(`?order=asc&after=${page.last_id}`);
  assert.deepEqual(
    (rest.data as Json[]).map(({ id }) => id),
    ids.slice(1),
  );
  for (const wrong of ['?limit=0', '?limit=101', '?limit=x', '?after=msg_x']) {
    assert.equal((await rig.call('GET', `/v1/responses/${id}/input_items${wrong}`)).status, 400);
  }
});

test('references to items become the items, of answers and of inputs, and of no other tenant', async () => {
  const rig = new Rig();
  const first = await rig.create({ input: 'one' });
  const [answer] = first.output as Json[];
  const items = (await rig.call('GET', `/v1/responses/${first.id}/input_items`)).json();
  const [question] = items.data as Json[];
  const input = [
    { type: 'item_reference', id: question.id },
    { id: answer.id },
    { role: 'user', content: 'two' },
  ];
  await rig.create({ input });
  const prompt = rig.prompt();
  for (const words of ['one', 'answer 1', 'two']) assert.ok(prompt.includes(words), words);
  const body = { model: 'm', input };
  const other = await rig.call('POST', '/v1/responses', { body, tenant: 'other' });
  assert.deepEqual([other.status, (other.json().error as Json).param], [404, 'input[0].id']);
  // A few words would stand for a long text as often as there is room for them.
  const twice = { model: 'm', input: [...input, { id: question.id }] };
  const again = await rig.call('POST', '/v1/responses', { body: twice });
  assert.deepEqual([again.status, (again.json().error as Json).param], [400, 'input[3].id']);
});

test('a mistake is named by its place in what was sent, whatever came before it', async () => {
  const rig = new Rig();
  const { id } = await rig.create({ input: 'one' });
  const input = [
    { role: 'user', content: 'fine' },
    { role: 'nobody', content: 'x' },
  ];
  const body = { model: 'm', input, previous_response_id: id };
  const { message, param } = (await rig.call('POST', '/v1/responses', { body })).json()
    .error as Json;
  assert.equal(param, 'input[1].role');
  assert.match(String(message), /^input\[1\]\.role must be/);
});

test('a conversation holds what was said in it', async () => {
  const rig = new Rig();
  const items = [{ role: 'user', content: 'before' }];
  const made = await rig.call('POST', '/v1/conversations', {
    body: { items, metadata: { a: 'b' } },
  });
  const { id } = made.json();
  const path = `/v1/conversations/${id}`;
  assert.deepEqual((await rig.call('GET', path)).json(), made.json());
  await rig.create({ input: 'one', conversation: id });
  const second = await rig.create({ input: 'two', conversation: { id }, store: false });
  assert.deepEqual(second.conversation, { id });
  for (const words of ['before', 'one', 'answer 1', 'two']) assert.ok(rig.prompt().includes(words));
  rig.answers = ['fail'];
  const body = { model: 'm', input: 'never', conversation: id };
  assert.equal((await rig.call('POST', '/v1/responses', { body })).status, 400);
  const texts = async () => {
    const { data } = (await rig.call('GET', `${path}/items?order=asc`)).json();
    return (data as Json[]).map(({ content }) => (content as Json[])[0].text);
  };
  assert.deepEqual(await texts(), ['before', 'one', 'answer 1', 'two', 'answer 2']);
  const added = await rig.call('POST', `${path}/items`, {
    body: { items: [{ role: 'user', content: 'more' }] },
  });
  const [more] = added.json().data as Json[];
  assert.deepEqual((await rig.call('GET', `${path}/items/${more.id}`)).json(), more);
  assert.equal((await rig.call('DELETE', `${path}/items/${more.id}`)).json().id, id);
  assert.equal((await rig.call('GET', `${path}/items/${more.id}`)).status, 404);
  assert.equal((await texts()).length, 5);
  const changed = await rig.call('POST', path, { body: { metadata: { c: 'd' } } });
  assert.deepEqual(changed.json().metadata, { c: 'd' });
  for (const [method, target] of [
    ['GET', path],
    ['DELETE', path],
    ['GET', `${path}/items`],
  ]) {
    assert.equal((await rig.call(method, target, { tenant: 'other' })).status, 404);
  }
  assert.equal((await rig.call('DELETE', path)).json().deleted, true);
  assert.equal((await rig.call('POST', '/v1/responses', { body })).status, 404);
  const both = { ...body, previous_response_id: second.id };
  assert.equal((await rig.call('POST', '/v1/responses', { body: both })).status, 400);
});

test('a conversation that could not be stored is no conversation', async () => {
  const shelf = new MemoryShelf();
  const rig = new Rig({ shelf });
  const { id } = (await rig.call('POST', '/v1/conversations', { body: {} })).json();
  shelf.append = () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
  const items = { items: [{ role: 'user', content: 'x' }] };
  for (const path of ['/v1/conversations', `/v1/conversations/${id}`]) {
    assert.equal((await rig.call('POST', path, { body: { metadata: {} } })).status, 507);
  }
  assert.equal(
    (await rig.call('POST', `/v1/conversations/${id}/items`, { body: items })).status,
    507,
  );
  const left = (await rig.call('GET', `/v1/conversations/${id}/items`)).json();
  assert.deepEqual(left.data, []);
});

test('where nothing is stored a response says so, and what needs it is refused', async () => {
  const rig = new Rig({ stores: false });
  const { id, store } = await rig.create({ input: 'one', store: true });
  assert.equal(store, false);
  assert.equal((await rig.call('GET', `/v1/responses/${id}`)).status, 404);
  for (const body of [{ previous_response_id: id }, { background: true }]) {
    const sent = { model: 'm', input: 'on', ...body };
    const reply = await rig.call('POST', '/v1/responses', { body: sent });
    assert.ok(reply.status === 404 || reply.status === 400, reply.text);
  }
  assert.equal((await rig.call('POST', '/v1/conversations', { body: {} })).status, 404);
});

test('a client that leaves in mid-answer leaves nothing behind that anybody could go on from', async () => {
  const rig = new Rig();
  rig.answers = ['wait'];
  const { reply, over, leave } = rig.open('POST', '/v1/responses', {
    body: { model: 'm', input: 'one', stream: true },
  });
  await until(() => reply.text.includes('begun'));
  leave();
  await over;
  const { id } = reply.events()[0].response as Json;
  const got = await rig.call('GET', `/v1/responses/${id}`);
  assert.ok(got.status === 404 || got.json().status === 'failed');
});

/** Found again by a later start, as files are. */
class ListedShelf extends MemoryShelf {
  readonly #places = new Map<string, { folder: string; file: string }>();

  override async append(...[place, written]: Parameters<MemoryShelf['append']>): Promise<void> {
    this.#places.set(`${place.folder}/${place.file}`, place);
    return super.append(place, written);
  }

  override async list() {
    return [...this.#places.values()].map((place) => ({ ...place, bytes: 1, writtenMs: 0 }));
  }
}
