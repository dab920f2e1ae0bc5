/**
 * Sessions over HTTP, each to its own tenant; admin keys see everybody's, unless they speak for a tenant.
 *
 *   GET  /stator/v1/sessions?limit=20&after=…    a page of them, the earliest begun first
 *   GET  /stator/v1/sessions/{id}                its last thread's state, and all its threads'
 *   POST /stator/v1/sessions/{id}/end            its KV is let go
 *
 * {id} is a session's or one thread's.
 */
import { type Call, replyJson } from '../../http/call.ts';
import type { Route } from '../../http/router.ts';
import { GatewayError } from '../../model/error.ts';
import type { TenantId } from '../../model/ids.ts';
import type { Access } from '../access.ts';
import type { Sessions } from './sessions.ts';

export interface SessionRoutesParts {
  access: Access;
  sessions: Sessions;
}

const PATH = '/stator/v1/sessions';
const LISTED = 20;
const LISTED_MAX = 1000;

export function sessionRoutes(parts: SessionRoutesParts): Map<string, Route> {
  return new Map<string, Route>([
    [`GET ${PATH}`, (call) => list(call, parts)],
    [`GET ${PATH}/*`, (call) => one(call, parts)],
    [`POST ${PATH}/*`, (call) => end(call, parts)],
  ]);
}

function list(call: Call, { access, sessions }: SessionRoutesParts): void {
  const { tenant, seesAll } = callerOf(call, access);
  const limit = countIn(call, 'limit', LISTED);
  if (limit < 1 || limit > LISTED_MAX) {
    const sentence = `limit must be a whole number from 1 to ${LISTED_MAX}.`;
    throw new GatewayError('invalid_request', sentence, { param: 'limit' });
  }
  const after = countIn(call, 'after', 0);
  replyJson(call.reply, 200, sessions.list(seesAll ? undefined : tenant, { after, limit }));
}

function one(call: Call, parts: SessionRoutesParts): void {
  const { tenant, name } = named(call, parts, call.path.slice(PATH.length + 1));
  const threads = parts.sessions.find(tenant, name);
  if (threads === undefined) throw nowhere();
  replyJson(call.reply, 200, { ...threads[0], threads });
}

async function end(call: Call, parts: SessionRoutesParts): Promise<void> {
  const encoded = /^(.+)\/end$/.exec(call.path.slice(PATH.length + 1))?.[1];
  if (encoded === undefined)
    throw new GatewayError('not_found', `There is no POST ${PATH}/… of that name.`);
  const { tenant, name } = named(call, parts, encoded);
  const ended = await parts.sessions.end(tenant, name);
  if (ended === undefined) throw nowhere();
  replyJson(call.reply, 200, { ended: name, ...ended });
}

function named(
  call: Call,
  { access, sessions }: SessionRoutesParts,
  encoded: string,
): { tenant: TenantId; name: string } {
  const { tenant, seesAll } = callerOf(call, access);
  const name = decoded(encoded);
  const isOwn = sessions.find(tenant, name) !== undefined;
  const owner = isOwn || !seesAll ? tenant : sessions.ownerOf(name);
  if (owner === undefined) throw nowhere();
  return { tenant: owner, name };
}

/** Whoever names a tenant speaks for it alone. */
function callerOf(call: Call, access: Access): { tenant: TenantId; seesAll: boolean } {
  access.sameSite(call);
  const { tenant, admin } = access.caller(call);
  const isNamed = (call.headers['x-tenant-id'] ?? '') !== '';
  return { tenant, seesAll: admin && !isNamed };
}

function nowhere(): GatewayError {
  return new GatewayError('not_found', 'There is no such session (any more).');
}

/** A name that is no encoded text stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function countIn(call: Call, name: string, otherwise: number): number {
  const text = call.query.get(name);
  if (text === null) return otherwise;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new GatewayError('invalid_request', `${name} must be a whole number.`, { param: name });
}
