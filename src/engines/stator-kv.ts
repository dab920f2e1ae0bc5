/** KV control of a worker in another process. */
import type { KvChain, KvExport, KvOutcome } from '../model/kv-control.ts';
import type { KvControl } from '../ports.ts';
import { object, string } from '../wire/fields.ts';
import { chainFields, readOutcome } from '../wire/kv-control.ts';
import type { EngineHttp } from './http.ts';
import { connectSocket, type KvSocket } from './kv-socket.ts';

export class StatorKv implements KvControl {
  readonly #http: EngineHttp;
  readonly #via: 'http' | 'socket';

  /** `via`: how KV itself travels; over a Unix socket only on one machine. */
  constructor(http: EngineHttp, via: 'http' | 'socket') {
    this.#http = http;
    this.#via = via;
  }

  retain(chain: KvChain, ttlUs: number): Promise<KvOutcome> {
    return this.#ask('retain', chain, { ttlS: ttlUs / 1e6 });
  }

  pin(chain: KvChain): Promise<KvOutcome> {
    return this.#ask('pin', chain);
  }

  release(chain: KvChain): Promise<KvOutcome> {
    return this.#ask('release', chain);
  }

  demote(chain: KvChain, to: 'host' | 'disk'): Promise<KvOutcome> {
    return this.#ask('demote', chain, { tier: to });
  }

  prefetch(chain: KvChain, to: 'device' | 'host'): Promise<KvOutcome> {
    return this.#ask('prefetch', chain, { tier: to });
  }

  async export(chain: KvChain, signal: AbortSignal): Promise<KvExport> {
    // In a body, since a long chain is longer than an address may be.
    const body = chainFields(chain);
    const path = `/kv/export?via=${this.#via}`;
    const { isJson, json, bytes } = await this.#http.download(path, body, signal);
    if (!isJson) return { kind: 'stream', bytes };
    const answer = object(await json(), 'answer');
    if (answer.path === undefined) return { kind: 'none', outcome: readOutcome(answer) };
    return { kind: 'stream', bytes: (await this.#connect(answer, signal)).bytes };
  }

  async import(
    bytes: AsyncIterable<Uint8Array>,
    thread: string | undefined,
    signal: AbortSignal,
  ): Promise<KvOutcome> {
    const query = new URLSearchParams({ via: this.#via });
    if (thread !== undefined) query.set('thread', thread);
    const path = `/kv/import?${query}`;
    if (this.#via === 'http') return readOutcome(await this.#http.upload(path, bytes, signal));
    const offer = object(await this.#http.json('POST', path, {}), 'answer');
    const socket = await this.#connect(offer, signal);
    return readOutcome(await socket.send(bytes));
  }

  #connect(offer: Record<string, unknown>, signal: AbortSignal): Promise<KvSocket> {
    const { path, token } = offer;
    return connectSocket({ path: string(path, 'path'), token: string(token, 'token') }, signal);
  }

  async #ask(verb: string, chain: KvChain, more: object = {}): Promise<KvOutcome> {
    const body = { ...chainFields(chain), ...more };
    return readOutcome(await this.#http.json('POST', `/kv/${verb}`, body));
  }
}

/** Copies a chain's KV from one engine to another, block by block; nothing of it is held here. */
export async function moveKv(
  chain: KvChain,
  { from, to }: { from: KvControl; to: KvControl },
  signal: AbortSignal,
): Promise<KvOutcome> {
  // Whatever ends the one side ends the other.
  const leaving = new AbortController();
  const leave = () => leaving.abort();
  if (signal.aborted) leave();
  else signal.addEventListener('abort', leave, { once: true });
  try {
    const exported = await from.export(chain, leaving.signal);
    if (exported.kind === 'none') return exported.outcome;
    const thread = chain.kind === 'thread' ? chain.thread : undefined;
    return await to.import(exported.bytes, thread, leaving.signal);
  } finally {
    signal.removeEventListener('abort', leave);
    leave();
  }
}
