/** Several models behind one gateway: names that are dealt, and who answers when one is gone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Receipt } from '../../src/model/receipt.ts';
import { get, post } from './client.ts';
import { Running, startWorker, until, write } from './stack.ts';

interface Answer {
  model: string;
  choices: { message: { content: string } }[];
}

test('names are dealt by session, and a model that is gone is answered for by its fallback', async () => {
  const [big, small] = await Promise.all(
    ['big', 'small'].map((name) => startWorker(['--engine=sim', `--model-name=${name}`])),
  );
  const config = write(
    'models.yaml',
    [
      'listen: {port: 0}',
      'limits: {fallbackUs: 1000000}',
      `workers: [{url: '${big.card.url}'}, {url: '${small.card.url}'}]`,
      'models:',
      '  - {name: big, fallbacks: [small]}',
      '  - {name: never, fallbacks: [big, small]}',
      '  - {name: latest, split: [{model: big, weight: 1}, {model: small, weight: 1}]}',
    ].join('\n'),
  );
  const gateway = new Running(['serve', '-c', config]);
  let url = '';
  await until('the gateway serves', () => {
    assert.ok(!gateway.hasEnded, gateway.stderr);
    url = /on (http\S+)/.exec(gateway.stdout)?.[1] ?? '';
    return url !== '';
  });
  const ask = async (model: string, session: string) => {
    const messages = [{ role: 'user', content: 'Hello' }];
    const headers = { 'x-stator-session-id': session };
    return await post<Answer>(`${url}/v1/chat/completions`, { model, messages }, headers);
  };
  await until('both models are up', async () => {
    const { body } = await get<{ data: { id: string }[] }>(`${url}/v1/models`);
    return ['big', 'small', 'latest'].every((name) => body.data.some(({ id }) => id === name));
  });

  const dealt = new Map<string, string>();
  for (let i = 0; i < 24; i++) {
    const { status, body } = await ask('latest', `s${i % 12}`);
    assert.equal(status, 200);
    const before = dealt.get(`s${i % 12}`);
    assert.ok(before === undefined || before === body.model, 'a session stays with its model');
    dealt.set(`s${i % 12}`, body.model);
  }
  assert.deepEqual(new Set(dealt.values()), new Set(['big', 'small']));

  const unknown = await ask('never', 's');
  assert.equal(unknown.body.model, 'big', 'of which there never was a worker');
  assert.equal((await ask('big', 's')).body.model, 'big');
  big.child.kill('SIGKILL');
  await big.ended;
  const instead = await ask('big', 's');
  assert.deepEqual([instead.status, instead.body.model], [200, 'small']);
  const id = instead.headers.get('x-stator-receipt');
  const { body: receipt } = await get<Receipt>(`${url}/stator/v1/receipts/${id}`);
  assert.equal(receipt.model, 'small');
  assert.match(receipt.notes.join(' '), /No engine could serve "big": "small" answers instead/);
  await small.stop();
  await gateway.stop();
});
