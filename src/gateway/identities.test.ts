/** What identity makes of real clients' requests, as a table to review. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertGolden } from '../../test/golden.ts';
import { isWhole, type Recorded, recorded } from '../../test/recorded.ts';
import { Prng } from '../base/prng.ts';
import type { SessionId, TenantId, ThreadId } from '../model/ids.ts';
import type { Identity } from '../model/session.ts';
import { anthropicMessages } from '../wire/anthropic-messages.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { openaiResponses } from '../wire/responses.ts';
import type { Wire } from '../wire/wire.ts';
import { Identities, type Kin } from './identities.ts';

const WIRES: Record<string, Wire> = {
  '/v1/messages': anthropicMessages,
  '/v1/chat/completions': openaiChat,
  '/v1/responses': openaiResponses,
};
const TENANT = 'default' as TenantId;

test('whose each recorded request is, what it is for, and how that is known', () => {
  const table = new Table();
  const rig = new Rig();
  for (const request of recorded(...Object.keys(WIRES))) {
    // Without the state of Responses, which is another test's, nobody knows what it goes on from.
    if (isDelta(request)) table.leaveOut(request, 'goes on from what was stored');
    else table.add(request, rig.ask(request));
  }
  assertGolden(isWhole() ? 'identities.txt' : 'identities-fixtures.txt', table.text());
});

test('a call beside a thread is no turn of it, whichever comes first', () => {
  const headers = { 'x-claude-code-session-id': 's' };
  const title = { output_config: { format: { type: 'json_schema', schema: {} } } };
  const tools = [{ name: 'Read', input_schema: {} }];
  for (const isTitleFirst of [true, false]) {
    const rig = new Rig();
    const asked = isTitleFirst ? [title, { tools }] : [{ tools }, title];
    const found = asked.map((body) => rig.say(headers, body, ['hi']));
    const [first, second] = isTitleFirst ? found : found.toReversed();
    assert.deepEqual([first.thread, first.parent, first.purpose.kind], ['s/side', 's', 'side']);
    assert.deepEqual([second.thread, second.purpose.kind], ['s', 'turn']);
    // Its answer is nothing that the thread goes on from.
    const next = rig.say(headers, { tools }, ['hi', 'Hello.', 'go on']);
    assert.deepEqual([next.thread, next.relation], ['s', 'extends']);
  }
});

test('who asks without tools wants a title before the first answer, and a summary after it', () => {
  const headers = { 'x-session-id': 's', 'user-agent': 'opencode/1.18' };
  const tools = [{ name: 'read', input_schema: {} }];
  const rig = new Rig();
  const first = rig.say(headers, { tools }, ['hi']);
  const title = rig.say(headers, {}, ['A title for: hi']);
  assert.deepEqual([title.thread, title.purpose.kind], ['s/side', 'side']);
  rig.serve(title);
  assert.equal(rig.say(headers, {}, ['Another title for: hi']).purpose.kind, 'side');
  rig.serve(first);
  const summary = rig.say(headers, {}, ['hi', 'Hello.', 'sum it up']);
  assert.deepEqual([summary.thread, summary.purpose.kind], ['s', 'compaction']);
});

test('what a client says a request is for counts before what it looks like', () => {
  const purposeOf = (headers: Record<string, string>) =>
    new Rig().say({ 'x-claude-code-session-id': 's', ...headers }, {}, ['hi']).purpose;
  const said: [Record<string, string>, string][] = [
    [{ 'x-claude-code-request-class': 'main' }, 'turn'],
    [{ 'x-claude-code-request-class': 'auxiliary' }, 'side'],
    [{ 'x-claude-code-request-class': 'compaction' }, 'compaction'],
    [{ 'x-claude-code-compaction': 'manual' }, 'compaction'],
    [{ 'x-deepseek-harness-compact': '1' }, 'compaction'],
    [{ 'x-codex-turn-metadata': '{"request_kind":"prewarm"}' }, 'prewarm'],
    [{ 'x-codex-turn-metadata': '{"thread_source":"thread_title"}' }, 'side'],
  ];
  for (const [headers, kind] of said) {
    const [by] = Object.keys(headers);
    assert.deepEqual(purposeOf(headers), { kind, by });
  }
  // What says nothing that we know leaves it to its looks: no tools, and nothing before.
  const unknown: Record<string, string>[] = [
    { 'x-claude-code-request-class': 'new-word' },
    { 'x-codex-turn-metadata': '{"request_kind":' },
    { 'x-codex-turn-metadata': '[]' },
  ];
  for (const headers of unknown) {
    assert.equal(purposeOf(headers).by, 'no tools, before the first turn');
  }
});

test('sub-agents that name sessions of their own are of the first one’s session', () => {
  const rig = new Rig();
  const ask = (id: string, parent?: string) => {
    const named = { 'x-session-id': id };
    const headers = parent === undefined ? named : { ...named, 'x-parent-session-id': parent };
    const { session, thread, parent: from } = rig.say(headers, {}, [`I am ${id}`]);
    return [session, thread, from];
  };
  assert.deepEqual(ask('root'), ['root', 'root', undefined]);
  assert.deepEqual(ask('child', 'root'), ['root', 'child', 'root']);
  assert.deepEqual(ask('grandchild', 'child'), ['root', 'grandchild', 'child']);
  // Of a parent that nobody has seen no more is known.
  assert.deepEqual(ask('orphan', 'unseen'), ['unseen', 'orphan', 'unseen']);
  assert.deepEqual(ask('own', 'own'), ['own', 'own', undefined]);
});

test('a thread that goes on from elsewhere is seen to', () => {
  const rig = new Rig();
  const headers = { 'x-stator-session-id': 's' };
  const relationOf = (...said: string[]) => rig.say(headers, {}, said).relation;
  assert.equal(relationOf('hi'), 'begins');
  assert.equal(relationOf('hi', 'Hello.', 'more'), 'extends');
  assert.equal(relationOf('hi', 'Hello.', 'more'), 'repeats');
  assert.equal(relationOf('hi', 'Hello.', 'other'), 'diverges');
  assert.equal(relationOf('a summary'), 'diverges');
  assert.equal(relationOf('a summary', 'Yes.', 'go on'), 'extends');
});

test('how long tools ran is read, and nothing else', () => {
  const rig = new Rig();
  const runs = (value: string) =>
    rig.say({ 'x-claude-code-prev-tool-durations': value }, {}, ['hi']).toolsRan;
  assert.deepEqual(runs('Bash=174;Read=12; Bash=1'), [
    { tool: 'Bash', us: 174_000 },
    { tool: 'Read', us: 12_000 },
    { tool: 'Bash', us: 1_000 },
  ]);
  assert.deepEqual(runs('Bash=-1;=3;Read;Write=1e3;Glob=2'), [{ tool: 'Glob', us: 2_000 }]);
  assert.equal(runs(Array(5000).fill('a=1').join(';')).length, 64);
});

test('threads under one key for caches are told apart by what they say, and only within it', () => {
  const rig = new Rig();
  const whose = (key: string, ...said: string[]) => {
    const input = said.map((content, i) => ({
      role: i % 2 === 0 ? 'user' : 'assistant',
      content,
    }));
    const body = { model: 'm', input, prompt_cache_key: key };
    return rig.ask({ path: '/v1/responses', headers: {}, body });
  };
  const main = whose('k', 'the task');
  const agent = whose('k', 'the errand');
  const same = whose('other', 'the task');
  assert.deepEqual([main.session, agent.session, same.session], ['k', 'k', 'other']);
  assert.equal(new Set([main, agent, same].map(({ thread }) => thread)).size, 3);
  for (const who of [main, agent, same]) rig.serve(who);
  assert.equal(whose('k', 'the task', 'Done.', 'more').thread, main.thread);
  assert.equal(whose('k', 'the errand', 'Done.', 'more').thread, agent.thread);
  assert.equal(whose('other', 'the task', 'Done.', 'more').thread, same.thread);
  assert.equal(main.knownBy, 'prompt_cache_key, lineage');
});

test('a thread that is remembered belongs where it did, by whichever header it is named', () => {
  const rig = new Rig();
  const [root, parent] = ['root' as SessionId, 'root' as ThreadId];
  rig.kin.set('fork', { session: root, parent, turns: 0 });
  const first = rig.say({ 'x-session-id': 'fork' }, {}, ['go']);
  assert.deepEqual(
    [first.session, first.thread, first.parent, first.relation],
    ['root', 'fork', 'root', 'forks'],
  );
  rig.kin.set('fork', { session: root, parent, turns: 1 });
  const second = rig.say({ 'x-stator-session-id': 'fork' }, {}, ['go', 'Done.', 'on']);
  assert.deepEqual([second.session, second.relation], ['root', 'extends']);
  // Its own sub-agent, which says only whose it is: after a restart nothing else knows of the root.
  const headers = { 'x-session-id': 'child', 'x-parent-session-id': 'fork' };
  assert.equal(rig.say(headers, {}, ['help']).session, 'root');
  const stranger = rig.say({ 'x-session-id': 'stranger' }, {}, ['hi']);
  assert.deepEqual([stranger.session, stranger.parent], ['stranger', undefined]);
});

test('two names that contradict each other are told, and the first counts', () => {
  const rig = new Rig();
  const body = { metadata: { user_id: '{"session_id":"other"}' } };
  const who = rig.say({ 'x-claude-code-session-id': 's' }, body, ['hi']);
  assert.equal(who.session, 's');
  assert.deepEqual(who.notes, [
    'metadata.user_id names another session than x-claude-code-session-id, which counts.',
  ]);
  const same = { metadata: { user_id: '{"session_id":"s"}' } };
  assert.deepEqual(rig.say({ 'x-claude-code-session-id': 's' }, same, ['hi']).notes, []);
});

function isDelta({ body }: Recorded): boolean {
  const items = Array.isArray(body.input) ? (body.input as { type?: string }[]) : [];
  const refers = items.some(({ type }) => type === 'item_reference');
  return refers || typeof body.previous_response_id === 'string';
}

class Rig {
  /** What is remembered of threads with a name. */
  readonly kin = new Map<string, Kin>();
  readonly identities = new Identities({
    lineageBytesMax: 50_000_000,
    rng: new Prng(1),
    kinOf: (_tenant, thread) => this.kin.get(thread),
  });

  ask({ path, headers, body }: Pick<Recorded, 'path' | 'headers' | 'body'>): Identity {
    const ask = WIRES[path].parse(body);
    return this.identities.of({ tenant: TENANT, admin: false }, headers, ask);
  }

  serve(who: Identity): void {
    this.identities.ended(who, { served: true, answer: undefined });
  }

  /** User and assistant in turn. */
  say(headers: Record<string, string>, body: object, said: readonly string[]): Identity {
    const messages = said.map((content, i) => ({
      role: i % 2 === 0 ? 'user' : 'assistant',
      content,
    }));
    const whole = { model: 'm', max_tokens: 9, messages, ...body };
    return this.ask({ path: '/v1/messages', headers, body: whole });
  }
}

/** Ids as short names, in the order in which they came. */
class Table {
  readonly #rows: string[][] = [
    ['request', 'session', 'thread', 'parent', 'kind', 'relation', 'knownBy', 'kind known by'],
  ];
  readonly #names = new Map<string, string>();
  #client = '';

  add({ name, client }: Recorded, who: Identity): void {
    if (client !== this.#client) this.#names.clear();
    this.#client = client;
    const { session, thread, parent, purpose, relation, knownBy } = who;
    this.#rows.push([
      name.replace('-request.json', ''),
      this.#short(session, 's'),
      this.#short(thread, 't'),
      this.#short(parent, 't'),
      purpose.kind,
      relation,
      knownBy,
      purpose.by,
    ]);
  }

  leaveOut({ name }: Recorded, why: string): void {
    this.#rows.push([name.replace('-request.json', ''), why]);
  }

  text(): string {
    const full = this.#rows.filter((row) => row.length > 2);
    const widths = full[0].map((_, i) => Math.max(...full.map((row) => row[i].length)));
    const lines = this.#rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i])).join('  '));
    return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
  }

  #short(id: string | undefined, letter: string): string {
    if (id === undefined) return '-';
    const key = `${letter}${id}`;
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const count = [...this.#names.keys()].filter((one) => one.startsWith(letter)).length;
    const name = `${letter}${count + 1}`;
    this.#names.set(key, name);
    return name;
  }
}
