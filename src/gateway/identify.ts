/**
 * Which session and thread a request belongs to, from what coding agents send unasked. The first
 * signal that matches counts. (session, agent) is the thread: a sub-agent shares its parent's session,
 * but no prefix.
 */
import { GatewayError } from '../model/error.ts';
import type { SessionId, TenantId, ThreadId } from '../model/ids.ts';
import type { Identity } from '../model/session.ts';

type Headers = Readonly<Record<string, string | undefined>>;

interface Named {
  session: string;
  thread: string;
  parent?: string;
  knownBy: string;
}

const NAME_BYTES_MAX = 256;

export function identify(
  tenant: TenantId,
  headers: Headers,
  bodyNames: readonly { field: string; value: string }[],
): Identity {
  const named = explicit(headers) ?? byAgent(headers) ?? byBody(bodyNames);
  const isFinal = isTrue(headers['x-stator-session-final'] ?? headers['x-dynamo-session-final']);
  if (named === undefined) {
    return {
      tenant,
      session: undefined,
      thread: undefined,
      parentSession: undefined,
      knownBy: 'nothing',
      isFinal,
    };
  }
  for (const name of [named.session, named.thread, named.parent ?? '']) {
    if (Buffer.byteLength(name) <= 2 * NAME_BYTES_MAX) continue;
    throw new GatewayError('invalid_request', `The id in ${named.knownBy} is longer than allowed.`);
  }
  return {
    tenant,
    session: named.session as SessionId,
    thread: named.thread as ThreadId,
    parentSession: named.parent as SessionId | undefined,
    knownBy: named.knownBy,
    isFinal,
  };
}

/** Our own headers and Dynamo's say it outright. */
function explicit(headers: Headers): Named | undefined {
  for (const prefix of ['x-stator', 'x-dynamo']) {
    const session = present(headers[`${prefix}-session-id`]);
    if (session === undefined) continue;
    const parent = present(headers[`${prefix}-parent-session-id`]);
    return { session, thread: session, parent, knownBy: `${prefix}-session-id` };
  }
  return undefined;
}

/** Headers that agents send by themselves. */
function byAgent(headers: Headers): Named | undefined {
  const claude = present(headers['x-claude-code-session-id']);
  if (claude !== undefined) {
    const agent = present(headers['x-claude-code-agent-id']);
    const knownBy = 'x-claude-code-session-id';
    if (agent === undefined) return { session: claude, thread: claude, knownBy };
    return {
      session: claude,
      thread: `${claude}/${agent}`,
      parent: present(headers['x-claude-code-parent-agent-id']) ?? claude,
      knownBy: `${knownBy}, x-claude-code-agent-id`,
    };
  }
  // Codex: sub-agents share the session and the cache key; only the thread id tells them apart.
  const thread = present(headers['thread-id']);
  if (thread !== undefined) {
    const session = present(headers['session-id']) ?? thread;
    const parent = present(headers['x-codex-parent-thread-id']);
    return { session, thread, parent, knownBy: 'thread-id' };
  }
  // opencode and Kilo name a sub-agent's own session, and its parent.
  for (const name of ['x-session-id', 'x-session-affinity', 'x-opencode-session', 'session-id']) {
    const session = present(headers[name]);
    if (session === undefined) continue;
    return {
      session,
      thread: session,
      parent: present(headers['x-parent-session-id']),
      knownBy: name,
    };
  }
  return undefined;
}

function byBody(names: readonly { field: string; value: string }[]): Named | undefined {
  const first = names[0];
  if (first === undefined) return undefined;
  return { session: first.value, thread: first.value, knownBy: first.field };
}

function present(value: string | undefined): string | undefined {
  const trimmed = value?.trim();
  return trimmed === '' ? undefined : trimmed;
}

function isTrue(value: string | undefined): boolean {
  return value === '1' || value?.toLowerCase() === 'true';
}
