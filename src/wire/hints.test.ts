import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../model/error.ts';
import { readHints } from './hints.ts';

test('what a request asks of its worker is read, and what is malformed is named', () => {
  const routing = { worker: 'w1', adapter: 'sql', tolerations: ['spot'], labels: { zone: 'b' } };
  assert.deepEqual(readHints({ nvext: { routing } }).wants, {
    worker: 'w1',
    adapter: 'sql',
    tolerations: ['spot'],
    labels: [['zone', 'b']],
  });
  assert.equal(readHints({}).wants, undefined);
  const wrong: [unknown, string][] = [
    ['w1', 'nvext.routing'],
    [{ worker: 3 }, 'nvext.routing.worker'],
    [{ tolerations: ['spot', 4] }, 'nvext.routing.tolerations[1]'],
    [{ labels: { zone: 5 } }, 'nvext.routing.labels.zone'],
  ];
  for (const [given, where] of wrong) {
    assert.throws(
      () => readHints({ nvext: { routing: given } }),
      (error) => error instanceof GatewayError && error.message.includes(where),
    );
  }
});
