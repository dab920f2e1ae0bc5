import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isWhole, recorded } from '../../test/recorded.ts';
import { readHints } from './hints.ts';

const ephemeral = (ttl?: unknown) => ({ cache_control: { type: 'ephemeral', ttl } });

test('a time that a client names is its wish, wherever it names it', () => {
  const text = (marker: object) => ({ type: 'text', text: 'x', ...marker });
  const said: [object, number | undefined][] = [
    [{}, undefined],
    [{ system: [text(ephemeral())] }, undefined],
    [{ system: [text(ephemeral('1h'))] }, 3600],
    [{ tools: [{ name: 't', ...ephemeral('5m') }] }, 300],
    [{ messages: [{ role: 'user', content: [text({}), text(ephemeral('5m'))] }] }, 300],
    [{ system: [text(ephemeral('1h'))], messages: [{ content: [text(ephemeral('5m'))] }] }, 3600],
    [{ ...ephemeral('1h') }, 3600],
    [{ prompt_cache_retention: '24h' }, 86_400],
    [{ prompt_cache_retention: 'in_memory' }, undefined],
    [{ nvext: { session_control: { session_id: 's', action: 'bind', timeout: 90 } } }, 90],
    // No longer than anybody may keep anything.
    [{ prompt_cache_retention: '999d' }, 86_400],
    [{ nvext: { session_control: { timeout: 1e8 } } }, 86_400],
  ];
  for (const [body, seconds] of said) {
    const us = seconds === undefined ? undefined : seconds * 1e6;
    assert.equal(readHints({ ...body }).retentionUs, us, JSON.stringify(body));
  }
});

test('what is no time, or stands where no list is, is no wish', () => {
  for (const ttl of ['forever', '', '0s', '-1h', '1.5h', {}, [], null, true]) {
    assert.equal(readHints({ system: [{ ...ephemeral(ttl) }] }).retentionUs, undefined);
  }
  const odd: object[] = [
    { system: 'text', tools: 'none', messages: { a: 1 } },
    { messages: [null, 3, 'x', { content: 'text' }, { content: [null, 5] }] },
    { cache_control: 'ephemeral' },
    { cache_control: null },
  ];
  for (const body of odd) assert.equal(readHints({ ...body }).retentionUs, undefined);
});

test('the longer of two wishes counts, and says so', () => {
  const body = { prompt_cache_retention: '24h', ...ephemeral('5m') };
  const { retentionUs, notes } = readHints(body);
  assert.equal(retentionUs, 86_400e6);
  assert.deepEqual(notes, [
    'cache_control asks to keep KV for 300 s and prompt_cache_retention for 86400 s: the longer counts.',
  ]);
});

test('recorded clients wish for nothing that they were not told to', () => {
  for (const { name, body } of recorded('/v1/messages', '/v1/responses')) {
    const said = JSON.stringify(body).includes('"ttl"');
    assert.equal(readHints(body).retentionUs !== undefined, said, `${name} ${isWhole()}`);
  }
});
