/**
 * Sessions over HTTP, each to its own tenant; admin keys see everybody's, unless they speak for a tenant.
 *
 *   GET  /stator/v1/sessions?limit=20&after=…    a page of them, the earliest begun first
 *   GET  /stator/v1/sessions/{id}                its last thread's state, and all its threads'
 *   POST /stator/v1/sessions/{id}/end            its KV is let go
 *   POST /stator/v1/sessions/{id}/fork           a thread that begins as its last one
 *   POST /stator/v1/sessions/{id}/park           its KV goes to disk
 *   POST /stator/v1/sessions/{id}/resume         and comes back
 *   POST /stator/v1/sessions/warm                what sessions will begin with is computed ahead
 *
 * {id} is a session's or one thread's.
 */
import { randomBytes } from 'node:crypto';
import { type Call, replyJson } from '../../http/call.ts';
import { jsonBody } from '../../http/json-body.ts';
import type { Route } from '../../http/router.ts';
import { GatewayError } from '../../model/error.ts';
import type { TenantId, ThreadId } from '../../model/ids.ts';
import { TTL_S_MAX } from '../../model/kv-control.ts';
import { type Json, object, optionalNumber, optionalString, wrong } from '../../wire/fields.ts';
import type { Access } from '../access.ts';
import { ID_BYTES_MAX } from '../identify.ts';
import type { Keeping } from './keeping.ts';
import type { Parking } from './parking.ts';
import type { Sessions } from './sessions.ts';
import { Warming, type WarmingParts } from './warming.ts';

export interface SessionRoutesParts extends WarmingParts {
  access: Access;
  sessions: Sessions;
  keeping: Keeping;
  parking: Parking;
  /** What was kept of sessions is known again. */
  restored: Promise<void>;
}

const PATH = '/stator/v1/sessions';
const LISTED = 20;
const LISTED_MAX = 1000;

/** How long KV is kept where nobody says: until a fork has begun, a prompt was used, work goes on. */
const FORK_S = 300;
const WARM_S = 3600;

interface Named {
  tenant: TenantId;
  name: string;
}

/** Undefined where there is nothing of that name (any more). */
type Act = (call: Call, of: Named) => Promise<unknown>;

export function sessionRoutes(parts: SessionRoutesParts): Map<string, Route> {
  const { restored } = parts;
  const acts: Record<string, Act> = {
    end: (_call, of) => end(of, parts),
    fork: (call, of) => fork(call, of, parts),
    park: (call, of) => park(call, of, parts),
    resume: (call, of) => resume(call, of, parts),
  };
  const warming = new Warming(parts);
  const routes: [string, Route][] = [
    [`GET ${PATH}`, (call) => list(call, parts)],
    [`POST ${PATH}/warm`, (call) => warm(call, parts.access, warming)],
    [`GET ${PATH}/*`, (call) => one(call, parts)],
    [`POST ${PATH}/*`, (call) => act(call, parts, acts)],
  ];
  // Right after a start there are more sessions than are known yet.
  return new Map(
    routes.map(([path, route]) => [
      path,
      async (call) => {
        await restored;
        await route(call);
      },
    ]),
  );
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

/** What is to be done is the last part of the path; names may hold slashes of their own. */
async function act(
  call: Call,
  parts: SessionRoutesParts,
  acts: Record<string, Act>,
): Promise<void> {
  const [, encoded, verb] = /^(.+)\/([a-z]+)$/.exec(call.path.slice(PATH.length + 1)) ?? [];
  if (encoded === undefined || !Object.hasOwn(acts, verb)) {
    throw new GatewayError('not_found', `There is no POST ${PATH}/… of that name.`);
  }
  const done = await acts[verb](call, named(call, parts, encoded));
  if (done === undefined) throw nowhere();
  replyJson(call.reply, 200, done);
}

async function end({ tenant, name }: Named, { sessions }: SessionRoutesParts): Promise<unknown> {
  const ended = await sessions.end(tenant, name);
  return ended && { ended: name, ...ended };
}

/** `{thread, ttlS}`, all optional: its name, and how long what it begins with is kept for it. */
async function fork(call: Call, of: Named, parts: SessionRoutesParts): Promise<unknown> {
  const { clock, sessions, keeping } = parts;
  const origin = sessions.records(of.tenant, of.name)?.[0];
  if (origin === undefined) return undefined;
  const body = await bodyOf(call);
  const ttlUs = ttlIn(body, FORK_S);
  const name = optionalString(body.thread, 'thread') ?? `fork-${randomBytes(9).toString('hex')}`;
  if (name === '' || Buffer.byteLength(name) > ID_BYTES_MAX) {
    throw wrong('thread', `must have from 1 to ${ID_BYTES_MAX} bytes`);
  }
  const record = sessions.fork(origin, name as ThreadId);
  if (record === undefined) throw wrong('thread', 'names a thread that there is');
  // What both begin with stays until it has begun.
  const { worker } = record;
  const told = worker === undefined ? undefined : await keeping.retain(record, worker, ttlUs);
  record.heldUntilMs = clock.wallMs() + ttlUs / 1000;
  return { ...sessions.stateOf(record), answer: told?.answer ?? null };
}

/** `{ttlS}`: so long at least it is not forgotten, as far as there is room. */
async function park(call: Call, of: Named, { parking }: SessionRoutesParts): Promise<unknown> {
  const ttlUs = ttlIn(await bodyOf(call), TTL_S_MAX);
  const parked = await parking.park(of.tenant, of.name, { ttlUs, signal: call.signal });
  return parked && { session: of.name, ...parked };
}

async function resume(call: Call, of: Named, { parking }: SessionRoutesParts): Promise<unknown> {
  const resumed = await parking.resume(of.tenant, of.name, call.signal);
  return resumed && { session: of.name, ...resumed };
}

/** A request of one of the APIs, and `ttlS`. */
async function warm(call: Call, access: Access, warming: Warming): Promise<void> {
  access.sameSite(call);
  const { tenant } = access.caller(call);
  const { ttlS, ...body } = await bodyOf(call);
  const ttlUs = ttlIn({ ttlS }, WARM_S);
  const { requestId, signal } = call;
  const warmed = await warming.warm(tenant, body, { ttlUs, requestId, signal });
  if (!('refused' in warmed)) return replyJson(call.reply, 200, warmed);
  const { status, text, retryAfterS } = warmed.refused;
  call.reply.head(status, {
    'content-type': 'application/json',
    'x-request-id': requestId,
    ...(retryAfterS !== undefined && { 'retry-after': String(retryAfterS) }),
  });
  call.reply.end(text);
}

/** No body is an empty one. */
async function bodyOf(call: Call): Promise<Json> {
  const bytes = await call.body();
  if (bytes.length === 0) return {};
  return object(await jsonBody({ ...call, body: async () => bytes }), 'the body');
}

function ttlIn({ ttlS }: Json, otherwise: number): number {
  const seconds = optionalNumber(ttlS, 'ttlS', { min: 1, max: TTL_S_MAX }) ?? otherwise;
  return Math.round(seconds * 1e6);
}

function named(call: Call, { access, sessions }: SessionRoutesParts, encoded: string): Named {
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
  if (/^\d{1,16}$/.test(text)) return Number(text);
  throw new GatewayError('invalid_request', `${name} must be a whole number.`, { param: name });
}
