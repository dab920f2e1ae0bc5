import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recorded } from '../../test/recorded.ts';
import { GatewayError } from '../model/error.ts';
import type { TenantId } from '../model/ids.ts';
import { anthropicMessages } from '../wire/anthropic-messages.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { identify } from './identify.ts';

const TENANT = 't' as TenantId;

/** The header that names the session of each recorded client; the others name none. */
const NAMED_BY: Record<string, string> = {
  'claude-code': 'x-claude-code-session-id',
  codex: 'session-id',
  'opencode-chat': 'x-session-id',
  // Only with its flag; without it, it names none.
  'pi-chat': 'x-session-affinity',
};

test('each recorded agent’s requests belong to the session it named, and nobody else’s to any', () => {
  const requests = recorded('/v1/messages', '/v1/chat/completions', '/v1/responses');
  const clients = new Set(requests.map(({ client }) => client));
  for (const client of ['claude-code', 'codex', 'opencode-chat']) assert.ok(clients.has(client));
  const threads = new Set<string>();
  const sessions = new Set<string>();
  for (const { name, client, path, headers, body } of requests) {
    const names = path === '/v1/responses' ? [] : wireOf(path).parse(body).names;
    const who = identify(TENANT, headers, names);
    const expected = NAMED_BY[client] === undefined ? undefined : headers[NAMED_BY[client]];
    assert.equal(who.session, expected, name);
    if (client === 'claude-code') {
      threads.add(who.thread ?? '');
      sessions.add(who.session ?? '');
      // Behind a proxy that drops headers, the body still tells.
      assert.equal(identify(TENANT, {}, names).session, expected, name);
    }
    if (expected === undefined) assert.equal(who.knownBy, 'nothing');
  }
  assert.ok(threads.size > sessions.size, 'Claude Code’s sub-agent is a thread of its own');
});

test('a sub-agent is a thread of its own within its parent’s session', () => {
  const claude = { 'x-claude-code-session-id': 's' };
  assertWho(claude, { session: 's', thread: 's', parent: undefined });
  assertWho(
    { ...claude, 'x-claude-code-agent-id': 'a' },
    { session: 's', thread: 's/a', parent: 's' },
  );
  assertWho(
    { ...claude, 'x-claude-code-agent-id': 'b', 'x-claude-code-parent-agent-id': 'a' },
    { session: 's', thread: 's/b', parent: 's/a' },
  );
  const codex = { 'session-id': 's', 'thread-id': 'child', 'x-codex-parent-thread-id': 's' };
  assertWho(codex, { session: 's', thread: 'child', parent: 's' });
  const opencode = { 'x-session-id': 'child', 'x-parent-session-id': 's' };
  assertWho(opencode, { session: 'child', thread: 'child', parent: 's' });
});

test('what is said outright counts before what an agent sends unasked, and that before the body', () => {
  const body = [
    { field: 'prompt_cache_key', value: 'body' },
    { field: 'user', value: 'second' },
  ];
  const agent = { 'x-claude-code-session-id': 'agent' };
  const explicit = { 'x-dynamo-session-id': 'dynamo', 'x-dynamo-parent-session-id': 'p' };
  const known = (headers: Record<string, string>) => {
    const { session, knownBy } = identify(TENANT, headers, body);
    return [session, knownBy];
  };
  assert.deepEqual(known({}), ['body', 'prompt_cache_key']);
  assert.deepEqual(known(agent), ['agent', 'x-claude-code-session-id']);
  assert.deepEqual(known({ ...agent, ...explicit }), ['dynamo', 'x-dynamo-session-id']);
  const own = { 'x-stator-session-id': ' own ' };
  assert.deepEqual(known({ ...agent, ...explicit, ...own }), ['own', 'x-stator-session-id']);
  assert.deepEqual(known({ 'x-stator-session-id': '  ' }), ['body', 'prompt_cache_key']);
});

test('the end of a session is heard, also of one without a name', () => {
  const isFinal = (headers: Record<string, string>) => identify(TENANT, headers, []).isFinal;
  assert.equal(isFinal({ 'x-stator-session-final': 'True' }), true);
  assert.equal(isFinal({ 'x-dynamo-session-final': '1' }), true);
  assert.equal(isFinal({ 'x-stator-session-final': 'no' }), false);
});

test('an id longer than any client’s is refused, wherever it stands', () => {
  const long = 'é'.repeat(300);
  const headers: Record<string, string>[] = [
    { 'x-stator-session-id': long },
    { 'x-stator-session-id': 's', 'x-stator-parent-session-id': long },
    { 'x-claude-code-session-id': 's', 'x-claude-code-agent-id': long },
  ];
  for (const given of headers) assert.throws(() => identify(TENANT, given, []), isRefusal);
  assert.throws(() => identify(TENANT, {}, [{ field: 'user', value: long }]), isRefusal);
});

function wireOf(path: string) {
  return path === '/v1/messages' ? anthropicMessages : openaiChat;
}

function isRefusal(error: Error): boolean {
  return error instanceof GatewayError && error.status === 400 && error.message.length < 200;
}

function assertWho(
  headers: Record<string, string>,
  expected: { session: string; thread: string; parent: string | undefined },
): void {
  const { session, thread, parent } = identify(TENANT, headers, []);
  assert.deepEqual({ session, thread, parent: parent }, expected);
}
