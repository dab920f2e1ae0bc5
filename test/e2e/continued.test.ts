/**
 * Answers of the embedded engine that outlive their worker: what was drawn by a seed, and what a grammar
 * asks for, goes on elsewhere as if nothing had happened.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { Receipt } from '../../src/model/receipt.ts';
import { assertCleanEnd, get, type Streamed, streamChat } from './client.ts';
import { isAlive, SMALL, type Stack, startUp, until } from './stack.ts';

let stack: Stack;
before(async () => {
  stack = await startUp([...SMALL, '--exact']);
});

const PLAIN = { chat_template_kwargs: { enable_thinking: false } };

/** Long enough to be cut in the middle. */
const LIST = {
  type: 'object',
  properties: {
    steps: {
      type: 'array',
      minItems: 30,
      maxItems: 30,
      items: {
        type: 'object',
        properties: { tool: { enum: ['read', 'write', 'grep'] }, line: { type: 'integer' } },
        required: ['tool', 'line'],
      },
    },
  },
  required: ['steps'],
};

test('drawn by a seed, an answer goes on with the draws it would have had', async () => {
  const asked = { temperature: 0.8, top_k: 40, top_p: 0.7, seed: 11, max_tokens: 150 };
  const { undisturbed, cut } = await bothWays('Tell me of the king.', asked);
  assert.equal(cut.text, undisturbed.text);
  assert.notEqual(cut.text, '');
  const other = await streamChat(stack.url, bodyOf('Tell me of the king.', { ...asked, seed: 12 }));
  assert.notEqual(other.text, undisturbed.text, 'the seed decides');
});

test('cut in the middle of a value, an answer is what its schema asks for, and what it would have been', async () => {
  const json_schema = { name: 'plan', schema: LIST };
  const response_format = { type: 'json_schema', json_schema };
  const asked = { temperature: 0.8, top_k: 40, seed: 3, max_tokens: 2000, response_format };
  const { undisturbed, cut } = await bothWays('Plan it.', asked);
  assert.equal(cut.text, undisturbed.text);
  const { steps } = JSON.parse(cut.text) as { steps: { tool: string; line: number }[] };
  assert.equal(steps.length, 30);
  for (const { tool, line } of steps) {
    assert.ok(['read', 'write', 'grep'].includes(tool) && Number.isInteger(line));
  }
  assert.equal(cut.finish, 'stop');
});

function bodyOf(content: string, asked: object) {
  return { ...PLAIN, messages: [{ role: 'user', content }], ...asked };
}

/** Once left alone, and once with its worker killed after some words. */
async function bothWays(content: string, asked: object) {
  const body = bodyOf(content, asked);
  const undisturbed = await streamChat(stack.url, body);
  assertCleanEnd(undisturbed);
  let texts = 0;
  let killed = 0;
  const onText = async () => {
    if (++texts !== 20) return;
    const { workers } = await stack.snapshot();
    const busy = workers.find(({ requests }) => requests === 1);
    killed = (await stack.cards()).get(busy?.id ?? '')?.pid ?? assert.fail('nobody is busy');
    process.kill(killed, 'SIGKILL');
  };
  const cut = await streamChat(stack.url, body, { onText });
  assertCleanEnd(cut);
  assert.deepEqual(cut.errors, []);
  assert.equal(await attemptsOf(cut), 2, 'another worker went on');
  assert.equal(cut.outputTokens, undisturbed.outputTokens, 'what was said is counted once');
  assert.equal(cut.promptTokens, undisturbed.promptTokens);
  await until('the killed worker is gone', () => !isAlive(killed));
  await until('two workers are well', async () => {
    const { workers } = await stack.snapshot();
    return workers.length === 2 && workers.every(({ healthy, engine }) => healthy && engine);
  });
  return { undisturbed, cut };
}

async function attemptsOf({ headers }: Streamed): Promise<number> {
  const id = headers['x-stator-receipt'];
  return (await get<Receipt>(`${stack.url}/stator/v1/receipts/${id}`)).body.attempts.length;
}
