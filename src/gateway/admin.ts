/** Health, models, metrics, and Stator's own routes under /stator/v1/. */

import { sleep } from '../base/sleep.ts';
import { type Call, replyJson } from '../http/call.ts';
import { jsonBody } from '../http/json-body.ts';
import type { Route } from '../http/router.ts';
import { POLICY_NAMES } from '../kernel/route/policies.ts';
import { GatewayError } from '../model/error.ts';
import type { PolicyReport } from '../model/policy-report.ts';
import type { Clock } from '../ports.ts';
import { listOfModels, oneModel } from '../wire/model-list.ts';
import { sse } from '../wire/sse.ts';
import type { Access } from './access.ts';
import type { Host } from './host.ts';
import type { Models } from './models.ts';
import type { Receipts } from './receipts.ts';
import type { Recordings } from './record/recordings.ts';
import type { Rolling } from './rolling.ts';
import type { Roster } from './roster.ts';
import type { State } from './state.ts';

export interface AdminParts {
  version: string;
  access: Access;
  clock: Clock;
  host: Host;
  models: Models;
  roster: Roster;
  receipts: Receipts;
  state: State;
  /** Undefined: whoever started the workers restarts them. */
  rolling: Rolling | undefined;
  recordings: Recordings;
  metrics: () => string;
  policies: () => PolicyReport[];
  /** How often the page hears news. */
  newsUs: number;
}

export function adminRoutes(parts: AdminParts): Map<string, Route> {
  const { access, receipts, roster, state, version } = parts;
  const routes = new Map<string, Route>();
  const open = (pattern: string, route: Route) => routes.set(pattern, route);
  const admin = (pattern: string, route: Route) =>
    routes.set(pattern, (call) => {
      access.admin(call);
      return route(call);
    });

  open('GET /health', (call) => {
    const up = parts.models.up().length > 0;
    replyJson(call.reply, up ? 200 : 503, { status: up ? 'ok' : 'no engine is up' });
  });
  open('GET /ready', (call) => {
    const up = parts.models.up().length > 0;
    replyJson(call.reply, up ? 200 : 503, { ready: up });
  });
  open('GET /live', (call) => replyJson(call.reply, 200, { live: true }));
  open('GET /version', (call) => replyJson(call.reply, 200, { version }));
  // Claude Code asks these before it starts.
  for (const pattern of ['HEAD /', 'GET /api/hello']) {
    open(pattern, (call) => replyJson(call.reply, 200, { server: 'stator', version }));
  }
  open('GET /v1/models', (call) => {
    access.caller(call);
    replyJson(call.reply, 200, listOfModels(parts.models.listed(), call.headers, call.query));
  });
  open('GET /v1/models/*', (call) => {
    access.caller(call);
    const name = decoded(call.path.slice('/v1/models/'.length));
    replyJson(call.reply, 200, oneModel(parts.models.find(name), call.headers));
  });
  open('GET /stator/v1/receipts', (call) => listReceipts(call, parts));
  open('GET /stator/v1/receipts/*', (call) => {
    access.sameSite(call);
    const receipt = receipts.find(
      access.caller(call),
      call.path.slice('/stator/v1/receipts/'.length),
    );
    if (receipt === undefined)
      throw new GatewayError('not_found', 'There is no such receipt (any more).');
    replyJson(call.reply, 200, receipt);
  });

  admin('GET /metrics', (call) => {
    call.reply.head(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
    call.reply.end(parts.metrics());
  });
  admin('GET /stator/v1/workers', async (call) => {
    replyJson(call.reply, 200, { workers: (await state.snapshot()).workers });
  });
  admin('POST /stator/v1/workers/drain', (call) => drain(call, parts));
  admin('POST /stator/v1/workers/restart', (call) => restart(call, parts));
  admin('GET /stator/v1/snapshot', async (call) =>
    replyJson(call.reply, 200, await state.snapshot()),
  );
  admin('GET /stator/v1/events', (call) => news(call, parts));
  admin('GET /stator/v1/recording', (call) => parts.recordings.stream(call));
  admin('GET /stator/v1/policies', (call) => {
    const reports = parts.policies();
    replyJson(call.reply, 200, { live: parts.host.policy, policies: POLICY_NAMES, reports });
  });
  admin('POST /stator/v1/policies', (call) => setPolicy(call, parts));
  admin('POST /reset_prefix_cache', async (call) => {
    await roster.resetCaches();
    replyJson(call.reply, 200, { reset: roster.size });
  });
  return routes;
}

/** A name that is no encoded text stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The caller's newest receipts. */
function listReceipts(call: Call, { access, receipts }: AdminParts): void {
  access.sameSite(call);
  const caller = access.caller(call);
  const asked = call.query.get('limit') ?? String(RECEIPTS_LISTED);
  const limit = /^\d{1,4}$/.test(asked) ? Number(asked) : 0;
  if (limit < 1 || limit > RECEIPTS_LISTED_MAX) {
    const sentence = `limit must be a whole number from 1 to ${RECEIPTS_LISTED_MAX}.`;
    throw new GatewayError('invalid_request', sentence, { param: 'limit' });
  }
  const thread = call.query.get('thread');
  replyJson(call.reply, 200, { receipts: receipts.list(caller, { limit, thread }) });
}

const RECEIPTS_LISTED = 20;
const RECEIPTS_LISTED_MAX = 1000;

async function setPolicy(call: Call, { host }: AdminParts): Promise<void> {
  const name = ((await jsonBody(call)) as { policy?: unknown } | null)?.policy;
  if (typeof name !== 'string' || !POLICY_NAMES.includes(name)) {
    throw new GatewayError('invalid_request', `policy must be one of ${POLICY_NAMES.join(', ')}.`, {
      param: 'policy',
    });
  }
  host.tell({ kind: 'policyChanged', policy: name });
  replyJson(call.reply, 200, { live: host.policy });
}

/** Answers when the last of them is back. */
async function restart({ reply }: Call, { rolling }: AdminParts): Promise<void> {
  if (rolling === undefined) {
    const sentence =
      'This gateway did not start its workers; drain one, and restart it where it runs.';
    throw new GatewayError('invalid_request', sentence);
  }
  replyJson(reply, 200, { restarted: await rolling.restartAll() });
}

/** `{worker, draining, moves}`: it ends what it runs, or that goes elsewhere, and takes nothing new. */
async function drain(call: Call, { host }: AdminParts): Promise<void> {
  const body = (await jsonBody(call)) as Record<string, unknown> | null;
  const { worker, draining = true, moves = false } = body ?? {};
  const known = host.state().workers.find(({ id }) => id === worker);
  if (known === undefined) throw new GatewayError('not_found', 'There is no worker of that name.');
  for (const [param, value] of Object.entries({ draining, moves })) {
    if (typeof value === 'boolean') continue;
    throw new GatewayError('invalid_request', `${param} must be true or false.`, { param });
  }
  host.tell({
    kind: 'drainChanged',
    worker: known.id,
    draining: draining === true,
    moves: moves === true,
  });
  replyJson(call.reply, 200, { worker: known.id, draining, running: host.countOn(known.id) });
}

/** The snapshot as a stream, for as long as somebody looks. */
async function news(call: Call, { clock, state, newsUs }: AdminParts): Promise<void> {
  call.reply.head(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  while (!call.signal.aborted) {
    await call.reply.write(sse(JSON.stringify(await state.snapshot()), 'snapshot'));
    await sleep(clock, newsUs, call.signal);
  }
  call.reply.end();
}
