/** Sessions that outlive everything: put away, found again after a restart, forked, warmed, stopped. */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Receipt } from '../../src/model/receipt.ts';
import type { ThreadState } from '../../src/model/session.ts';
import { get, type HeaderFields, post } from './client.ts';
import { FOLDER, SMALL, type Stack, startUp, until, write } from './stack.ts';

interface Answer {
  choices: { message: { role: string; content: string } }[];
  usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
}

interface Told {
  worker: string | null;
  thread: string;
  answer: string;
  tokens: number;
}

const SYSTEM = {
  role: 'system',
  content: Array.from({ length: 300 }, (_, i) => `Rule ${i}: be careful with ${i * 7}.`).join(' '),
};

const UP = [
  ...SMALL,
  '--workers=2',
  '--disk=400MB',
  `--disk-folder=${mkdtempSync(join(FOLDER, 'kv-'))}`,
];

test('a parked session is resumed after a restart of gateway and workers, by its tenant alone', async () => {
  const own = { 'x-tenant-id': 'ada', 'x-stator-session-id': 'long work' };
  const first = await startUp(UP);
  const messages: object[] = [SYSTEM, { role: 'user', content: 'begin with the first part' }];
  for (const more of ['and now the second', 'and the third']) {
    const { body } = await ask(first, messages, own);
    messages.push(body.choices[0].message, { role: 'user', content: more });
  }
  const session = sessionOf(first, 'long work');
  const others = { 'x-tenant-id': 'bob' };
  assert.equal((await get(session, others)).status, 404);
  for (const verb of ['park', 'resume', 'fork', 'end']) {
    assert.equal((await post(`${session}/${verb}`, {}, others)).status, 404, verb);
  }
  const parked = await post<{ parked: Told[]; running: number }>(`${session}/park`, {}, own);
  assert.equal(parked.status, 200, parked.text);
  assert.equal(parked.body.running, 0);
  const [away] = parked.body.parked;
  assert.ok(away.tokens > 2000 && ['accepted', 'clipped'].includes(away.answer), parked.text);
  const { body: state } = await get<ThreadState>(session, own);
  assert.ok(state.parkedAt !== null);
  await first.stop();

  const second = await startUp(UP);
  const again = sessionOf(second, 'long work');
  const { body: found } = await get<ThreadState>(again, own);
  assert.deepEqual([found.turns, found.contextTokens], [state.turns, state.contextTokens]);
  assert.equal((await get(again, others)).status, 404);
  const resumed = await post<{ resumed: Told[] }>(`${again}/resume`, {}, own);
  const [back] = resumed.body.resumed;
  assert.equal(back.answer, 'accepted', resumed.text);
  const next = await ask(second, messages, own);
  const { prompt_tokens: prompt, prompt_tokens_details: details } = next.body.usage;
  const share = details.cached_tokens / prompt;
  console.log(
    `parked ${away.tokens} tokens, resumed ${back.tokens} on ${back.worker} after a restart; next turn: ${details.cached_tokens} of ${prompt} cached (${(share * 100).toFixed(1)} %)`,
  );
  assert.ok(share >= 0.95, `${details.cached_tokens} of ${prompt}`);
  assert.equal(next.headers.get('x-stator-worker'), back.worker);
  const { body: receipt } = await receiptOf(second, next, own);
  assert.deepEqual([receipt.session, receipt.thread], ['long work', 'long work']);

  // A worker that dies takes its memory with it, and not its files.
  messages.push(next.body.choices[0].message, { role: 'user', content: 'now the fourth part' });
  await post(`${again}/park`, {}, own);
  const holder = (await second.cards()).get(back.worker ?? '') ?? assert.fail('it is up');
  process.kill(holder.pid, 'SIGKILL');
  await until(
    'another worker stands in for it',
    async () => {
      const pids = [...(await second.cards()).values()].map(({ pid }) => pid);
      return pids.length === 2 && !pids.includes(holder.pid);
    },
    60_000,
  );
  const renewed = await post<{ resumed: Told[] }>(`${again}/resume`, {}, own);
  assert.equal(renewed.body.resumed[0].answer, 'accepted', renewed.text);
  const last = await ask(second, messages, own);
  const lastShare =
    last.body.usage.prompt_tokens_details.cached_tokens / last.body.usage.prompt_tokens;
  console.log(`after its worker was killed: ${(lastShare * 100).toFixed(1)} % cached`);
  assert.ok(lastShare >= 0.95);
  await second.stop();
});

test('a fork begins as its origin, in its session, and both go on apart', async () => {
  const up = await startUp(['--engine=sim', '--workers=2']);
  const origin = { 'x-session-id': 'origin' };
  const messages: object[] = [SYSTEM, { role: 'user', content: 'think of a plan' }];
  const { body: begun } = await ask(up, messages, origin);
  messages.push(begun.choices[0].message);
  const forked = await post<ThreadState>(`${sessionOf(up, 'origin')}/fork`, { thread: 'other' });
  assert.deepEqual(
    [forked.body.session, forked.body.thread, forked.body.parent, forked.body.turns],
    ['origin', 'other', 'origin', 0],
  );
  assert.equal((await post(`${sessionOf(up, 'origin')}/fork`, { thread: 'other' })).status, 400);
  // Any of the headers that name a session names the fork.
  const fork = await ask(up, [...messages, { role: 'user', content: 'try another way' }], {
    'x-session-id': 'other',
  });
  const { body: receipt } = await receiptOf(up, fork);
  assert.deepEqual(
    [receipt.session, receipt.thread, receipt.parent, receipt.relation],
    ['origin', 'other', 'origin', 'forks'],
  );
  const { prompt_tokens: prompt, prompt_tokens_details: details } = fork.body.usage;
  assert.ok(details.cached_tokens / prompt >= 0.9, `${details.cached_tokens} of ${prompt}`);
  const own = await ask(up, [...messages, { role: 'user', content: 'go on' }], origin);
  assert.equal((await receiptOf(up, own)).body.thread, 'origin');
  const { body } = await get<{ threads: ThreadState[] }>(sessionOf(up, 'origin'));
  assert.deepEqual(body.threads.map(({ thread }) => thread).sort(), ['origin', 'other']);
  await up.stop();
});

test('what was warmed is in cache for whoever begins like it, and warming again computes nothing', async () => {
  const up = await startUp(['--engine=sim', '--workers=2']);
  const path = `${up.url}/stator/v1/sessions/warm`;
  const parameters = { type: 'object', properties: { path: { type: 'string' } } };
  const tools = [{ type: 'function', function: { name: 'read', parameters } }];
  const warm = () => post<Warmed>(path, { model: 'demo', messages: [SYSTEM], tools, ttlS: 600 });
  const cold = await warm();
  assert.equal(cold.status, 200, cold.text);
  assert.ok((cold.body.computedTokens ?? 0) > 2000);
  assert.equal(cold.body.answer, 'accepted');
  assert.ok(Date.parse(cold.body.keptUntil ?? '') > Date.now() + 500_000);
  const again = await warm();
  assert.deepEqual([again.body.session, again.body.worker], [cold.body.session, cold.body.worker]);
  assert.ok((again.body.computedTokens ?? 1000) < 40, again.text);
  const user = { role: 'user', content: 'What is there in the first of all files?' };
  const turn = await ask(up, [SYSTEM, user], {}, { tools });
  const { prompt_tokens: prompt, prompt_tokens_details: details } = turn.body.usage;
  assert.ok(details.cached_tokens / prompt >= 0.95, `${details.cached_tokens} of ${prompt}`);
  assert.equal(turn.headers.get('x-stator-worker'), cold.body.worker);
  const system = SYSTEM.content;
  for (const body of [
    { model: 'demo', system, tools: [{ name: 'read', input_schema: parameters }] },
    { model: 'demo', instructions: system, input: [] },
  ]) {
    const other = await post<Warmed>(path, body);
    assert.equal(other.status, 200, other.text);
  }
  assert.equal((await post(path, { model: 'nobody', messages: [SYSTEM] })).status, 404);
  await until('metrics tell what was asked of workers', async () => {
    const { text } = await get(`${up.url}/metrics`);
    return /stator_kv_actions_total\{action="retain",answer="accepted"\} [1-9]/.test(text);
  });
  await up.stop();
});

test('a program that calls the same tool for ever is stopped, on its receipt and in metrics', async () => {
  const config = write('runaway.yaml', 'runaway: {repeatsMax: 3, tokensMax: 100000}\n');
  const up = await startUp(['--engine=sim', '--workers=1', '-c', config]);
  const messages: object[] = [{ role: 'user', content: 'look into it' }];
  const tools = [{ type: 'function', function: { name: 'read', parameters: { type: 'object' } } }];
  const looped = (i: number) => [
    {
      role: 'assistant',
      content: null,
      tool_calls: [
        { id: `c${i}`, type: 'function', function: { name: 'read', arguments: '{"path":"a"}' } },
      ],
    },
    { role: 'tool', tool_call_id: `c${i}`, content: 'nothing new' },
  ];
  const session = { 'x-session-id': 'stuck' };
  for (let i = 0; i < 3; i++) {
    await ask(up, messages, session, { tools });
    messages.push(...looped(i));
  }
  const url = `${up.url}/v1/chat/completions`;
  const body = { model: 'demo', messages, tools, stream: true };
  const stopped = await post<{ error: { code: string } }>(url, body, session);
  assert.deepEqual([stopped.status, stopped.body.error.code], [400, 'runaway_tool_calls']);
  const list = await get<{ receipts: Receipt[] }>(`${up.url}/stator/v1/receipts?thread=stuck`);
  assert.equal(list.body.receipts[0].actual.error, 'runaway_tool_calls');
  const { text } = await get(`${up.url}/metrics`);
  assert.match(text, /stator_rejections_total\{reason="runaway_tool_calls"\} 1/);
  const bound = { ...session, 'x-stator-tokens-max': '10' };
  const said = [...messages, { role: 'user', content: 'try something else' }];
  await ask(up, said, session, { tools });
  const spent = await post<{ error: { code: string } }>(url, { ...body, messages: said }, bound);
  assert.deepEqual([spent.status, spent.body.error.code], [400, 'token_budget_exceeded']);
  const logged = up.stderr.split('\n').filter((line) => /stuck.* of tenant/.test(line));
  assert.equal(logged.length, 2, 'each is logged once');
  await up.stop();
});

interface Warmed {
  session: string;
  worker: string | null;
  computedTokens: number | null;
  answer: string | null;
  keptUntil: string | null;
}

async function ask({ url }: Stack, messages: object[], headers: HeaderFields, more: object = {}) {
  const body = { model: 'demo', max_tokens: 30, temperature: 0, messages, ...more };
  const answer = await post<Answer>(`${url}/v1/chat/completions`, body, headers);
  assert.equal(answer.status, 200, answer.text);
  return answer;
}

function sessionOf({ url }: Stack, name: string): string {
  return `${url}/stator/v1/sessions/${encodeURIComponent(name)}`;
}

function receiptOf({ url }: Stack, answer: { headers: Headers }, headers: HeaderFields = {}) {
  return get<Receipt>(
    `${url}/stator/v1/receipts/${answer.headers.get('x-stator-receipt')}`,
    headers,
  );
}
