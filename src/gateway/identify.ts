/**
 * Which session and thread a request says it belongs to, and what it says it is for. The first signal
 * that matches counts. (session, agent) is the thread: a sub-agent shares its parent's session, but no
 * prefix.
 *
 *   said outright    x-stator-session-id · x-dynamo-session-id · nvext.session_control
 *   sent unasked     Claude Code · Codex · DeepSeek's harness · opencode, Kilo · pi
 *   in the body      session_id · prompt_cache_key · metadata.user_id
 *
 * What it makes of real clients' requests is in test/golden/identities.txt. Those who send nothing are
 * told apart by what they say (lineage/).
 */
import { GatewayError } from '../model/error.ts';
import type { SessionId, TenantId, ThreadId } from '../model/ids.ts';
import type { Identity } from '../model/session.ts';
import { type Headers, present } from '../wire/headers.ts';
import { SESSION_CONTROL } from '../wire/hints.ts';
import { purposeSaid, toolsRan } from './purpose.ts';

/** A name of a session found in the body. */
export interface BodyName {
  field: string;
  value: string;
}

interface Named {
  session: string;
  thread: string;
  parent?: string | undefined;
  knownBy: string;
}

/** OpenAI's: of requests that begin alike, whatever their threads. */
export const CACHE_KEY = 'prompt_cache_key';

/** As Dynamo bounds them. */
export const ID_BYTES_MAX = 256;

/** Throws `invalid_request` where an id is longer than any client's. */
export function identify(
  tenant: TenantId,
  headers: Headers,
  bodyNames: readonly BodyName[],
): Identity {
  const named = explicit(headers, bodyNames) ?? byAgent(headers) ?? byBody(bodyNames);
  const isFinal = isTrue(headers['x-stator-session-final'] ?? headers['x-dynamo-session-final']);
  return {
    tenant,
    session: named?.session as SessionId | undefined,
    thread: named?.thread as ThreadId | undefined,
    // Whoever names itself as its parent has none.
    parent: named?.parent === named?.thread ? undefined : (named?.parent as ThreadId | undefined),
    knownBy: named?.knownBy ?? 'nothing',
    isFinal,
    purpose: purposeSaid(headers),
    relation: 'begins',
    toolsRan: toolsRan(headers),
    notes: named === undefined ? [] : contradictions(named, headers, bodyNames),
  };
}

/** Our own headers and Dynamo's say it outright, and so does the field that Dynamo had before them. */
function explicit(headers: Headers, bodyNames: readonly BodyName[]): Named | undefined {
  for (const prefix of ['x-stator', 'x-dynamo']) {
    const knownBy = `${prefix}-session-id`;
    const session = idIn(headers, knownBy);
    if (session === undefined) continue;
    const parent = idIn(headers, `${prefix}-parent-session-id`);
    return { session, thread: session, parent, knownBy };
  }
  return byBody(bodyNames.filter(({ field }) => field === SESSION_CONTROL));
}

/** Headers that agents send by themselves. */
function byAgent(headers: Headers): Named | undefined {
  return claudeCode(headers) ?? codex(headers) ?? deepseek(headers) ?? plain(headers);
}

function claudeCode(headers: Headers): Named | undefined {
  const knownBy = 'x-claude-code-session-id';
  const session = idIn(headers, knownBy);
  if (session === undefined) return undefined;
  const agent = idIn(headers, 'x-claude-code-agent-id');
  if (agent === undefined) return { session, thread: session, knownBy };
  const parent = idIn(headers, 'x-claude-code-parent-agent-id');
  return {
    session,
    thread: `${session}/${agent}`,
    parent: parent === undefined ? session : `${session}/${parent}`,
    knownBy: `${knownBy}, x-claude-code-agent-id`,
  };
}

/** Sub-agents share session and cache key with their parent; only the thread's id tells them apart. */
function codex(headers: Headers): Named | undefined {
  const thread = idIn(headers, 'thread-id');
  if (thread === undefined) return undefined;
  return {
    session: idIn(headers, 'session-id') ?? thread,
    thread,
    parent: idIn(headers, 'x-codex-parent-thread-id'),
    knownBy: 'thread-id',
  };
}

function deepseek(headers: Headers): Named | undefined {
  const knownBy = 'x-deepseek-harness-session-id';
  const session = idIn(headers, knownBy);
  if (session === undefined) return undefined;
  const parent = idIn(headers, 'x-deepseek-harness-parent-session-id');
  return { session, thread: session, parent, knownBy };
}

/** opencode and Kilo name a sub-agent's own session and its parent; pi, with its flag, and older Codex a session. */
function plain(headers: Headers): Named | undefined {
  for (const knownBy of PLAIN) {
    const session = idIn(headers, knownBy);
    if (session === undefined) continue;
    const parent = idIn(headers, 'x-parent-session-id');
    return { session, thread: session, parent, knownBy };
  }
  return undefined;
}

const PLAIN = [
  'x-session-id',
  'x-session-affinity',
  'x-opencode-session',
  'session_id',
  'session-id',
];

function byBody(names: readonly BodyName[]): Named | undefined {
  const first = names[0];
  if (first === undefined) return undefined;
  refuseLong(first.field, first.value);
  return { session: first.value, thread: first.value, knownBy: first.field };
}

/** Two fields that mean a session and name different ones; a cache key may well be another thing. */
function contradictions(
  { session, knownBy }: Named,
  headers: Headers,
  bodyNames: readonly BodyName[],
): string[] {
  const others: BodyName[] = bodyNames.filter(({ field }) => field !== CACHE_KEY);
  for (const field of ['x-stator-session-id', 'x-dynamo-session-id']) {
    const value = present(headers, field);
    if (value !== undefined) others.push({ field, value });
  }
  return others
    .filter(({ field, value }) => field !== knownBy && value !== session)
    .map(({ field }) => `${field} names another session than ${knownBy}, which counts.`);
}

function idIn(headers: Headers, name: string): string | undefined {
  const id = present(headers, name);
  if (id !== undefined) refuseLong(name, id);
  return id;
}

function refuseLong(field: string, id: string): void {
  if (Buffer.byteLength(id) <= ID_BYTES_MAX) return;
  throw new GatewayError(
    'invalid_request',
    `The id in ${field} is longer than ${ID_BYTES_MAX} bytes.`,
    { param: field },
  );
}

function isTrue(value: string | undefined): boolean {
  return value === '1' || value?.toLowerCase() === 'true';
}
