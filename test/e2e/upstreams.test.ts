/** Hosted services behind `stator serve`: other wires in front of theirs, and keys that show up nowhere. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Asked, fixture, introduction, play, refuse, standIn } from '../engine-stand-in.ts';
import { get, post } from './client.ts';
import { Stack, until, write } from './stack.ts';

const OPENAI_KEY = 'sk-e2e-openai-0001';
const ANTHROPIC_KEY = 'sk-e2e-anthropic-0002';

test('Messages over an OpenAI upstream, chat completions over an Anthropic one; keys stay inside', async (t) => {
  const openai = await standIn(t, introduction('openai'));
  const anthropic = await standIn(t, introduction('anthropic'));
  const config = [
    'listen: {port: 0}',
    'workers:',
    `  - {url: '${openai.url}', kind: openai, engineModel: gpt-5.1, model: big, keyEnv: E2E_OPENAI_KEY}`,
    `  - {url: '${anthropic.url}', kind: anthropic, model: other, key: ${ANTHROPIC_KEY}}`,
  ];
  const stack = new Stack(['serve', '-c', write('upstreams.yaml', config.join('\n'))], {
    E2E_OPENAI_KEY: OPENAI_KEY,
  });
  await until('it says where it serves', () => {
    if (stack.hasEnded) assert.fail(`serve ended at once: ${stack.stderr}`);
    stack.url = /serves on (http\S+)/.exec(stack.stdout)?.[1] ?? '';
    return stack.url !== '';
  });
  await until('both are known', async () => (await stack.snapshot()).workers.length === 2);

  let asked: Asked | undefined;
  openai.answer = (job) => {
    asked = job;
    play(fixture('openai', 'calls.sse'))(job);
  };
  const messages = [{ role: 'user', content: 'Weather in Paris?' }];
  const tools = [{ name: 'weather', input_schema: { type: 'object' } }];
  const called = await post<{ content: { type: string; input?: unknown }[]; stop_reason: string }>(
    `${stack.url}/v1/messages`,
    { model: 'big', max_tokens: 100, messages, tools, system: 'Be brief.' },
  );
  assert.equal(called.status, 200, called.text);
  assert.equal(called.body.stop_reason, 'tool_use');
  assert.deepEqual(called.body.content.at(-1)?.input, { city: 'Paris' });
  assert.ok(asked !== undefined);
  assert.equal(asked.headers.authorization, `Bearer ${OPENAI_KEY}`);
  assert.equal(asked.body.model, 'gpt-5.1');
  const [system] = asked.body.messages as unknown[];
  assert.deepEqual(system, { role: 'system', content: 'Be brief.' });

  anthropic.answer = (job) => {
    asked = job;
    play(fixture('anthropic', 'chat.sse'))(job);
  };
  const chat = {
    model: 'other',
    messages: [{ role: 'system', content: 'Be brief.' }, ...messages],
  };
  const said = await post<{
    choices: { message: { content: string } }[];
    usage: { prompt_tokens_details: { cached_tokens: number } };
  }>(`${stack.url}/v1/chat/completions`, chat);
  assert.equal(said.body.choices[0].message.content, 'Hello there');
  assert.equal(said.body.usage.prompt_tokens_details.cached_tokens, 8);
  assert.equal(asked?.headers['x-api-key'], ANTHROPIC_KEY);
  assert.deepEqual(asked?.body.system, [
    { type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } },
  ]);

  anthropic.answer = refuse(401, `{"error":{"message":"${ANTHROPIC_KEY} is no key"}}`);
  // Nobody else serves the model, and waiting mends no key: the client hears so at once.
  const refused = await post<{ error: { code: string; message: string } }>(
    `${stack.url}/v1/chat/completions`,
    chat,
  );
  assert.deepEqual([refused.status, refused.body.error.code], [502, 'engine_denied']);
  assert.match(refused.body.error.message, /does not take the key it is sent; mend key:/);
  assert.equal(refused.headers.get('retry-after'), null);
  const { workers } = await stack.snapshot();
  assert.match(workers.map(({ trouble }) => trouble ?? '').join(), /mend key:/);
  assert.match(stack.stderr, /does not take the key it is sent/);
  const shown = [
    refused.text,
    (await get(`${stack.url}/stator/v1/snapshot`)).text,
    (await get(`${stack.url}/stator/v1/receipts`)).text,
    (await get(`${stack.url}/metrics`)).text,
  ];
  await stack.stop();
  for (const text of [...shown, stack.stdout, stack.stderr]) {
    assert.doesNotMatch(text, /sk-e2e/);
  }
});
