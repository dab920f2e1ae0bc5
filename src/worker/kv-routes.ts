/**
 * A worker's KV as others direct it, for whoever started the worker only. Each wish is answered with
 * `{answer, blocks, tokens, sentence?}`; see model/kv-control.ts.
 */
import { type Call, replyJson } from '../http/call.ts';
import { jsonBody } from '../http/json-body.ts';
import type { Route } from '../http/router.ts';
import { GatewayError } from '../model/error.ts';
import { type KvChain, type KvOutcome, TTL_S_MAX } from '../model/kv-control.ts';
import type { KvControl } from '../ports.ts';
import { type Json, object, optionalNumber, wrong } from '../wire/fields.ts';
import { readChain } from '../wire/kv-control.ts';
import { offerSocket, sendAll } from './kv-socket.ts';
import { checkSecret } from './secret.ts';

export interface KvParts {
  kv: KvControl;
  /** Undefined: nobody can prove that he started it, so nobody may. */
  kvSecret: string | undefined;
}

/** Read of a stream after it was refused. */
const UNWANTED_BYTES_MAX = 64 * 1024 * 1024;

type Wish = (kv: KvControl, chain: KvChain, body: Json) => Promise<KvOutcome>;

export function kvRoutes(parts: KvParts): Map<string, Route> {
  return new Map<string, Route>([
    ['POST /kv/retain', wishes(parts, (kv, chain, body) => kv.retain(chain, ttlUs(body)))],
    ['POST /kv/pin', wishes(parts, (kv, chain) => kv.pin(chain))],
    ['POST /kv/release', wishes(parts, (kv, chain) => kv.release(chain))],
    ['POST /kv/demote', wishes(parts, (kv, chain, body) => kv.demote(chain, lower(body)))],
    ['POST /kv/prefetch', wishes(parts, (kv, chain, body) => kv.prefetch(chain, upper(body)))],
    ['GET /kv/export', (call) => exportKv(call, parts, () => chainOfQuery(call.query))],
    ['POST /kv/export', (call) => exportKv(call, parts, () => chainOfBody(call))],
    ['POST /kv/import', (call) => importKv(call, parts)],
  ]);
}

function wishes(parts: KvParts, carryOut: Wish): Route {
  return async (call) => {
    admit(call, parts);
    const body = object(await jsonBody(call), 'body');
    replyJson(call.reply, 200, await carryOut(parts.kv, readChain(body), body));
  };
}

async function exportKv(
  call: Call,
  parts: KvParts,
  named: () => KvChain | Promise<KvChain>,
): Promise<void> {
  admit(call, parts);
  const chain = await named();
  if (isBySocket(call)) return await exportBySocket(call, chain, parts);
  const leaving = new AbortController();
  const leave = () => leaving.abort();
  call.signal.addEventListener('abort', leave, { once: true });
  try {
    const exported = await parts.kv.export(chain, leaving.signal);
    if (exported.kind === 'none') return replyJson(call.reply, 200, exported.outcome);
    call.reply.head(200, { 'content-type': 'application/octet-stream' });
    for await (const bytes of exported.bytes) {
      await call.reply.write(bytes);
      if (leaving.signal.aborted) return;
    }
    call.reply.end();
  } catch (thrown) {
    // A stream that broke off must not look like one that ended.
    if (!call.reply.headSent) throw thrown;
    call.reply.destroy();
  } finally {
    call.signal.removeEventListener('abort', leave);
    leaving.abort();
  }
}

async function importKv(call: Call, parts: KvParts): Promise<void> {
  admit(call, parts);
  const thread = call.query.get('thread') ?? undefined;
  if (isBySocket(call)) return await importBySocket(call, thread, parts);
  const source = call.stream()[Symbol.asyncIterator]();
  const bytes = { [Symbol.asyncIterator]: () => source };
  const outcome = await parts.kv.import(bytes, thread, call.signal);
  // Who still sends does not hear an answer: the rest is read and thrown away.
  for (let left = UNWANTED_BYTES_MAX; left > 0; ) {
    const next = await source.next().catch(() => undefined);
    if (next === undefined || next.done === true) break;
    left -= next.value.length;
  }
  replyJson(call.reply, 200, outcome);
}

async function exportBySocket(call: Call, chain: KvChain, { kv }: KvParts): Promise<void> {
  const leaving = new AbortController();
  const exported = await kv.export(chain, leaving.signal);
  if (exported.kind === 'none') return replyJson(call.reply, 200, exported.outcome);
  const leave = () => leaving.abort();
  const offer = await offerSocket({
    taken: async (socket) => {
      socket.once('close', leave);
      await sendAll(socket, exported.bytes).finally(leave);
      socket.end();
    },
    lapsed: leave,
  }).catch((error) => {
    leave();
    throw error;
  });
  replyJson(call.reply, 200, offer);
}

async function importBySocket(
  call: Call,
  thread: string | undefined,
  { kv }: KvParts,
): Promise<void> {
  const offer = await offerSocket({
    taken: async (socket, bytes) => {
      const leaving = new AbortController();
      socket.once('close', () => leaving.abort());
      socket.end(JSON.stringify(await kv.import(bytes, thread, leaving.signal)));
      socket.resume();
    },
    lapsed: () => {},
  });
  replyJson(call.reply, 200, offer);
}

function isBySocket({ query }: Call): boolean {
  const via = query.get('via') ?? 'http';
  if (via !== 'http' && via !== 'socket') throw wrong('via', 'must be "http" or "socket"');
  return via === 'socket';
}

function admit(call: Call, { kvSecret }: KvParts): void {
  if (kvSecret === undefined) {
    throw new GatewayError(
      'forbidden',
      'This worker was started without a secret, so nobody may direct its KV; start it with STATOR_KV_SECRET.',
    );
  }
  checkSecret(call, kvSecret);
}

/** For chains that are longer than an address may be. */
async function chainOfBody(call: Call): Promise<KvChain> {
  return readChain(object(await jsonBody(call), 'body'));
}

/** The same fields as in a body; hashes with commas between them. */
function chainOfQuery(query: URLSearchParams): KvChain {
  return readChain({
    thread: query.get('thread') ?? undefined,
    cacheSalt: query.get('cacheSalt') ?? undefined,
    blockHashes: query.get('blockHashes')?.split(','),
  });
}

function ttlUs({ ttlS }: Json): number {
  const seconds = optionalNumber(ttlS, 'ttlS', { min: 0.001, max: TTL_S_MAX });
  if (seconds === undefined) throw wrong('ttlS', 'must say for how many seconds');
  return Math.round(seconds * 1e6);
}

function lower({ tier }: Json): 'host' | 'disk' {
  if (tier === undefined || tier === null || tier === 'host') return 'host';
  if (tier === 'disk') return 'disk';
  throw wrong('tier', 'must be "host" or "disk"');
}

function upper({ tier }: Json): 'device' | 'host' {
  if (tier === undefined || tier === null || tier === 'device') return 'device';
  if (tier === 'host') return 'host';
  throw wrong('tier', 'must be "device" or "host"');
}
