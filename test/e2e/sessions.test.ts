/** Sessions of clients that send no id: recognised over HTTP, told of after each turn, kept and let go. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Receipt } from '../../src/model/receipt.ts';
import type { ThreadState } from '../../src/model/session.ts';
import { get, post } from './client.ts';
import { type Stack, startUp, until } from './stack.ts';

interface Answer {
  choices: { message: { role: string; content: string } }[];
  usage: { prompt_tokens: number };
  nvext: { session: ThreadState };
}

const SYSTEM = { role: 'system', content: 'You are a careful agent. '.repeat(60) };

let up: Stack;
before(async () => {
  up = await startUp(['--engine=sim', '--workers=2']);
});

test('turns without an id are one thread, whose state each answer tells', async () => {
  const messages: object[] = [SYSTEM, { role: 'user', content: 'fix it' }];
  const states: ThreadState[] = [];
  for (let turn = 1; turn <= 3; turn++) {
    const { headers, body } = await ask(messages);
    const { session } = body.nvext;
    assert.deepEqual([session.knownBy, session.turns], ['lineage', turn]);
    assert.equal(headers.get('x-stator-thread'), session.thread);
    assert.equal((session.cachedTokens ?? 0) > 0, turn > 1);
    assert.equal(
      (session.cachedTokens ?? 0) + (session.computedTokens ?? 0),
      body.usage.prompt_tokens,
    );
    states.push(session);
    messages.push(body.choices[0].message, { role: 'user', content: `go on, ${turn}` });
  }
  assert.equal(new Set(states.map(({ thread }) => thread)).size, 1);
  const [, , last] = states;
  assert.ok(last.savedTokens > 0 && last.savedMs > 0);
  const url = `${up.url}/stator/v1/sessions/${last.session}`;
  const { body } = await get<ThreadState & { threads: ThreadState[] }>(url);
  const [one] = body.threads;
  assert.deepEqual({ ...one, kv: [] }, { ...last, kv: [] }, 'the same object');
  await until('events tell where its KV lies', async () => {
    const { body: now } = await get<ThreadState>(url);
    const tokens = now.kv.reduce((sum, held) => sum + held.tokens, 0);
    return tokens > 0 && tokens <= now.contextTokens;
  });
});

test('a session that is ended lets its KV go, and the next turn of it computes anew', async () => {
  const headers = { 'x-session-id': 'to-be-ended', 'user-agent': 'opencode/1' };
  const messages = [SYSTEM, { role: 'user', content: 'and this is another one'.repeat(40) }];
  const { body } = await ask(messages, { prompt_cache_retention: '24h' }, headers);
  const { session } = body.nvext;
  const url = `${up.url}/stator/v1/sessions/${session.session}`;
  await until('the wish to keep it is granted', async () => {
    const { body: now } = await get<ThreadState>(url);
    return now.retainUntil !== null;
  });
  const ended = await post<{ released: { answer: string; tokens: number }[] }>(`${url}/end`, {});
  assert.equal(ended.status, 200);
  // Elsewhere lies what it shares with others, which stays.
  const released = ended.body.released.filter(({ answer }) => answer !== 'clipped');
  assert.deepEqual(
    released.map(({ answer }) => answer),
    ['accepted'],
  );
  assert.ok(released[0].tokens > 0);
  assert.equal((await get(url)).status, 404);
});

test('what contradicts itself is told, and what a request is for is on its receipt', async () => {
  const body = { service_tier: 'flex', nvext: { agent_hints: { priority: 2 } } };
  const headers = { 'x-claude-code-session-id': 'c', 'x-claude-code-request-class': 'auxiliary' };
  const answer = await ask([{ role: 'user', content: 'a title, please' }], body, headers);
  assert.match(answer.headers.get('x-stator-note') ?? '', /service_tier .* which counts\./);
  const url = `${up.url}/stator/v1/receipts/${answer.headers.get('x-stator-receipt')}`;
  const { body: receipt } = await get<Receipt>(url);
  assert.deepEqual([receipt.session, receipt.thread, receipt.parent], ['c', 'c/side', 'c']);
  assert.deepEqual(receipt.purpose, { kind: 'side', by: 'x-claude-code-request-class' });
  assert.equal(receipt.notes.length, 1);
});

test('nobody goes on from a title: its KV is let go, and the receipt of its turn tells', async () => {
  const headers = { 'x-claude-code-session-id': 'd', 'x-claude-code-request-class': 'auxiliary' };
  const answer = await ask([SYSTEM, { role: 'user', content: 'a title, please' }], {}, headers);
  const url = `${up.url}/stator/v1/receipts/${answer.headers.get('x-stator-receipt')}`;
  await until('its worker was told', async () => {
    const [action] = (await get<Receipt>(url)).body.kvActions;
    return action?.wish === 'release' && action.answer !== null;
  });
  const { text } = await get(`${up.url}/metrics`);
  assert.match(text, /stator_kv_actions_total\{action="release",answer="\w+"\} [1-9]/);
});

async function ask(messages: object[], more: object = {}, headers: Record<string, string> = {}) {
  const nvext = { extra_fields: ['session'], ...(more as { nvext?: object }).nvext };
  const body = { model: 'demo', max_tokens: 20, messages, ...more, nvext };
  const answer = await post<Answer>(`${up.url}/v1/chat/completions`, body, headers);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer;
}
