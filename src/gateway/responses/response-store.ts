/**
 * Chains by tenant and key, bounded and expiring.
 *
 * A chain counts as old as its last record. Over its own limits a tenant loses its oldest chains, and
 * nobody else's; over the limits of all, the tenant that holds the most does. So nobody who holds less
 * than an equal share loses anything to others.
 */
import type { Cancel, Clock } from '../../ports.ts';
import { type Place, placeOf } from '../place.ts';
import { Chain } from './chain.ts';
import { type ChainRecord, linesOf, recordsOf } from './chain-record.ts';
import { nameOf, type Shelf } from './shelf.ts';

export interface StoreLimits {
  /** All tenants. */
  bytesMax: number;
  chainsMax: number;
  /** Each of them. */
  tenantBytesMax: number;
  tenantChainsMax: number;
  chainBytesMax: number;
  /** After its last record a chain is kept for. */
  keepMs: number;
  /** Between two looks for what is too old. */
  sweepUs: number;
  /** Chains that were used lately, ready to be used again; in bytes of their files. */
  recentBytesMax: number;
}

interface Entry {
  bytes: number;
  writtenMs: number;
}

interface Holding {
  bytes: number;
  /** By file; the one written longest ago is first. */
  chains: Map<string, Entry>;
}

export class ResponseStore {
  readonly #shelf: Shelf;
  readonly #clock: Clock;
  readonly #limits: StoreLimits;
  readonly #complain: (sentence: string) => void;
  /** By folder. */
  readonly #tenants = new Map<string, Holding>();
  readonly #recent = new Map<string, Chain>();
  #recentBytes = 0;
  #bytes = 0;
  #chains = 0;
  /** The last call for a place, which the next one waits for. */
  readonly #calls = new Map<string, Promise<unknown>>();
  readonly #found: Promise<void>;
  #cancelSweep: Cancel = () => {};
  #sweep: Promise<void> = Promise.resolve();
  #lastComplaint = '';

  constructor(given: {
    shelf: Shelf;
    clock: Clock;
    limits: StoreLimits;
    complain: (sentence: string) => void;
  }) {
    this.#shelf = given.shelf;
    this.#clock = given.clock;
    this.#limits = given.limits;
    this.#complain = given.complain;
    this.#found = this.#takeStock();
    this.#sweepLater();
  }

  /** Undefined where there is none, or no more, or it is another tenant's. */
  find(tenant: string, chainKey: string): Promise<Chain | undefined> {
    const place = placeOf(tenant, chainKey);
    return this.#inTurn(place, () => this.#load(place));
  }

  /** What cannot be kept is told of in a sentence, and is missing later. Returns whether it was. */
  add(tenant: string, chainKey: string, records: readonly ChainRecord[]): Promise<boolean> {
    const place = placeOf(tenant, chainKey);
    return this.#inTurn(place, async () => {
      let chain: Chain | undefined;
      let after: number;
      try {
        chain = await this.#load(place);
        const bytes = linesOf(records);
        after = (this.#entry(place)?.bytes ?? 0) + bytes.length;
        const most = this.#limits.chainBytesMax;
        if (after > most) return this.#isNotStored(`its conversation is larger than ${most} bytes`);
        await this.#shelf.append(place, { bytes, atMs: this.#clock.wallMs() });
      } catch (error) {
        return this.#isNotStored(codeOf(error));
      }
      // Only now: what a disk did not take is not there.
      for (const record of records) chain?.add(record);
      this.#wrote(place, after);
      this.#remember(place, chain ?? new Chain(records));
      await this.#makeRoom(place);
      return true;
    });
  }

  /** Deletes a response or an item, words and all; returns whether it was there. */
  remove(tenant: string, chainKey: string, id: string): Promise<boolean> {
    const place = placeOf(tenant, chainKey);
    return this.#inTurn(place, async () => {
      const chain = await this.#load(place);
      if (chain === undefined || !chain.has(id)) return false;
      chain.add({ kind: 'gone', id });
      if (chain.isEmpty) {
        await this.#drop(place);
        return true;
      }
      const bytes = linesOf(chain.records());
      try {
        await this.#shelf.replace(place, { bytes, atMs: this.#clock.wallMs() });
      } catch (error) {
        // It is still there, and still there to be deleted.
        this.#forget(place);
        throw error;
      }
      this.#wrote(place, bytes.length);
      return true;
    });
  }

  /** Deletes a whole chain; returns whether it was there. */
  removeChain(tenant: string, chainKey: string): Promise<boolean> {
    const place = placeOf(tenant, chainKey);
    return this.#inTurn(place, async () => {
      if ((await this.#load(place)) === undefined) return false;
      await this.#drop(place);
      return true;
    });
  }

  get totals(): { bytes: number; chains: number; tenants: number } {
    return { bytes: this.#bytes, chains: this.#chains, tenants: this.#tenants.size };
  }

  /** Resolves when all that was added is where it is kept. */
  async close(): Promise<void> {
    this.#cancelSweep();
    await Promise.allSettled([this.#found, this.#sweep, ...this.#calls.values()]);
  }

  /** What an earlier start left; where it cannot be read, the store begins empty and says so. */
  async #takeStock(): Promise<void> {
    try {
      const found = await this.#shelf.list();
      found.sort((a, b) => a.writtenMs - b.writtenMs);
      for (const { bytes, writtenMs, ...place } of found) this.#wrote(place, bytes, writtenMs);
      for (const place of this.#expired()) await this.#drop(place);
    } catch (error) {
      this.#tell(`Stored responses cannot be listed (${codeOf(error)}).`);
    }
  }

  async #load(place: Place): Promise<Chain | undefined> {
    const entry = this.#entry(place);
    if (entry === undefined) return undefined;
    if (this.#isExpired(entry)) {
      await this.#drop(place);
      return undefined;
    }
    const recent = this.#recent.get(nameOf(place));
    if (recent !== undefined) {
      this.#remember(place, recent);
      return recent;
    }
    const bytes = await this.#shelf.read(place);
    const { records, damaged } = recordsOf(bytes ?? new Uint8Array(0));
    if (damaged > 0) this.#tell('A stored conversation is damaged; what is left of it is served.');
    const chain = new Chain(records);
    if (chain.isEmpty) {
      await this.#drop(place);
      return undefined;
    }
    this.#remember(place, chain);
    return chain;
  }

  /** Runs after whatever was asked of the place before, and after what is there is known. */
  async #inTurn<T>(place: Place, run: () => Promise<T>): Promise<T> {
    const name = nameOf(place);
    const before = this.#calls.get(name) ?? this.#found;
    const call = before.then(run, run);
    this.#calls.set(name, call);
    try {
      return await call;
    } finally {
      if (this.#calls.get(name) === call) this.#calls.delete(name);
    }
  }

  async #makeRoom({ folder }: Place): Promise<void> {
    const { bytesMax, chainsMax, tenantBytesMax, tenantChainsMax } = this.#limits;
    for (;;) {
      const own = this.#tenants.get(folder);
      let from = folder;
      if (this.#bytes > bytesMax) from = this.#largest(({ bytes }) => bytes);
      else if (this.#chains > chainsMax) from = this.#largest(({ chains }) => chains.size);
      else if (own === undefined) return;
      else if (own.bytes <= tenantBytesMax && own.chains.size <= tenantChainsMax) return;
      const oldest = this.#oldestOf(from);
      if (oldest === undefined) return;
      // In its turn, for whoever asks for it meanwhile; nobody else is using it, so none waits.
      await this.#inTurn(oldest, () => this.#drop(oldest));
    }
  }

  /** Of equals the first by name, so that it is the same at every start. */
  #largest(by: (holding: Holding) => number): string {
    const sizes = [...this.#tenants].map(([folder, holding]) => ({ folder, size: by(holding) }));
    const isMore = (a: (typeof sizes)[0], b: (typeof sizes)[0]) =>
      a.size > b.size || (a.size === b.size && a.folder < b.folder);
    return sizes.reduce((a, b) => (isMore(b, a) ? b : a)).folder;
  }

  /** Of those that nobody is using: who is about to write is not old. */
  #oldestOf(folder: string): Place | undefined {
    for (const file of this.#tenants.get(folder)?.chains.keys() ?? []) {
      if (!this.#calls.has(nameOf({ folder, file }))) return { folder, file };
    }
    return undefined;
  }

  /** The books first: whatever becomes of the file, it is counted no more and found no more. */
  async #drop(place: Place): Promise<void> {
    const holding = this.#tenants.get(place.folder);
    const entry = holding?.chains.get(place.file);
    if (holding === undefined || entry === undefined) return;
    this.#forget(place);
    holding.chains.delete(place.file);
    holding.bytes -= entry.bytes;
    this.#bytes -= entry.bytes;
    this.#chains--;
    if (holding.chains.size === 0) this.#tenants.delete(place.folder);
    await this.#shelf.remove(place).catch((error: unknown) => {
      this.#tell(`A stored conversation cannot be deleted (${codeOf(error)}); delete it by hand.`);
    });
  }

  #wrote(place: Place, bytes: number, writtenMs = this.#clock.wallMs()): void {
    const holding = this.#tenants.get(place.folder) ?? { bytes: 0, chains: new Map() };
    this.#tenants.set(place.folder, holding);
    const before = holding.chains.get(place.file);
    if (before === undefined) this.#chains++;
    const more = bytes - (before?.bytes ?? 0);
    holding.bytes += more;
    this.#bytes += more;
    if (this.#recent.has(nameOf(place))) this.#recentBytes += more;
    holding.chains.delete(place.file);
    holding.chains.set(place.file, { bytes, writtenMs });
  }

  #entry({ folder, file }: Place): Entry | undefined {
    return this.#tenants.get(folder)?.chains.get(file);
  }

  #isExpired({ writtenMs }: Entry): boolean {
    return writtenMs + this.#limits.keepMs <= this.#clock.wallMs();
  }

  #remember(place: Place, chain: Chain): void {
    this.#forget(place);
    this.#recent.set(nameOf(place), chain);
    this.#recentBytes += this.#entry(place)?.bytes ?? 0;
    for (const name of this.#recent.keys()) {
      if (this.#recentBytes <= this.#limits.recentBytesMax) break;
      const [folder, file] = name.split('/');
      this.#forget({ folder, file });
    }
  }

  #forget(place: Place): void {
    if (this.#recent.delete(nameOf(place))) this.#recentBytes -= this.#entry(place)?.bytes ?? 0;
  }

  #sweepLater(): void {
    this.#cancelSweep = this.#clock.after(this.#limits.sweepUs, () => {
      this.#sweepLater();
      this.#sweep = this.#found.then(() => this.#dropExpired());
    });
  }

  async #dropExpired(): Promise<void> {
    for (const place of this.#expired()) await this.#inTurn(place, () => this.#load(place));
  }

  #expired(): Place[] {
    const places: Place[] = [];
    for (const [folder, { chains }] of this.#tenants) {
      for (const [file, entry] of chains) {
        if (!this.#isExpired(entry)) break;
        places.push({ folder, file });
      }
    }
    return places;
  }

  #isNotStored(why: string): false {
    this.#tell(`A response is not stored (${why}).`);
    return false;
  }

  /** Once, until something else has to be said. */
  #tell(sentence: string): void {
    if (sentence === this.#lastComplaint) return;
    this.#lastComplaint = sentence;
    this.#complain(sentence);
  }
}

function codeOf(error: unknown): string {
  // What JSON.stringify throws where it goes too deep.
  if (error instanceof RangeError) return 'it is nested too deeply';
  return (error as NodeJS.ErrnoException).code ?? 'unknown reason';
}
