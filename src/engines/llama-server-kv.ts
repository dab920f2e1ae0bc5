/**
 * KV of a llama.cpp server by slots: the whole of a thread's slot is written to a file, or brought back
 * from it. Nothing keeps a slot from those who come after. Files have few names, so that what is left on
 * disk is bounded: the oldest is written over.
 */
import type { KvChain, KvExport, KvOutcome } from '../model/kv-control.ts';
import type { KvControl } from '../ports.ts';
import { looseCount, looseObject } from '../wire/upstream-json.ts';
import type { EngineHttp } from './http.ts';
import type { LlamaSlots, SlotUse } from './llama-slots.ts';

interface SavedSlot {
  file: string;
  use: SlotUse;
  tokens: number;
}

const FILES_MAX = 32;
/** Gigabytes, at the pace of a disk. */
const FILE_MS_MAX = 60_000;

export class LlamaServerKv implements KvControl {
  readonly #http: EngineHttp;
  readonly #slots: LlamaSlots;
  readonly #blockTokens: number;
  /** The oldest first. */
  #saved: SavedSlot[] = [];

  constructor(given: { http: EngineHttp; slots: LlamaSlots; blockTokens: number }) {
    this.#http = given.http;
    this.#slots = given.slots;
    this.#blockTokens = given.blockTokens;
  }

  async retain(): Promise<KvOutcome> {
    return outcome('rejected', 0, 'A slot of llama.cpp’s server is kept from nobody.');
  }

  async pin(): Promise<KvOutcome> {
    return this.retain();
  }

  async release(chain: KvChain): Promise<KvOutcome> {
    if (chain.kind !== 'thread') return unnamed();
    const { thread, salt } = chain;
    this.#saved = this.#saved.filter((saved) => !isOf(saved, chain));
    const held = this.#slots.of(thread, salt);
    if (held === undefined) return missing();
    if (held.busy) return outcome('deferred', 0, 'Its slot is busy.');
    await this.#act(held.slot, 'erase', {});
    this.#slots.holds(held.slot, undefined, 0);
    return this.#done(held.tokens);
  }

  async demote(chain: KvChain, to: 'host' | 'disk'): Promise<KvOutcome> {
    if (chain.kind !== 'thread') return unnamed();
    if (to === 'host') {
      return outcome('rejected', 0, 'Its host memory fills itself; only files can be told.');
    }
    const { thread, salt } = chain;
    const held = this.#slots.of(thread, salt);
    if (held === undefined) return this.#savedOf(chain) === undefined ? missing() : this.#done(0);
    if (held.busy) return outcome('deferred', 0, 'Its slot is busy.');
    const file = this.#fileFor(chain);
    const { n_saved } = looseObject(await this.#act(held.slot, 'save', { filename: file }));
    const tokens = looseCount(n_saved) ?? held.tokens;
    this.#saved.push({ file, use: held.use, tokens });
    await this.#act(held.slot, 'erase', {});
    this.#slots.holds(held.slot, undefined, 0);
    return this.#done(tokens);
  }

  async prefetch(chain: KvChain, to: 'device' | 'host'): Promise<KvOutcome> {
    if (chain.kind !== 'thread') return unnamed();
    const { thread, salt } = chain;
    const held = this.#slots.of(thread, salt);
    if (held !== undefined) return this.#done(held.tokens);
    const saved = this.#savedOf(chain);
    if (saved === undefined) return missing();
    if (to === 'host') return outcome('rejected', 0, 'What is in a file comes back into a slot.');
    const slot = this.#slots.free();
    if (slot === undefined) return outcome('deferred', 0, 'All slots are busy.');
    const { file: filename } = saved;
    const { n_restored } = looseObject(await this.#act(slot, 'restore', { filename }));
    const tokens = looseCount(n_restored) ?? saved.tokens;
    this.#slots.holds(slot, saved.use, tokens);
    return this.#done(tokens);
  }

  async export(): Promise<KvExport> {
    return { kind: 'none', outcome: elsewhere() };
  }

  async import(): Promise<KvOutcome> {
    return elsewhere();
  }

  #act(slot: number, action: 'save' | 'restore' | 'erase', body: object): Promise<unknown> {
    const signal = AbortSignal.timeout(FILE_MS_MAX);
    return this.#http.json('POST', `/slots/${slot}?action=${action}`, body, signal);
  }

  #savedOf(chain: ThreadChain): SavedSlot | undefined {
    return this.#saved.find((saved) => isOf(saved, chain));
  }

  /** The thread's own, one that nobody has, or the oldest's; it is nobody's until it is written. */
  #fileFor(chain: ThreadChain): string {
    const own = this.#savedOf(chain);
    const gone = own ?? (this.#saved.length < FILES_MAX ? undefined : this.#saved[0]);
    this.#saved = this.#saved.filter((saved) => saved !== gone);
    if (gone !== undefined) return gone.file;
    const taken = new Set(this.#saved.map(({ file }) => file));
    const names = Array.from({ length: FILES_MAX }, (_, i) => `stator-slot-${i}.kv`);
    return names.find((name) => !taken.has(name)) ?? names[0];
  }

  #done(tokens: number): KvOutcome {
    const blocks = Math.floor(tokens / this.#blockTokens);
    return { answer: 'accepted', blocks, tokens, sentence: undefined };
  }
}

type ThreadChain = Extract<KvChain, { kind: 'thread' }>;

function isOf({ use }: SavedSlot, { thread, salt }: ThreadChain): boolean {
  return use.thread === thread && use.salt === salt;
}

function outcome(answer: KvOutcome['answer'], tokens: number, sentence: string): KvOutcome {
  return { answer, blocks: 0, tokens, sentence };
}

function missing(): KvOutcome {
  return outcome('missing', 0, 'Nothing of it lies in a slot or a file.');
}

function unnamed(): KvOutcome {
  return outcome('missing', 0, 'llama.cpp’s server knows KV by thread only.');
}

function elsewhere(): KvOutcome {
  return outcome('rejected', 0, 'KV of llama.cpp’s server stays on its own machine.');
}
