/** What clients say of urgency, as the kernel and engines are told it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestId, TenantId } from '../model/ids.ts';
import type { Json } from '../wire/fields.ts';
import { openaiCompletions } from '../wire/openai-completions.ts';
import { identify } from './identify.ts';
import type { ServedModel } from './models.ts';
import { arrivalOf, jobOf, promptOf } from './prompt.ts';

test('engines serve strict ones first, then by priority, and those nobody waits for last', async () => {
  const strict = (value: number) => ({ nvext: { agent_hints: { strict_priority: value } } });
  const rising: Json[] = [
    { service_tier: 'batch' },
    { priority: 2 ** 31 - 1 },
    { priority: 1 },
    {},
    { service_tier: 'priority' },
    { priority: -(2 ** 31) + 1 },
    { ...strict(1), priority: 2 ** 31 - 1 },
    { ...strict(1), priority: -5 },
    { ...strict(2 ** 32 - 1), priority: -(2 ** 31) + 1 },
  ];
  const priorities = await Promise.all(
    rising.map(async (body) => (await asked(body)).job.priority),
  );
  for (let i = 1; i < priorities.length; i++) {
    assert.ok(priorities[i - 1] < priorities[i], `${priorities}`);
  }
  // They travel as vLLM's field, which is read within these bounds.
  assert.ok(priorities.every((priority) => Math.abs(priority) < 2 ** 31));
});

test('flexible tiers run when idle, and hold no place of their session', async () => {
  for (const tier of ['flex', 'batch']) {
    const { arrival } = await asked({ service_tier: tier });
    assert.equal(arrival.whenIdle, true);
    assert.equal(arrival.thread, undefined);
    assert.equal(arrival.session, undefined);
  }
  for (const tier of ['auto', 'default', 'priority', 'other', null, 5]) {
    const { arrival } = await asked({ service_tier: tier });
    assert.equal(arrival.whenIdle, undefined);
    assert.equal(arrival.thread, 'mine');
  }
});

async function asked(body: Json) {
  const model: ServedModel = {
    ...{ name: 'm', tokens: undefined, prompts: undefined },
    ...{ demo: false, contextTokens: 4096 },
  };
  const ask = openaiCompletions.parse({ model: 'm', prompt: 'text', ...body });
  const who = identify('t' as TenantId, { 'x-stator-session-id': 'mine' }, []);
  const prompt = await promptOf(ask, model, who);
  const given = { ask, model, who, prompt, manners: { patienceUs: 1 } };
  const id = 'r' as RequestId;
  return { job: jobOf(id, given), arrival: arrivalOf(id, given) };
}
