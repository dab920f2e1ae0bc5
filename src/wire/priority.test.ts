import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../model/error.ts';
import { headedHints, readHints } from './hints.ts';

test('every signal of importance is read, with one polarity', () => {
  const said: [object, number, string | undefined][] = [
    [{}, 0, undefined],
    [{ nvext: { agent_hints: { priority: 5 } } }, 5, 'nvext.agent_hints.priority'],
    [{ priority: 5 }, -5, 'priority'],
    [{ priority: 0 }, 0, 'priority'],
    [{ service_tier: 'flex' }, -1, 'service_tier'],
    [{ service_tier: 'batch' }, -2, 'service_tier'],
    [{ service_tier: 'priority' }, 1, 'service_tier'],
    [{ service_tier: 'auto' }, 0, undefined],
    [{ service_tier: 'standard_only' }, 0, undefined],
    [{ service_tier: 7 }, 0, undefined],
  ];
  for (const [body, priority, by] of said) {
    const hints = readHints({ ...body });
    assert.deepEqual([hints.priority, hints.priorityBy], [priority, by], JSON.stringify(body));
    assert.ok(Object.is(hints.priority, priority), 'no negative zero');
    assert.equal(hints.notes, undefined);
  }
});

test('headers count before the body, and what contradicts is told', () => {
  const body = {
    nvext: { agent_hints: { priority: 5, strict_priority: 2 } },
    service_tier: 'flex',
  };
  const hints = headedHints(readHints(body), {
    'x-dynamo-request-priority': '-3',
    'x-dynamo-request-strict-priority': '4',
  });
  assert.equal(hints.priority, -3);
  assert.equal(hints.priorityBy, 'x-dynamo-request-priority');
  assert.equal(hints.strictPriority, 4);
  assert.deepEqual(hints.notes, [
    'service_tier says another priority than nvext.agent_hints.priority, which counts.',
    'nvext.agent_hints.priority says another priority than x-dynamo-request-priority, which counts.',
  ]);
  const both = { 'x-stator-request-priority': '7', 'x-dynamo-request-priority': '7' };
  const agreed = headedHints(readHints({}), both);
  assert.deepEqual([agreed.priority, agreed.notes], [7, undefined]);
});

test('a header that holds no number does not count and says so; such a field is refused', () => {
  const hints = headedHints(readHints({ priority: -4 }), { 'x-stator-request-priority': 'high' });
  assert.equal(hints.priority, 4);
  assert.deepEqual(hints.notes, [
    'x-stator-request-priority is no whole number, so it does not count.',
  ]);
  for (const body of [
    { priority: 'high' },
    { nvext: { agent_hints: { priority: Number.NaN } } },
    { nvext: { agent_hints: { strict_priority: -1 } } },
  ]) {
    assert.throws(() => readHints({ ...body }), GatewayError);
  }
});
