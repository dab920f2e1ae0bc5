/** The store beside a twin that keeps everything in lists and adds up all sizes at every step. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import type { Cancel, Clock } from '../../ports.ts';
import type { Item, ResponseObject } from '../../wire/responses-items.ts';
import { placeOf } from '../place.ts';
import { type ChainRecord, linesOf, type ResponseRecord } from './chain-record.ts';
import { newChainKey, newResponseId } from './response-ids.ts';
import { ResponseStore, type StoreLimits } from './response-store.ts';
import { FileShelf, MemoryShelf, type Shelf } from './shelf.ts';

const LIMITS: StoreLimits = {
  bytesMax: 6_000,
  chainsMax: 9,
  tenantBytesMax: 3_500,
  tenantChainsMax: 5,
  chainBytesMax: 2_000,
  keepMs: 1_000,
  sweepUs: 100_000,
  recentBytesMax: 2_500,
};

const folder = mkdtempSync(join(tmpdir(), 'stator-responses-'));
after(() => rmSync(folder, { recursive: true }));

test('finds what a twin without cleverness would, over limits, expiry, deletions and restarts', async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(STEP, { minLength: 20, maxLength: 60 }), async (steps) => {
      const clock = new HandClock();
      const shelf = () => new FileShelf(join(folder, `run-${runs}`));
      runs++;
      let store = storeOn(shelf(), clock);
      const twin = new Twin();
      for (const step of steps) {
        clock.passMs(step.kind === 'wait' ? step.ms : 1);
        const key = KEYS[step.chain];
        if (step.kind === 'add') {
          const record = responseOf(key, step.text);
          await store.add(step.tenant, key, [record]);
          twin.add(step.tenant, key, record, clock.wallMs());
        } else if (step.kind === 'remove') {
          const id = twin.oldestResponse(step.tenant, key, clock.wallMs()) ?? newResponseId(key);
          const was = await store.remove(step.tenant, key, id);
          assert.equal(was, twin.remove(step.tenant, key, id, clock.wallMs()));
        } else if (step.kind === 'restart') {
          await store.close();
          store = storeOn(shelf(), clock);
        }
        const chain = await store.find(step.tenant, key);
        const expected = twin.find(step.tenant, key, clock.wallMs());
        assert.deepEqual(chain?.records() ?? [], expected);
        const { bytes, chains } = store.totals;
        assert.ok(bytes <= LIMITS.bytesMax && chains <= LIMITS.chainsMax);
      }
      await store.close();
    }),
    { numRuns: 10 },
  );
});

test('however calls cross each other, the books say what lies on disk, and a restart finds it', async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(STEP, { minLength: 20, maxLength: 60 }), async (steps) => {
      const clock = new HandClock();
      const root = join(folder, `crossing-${runs++}`);
      const store = storeOn(new FileShelf(root), clock);
      const kept = new Map<string, ResponseRecord>();
      const calls = steps.map(async ({ kind, tenant, chain, ms, text }) => {
        clock.passMs(kind === 'wait' ? ms : 1);
        const key = KEYS[chain];
        if (kind === 'add') {
          const record = responseOf(key, text);
          kept.set(tenant + key, record);
          await store.add(tenant, key, [record]);
        } else if (kind === 'remove') {
          const { id } = kept.get(tenant + key)?.response ?? { id: 'resp_none' };
          await store.remove(tenant, key, id);
        } else {
          await store.find(tenant, key);
        }
      });
      await Promise.all(calls);
      await store.close();
      const again = storeOn(new FileShelf(root), clock);
      for (const tenant of ['a', 'b', 'c']) {
        for (const key of KEYS) {
          const [before, after] = [await store.find(tenant, key), await again.find(tenant, key)];
          assert.deepEqual(after?.records(), before?.records());
        }
      }
      assert.deepEqual(again.totals, store.totals);
    }),
    { numRuns: 10 },
  );
});

test('a tenant that stores without end evicts nobody who holds less than an equal share', async () => {
  const clock = new HandClock();
  const store = storeOn(new MemoryShelf(), clock);
  const mine = newChainKey();
  await store.add('quiet', mine, [responseOf(mine, 'kept')]);
  for (let i = 0; i < 50; i++) {
    clock.passMs(1);
    const key = newChainKey();
    await store.add('loud', key, [responseOf(key, 'x'.repeat(900))]);
  }
  assert.notEqual(await store.find('quiet', mine), undefined);
  assert.equal(store.totals.tenants, 2);
});

test('what is damaged is a miss in one sentence; the records around it hold', async () => {
  const clock = new HandClock();
  const root = join(folder, 'damaged');
  const key = newChainKey();
  const records = ['first', 'second', 'third'].map((text) => responseOf(key, text));
  const store = storeOn(new FileShelf(root), clock);
  for (const record of records) await store.add('t', key, [record]);
  await store.close();
  const path = onlyFile(root);
  writeFileSync(path, readFileSync(path, 'utf8').replace('second', 'sEcond').slice(0, -5));
  const said: string[] = [];
  const again = storeOn(new FileShelf(root), clock, said);
  const chain = await again.find('t', key);
  assert.deepEqual(chain?.records(), [records[0]]);
  // What is added behind a torn line is whole.
  const fourth = responseOf(key, 'fourth');
  await again.add('t', key, [fourth]);
  await again.close();
  const last = storeOn(new FileShelf(root), clock, said);
  assert.deepEqual((await last.find('t', key))?.records(), [records[0], fourth]);
  assert.deepEqual(new Set(said), new Set([said[0]]));
  assert.match(said[0] ?? '', /^A stored conversation is damaged; .*\.$/);
  for (const secret of ['first', 'second', 'fourth', key]) assert.ok(!said[0].includes(secret));
});

test('files are their owner’s alone, and their names tell nothing; deleted words are gone', async () => {
  const root = join(folder, 'private');
  const store = storeOn(new FileShelf(root), new HandClock());
  const key = newChainKey();
  const [kept, deleted] = [responseOf(key, 'kept words'), responseOf(key, 'deleted words')];
  await store.add('Some Tenant', key, [kept, deleted]);
  assert.ok(await store.remove('Some Tenant', key, deleted.response.id));
  const path = onlyFile(root);
  assert.ok(!path.includes(key) && !path.includes('Tenant'));
  const text = readFileSync(path, 'utf8');
  assert.ok(text.includes('kept words') && !text.includes('deleted words'));
  if (process.platform !== 'win32') {
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
  }
  assert.ok(await store.remove('Some Tenant', key, kept.response.id));
  assert.deepEqual(readdirSync(join(path, '..')), []);
});

test('another tenant’s chain is not there, whatever it does with the key', async () => {
  const store = storeOn(new MemoryShelf(), new HandClock());
  const key = newChainKey();
  const record = responseOf(key, 'mine');
  await store.add('a', key, [record]);
  assert.equal(await store.find('b', key), undefined);
  assert.equal(await store.remove('b', key, record.response.id), false);
  assert.equal(await store.removeChain('b', key), false);
  await store.add('b', key, [responseOf(key, 'theirs')]);
  assert.deepEqual((await store.find('a', key))?.records(), [record]);
});

test('what is too old leaves the disk while nobody asks for it', async () => {
  const clock = new HandClock();
  const root = join(folder, 'old');
  const store = storeOn(new FileShelf(root), clock);
  const key = newChainKey();
  await store.add('t', key, [responseOf(key, 'old')]);
  const path = onlyFile(root);
  clock.passMs(LIMITS.keepMs + LIMITS.sweepUs / 1000);
  await store.close();
  assert.throws(() => statSync(path));
});

test('a disk that takes nothing costs what was to be kept, and is told of once', async () => {
  const said: string[] = [];
  const full: Shelf = new MemoryShelf();
  full.append = () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
  const store = storeOn(full, new HandClock(), said);
  const key = newChainKey();
  await store.add('t', key, [responseOf(key, 'a')]);
  await store.add('t', key, [responseOf(key, 'b')]);
  assert.equal(await store.find('t', key), undefined);
  assert.deepEqual(said, ['A response is not stored (ENOSPC).']);
});

test('a disk that takes half of what it is given keeps none of it', async () => {
  const root = join(folder, 'half-taken');
  const clock = new HandClock();
  const shelf = new FileShelf(root);
  const [old, fresh] = [placeOf('t', newChainKey()), placeOf('t', newChainKey())];
  const whole = { bytes: Buffer.from('whole'), atMs: 0 };
  await shelf.append(old, whole);
  // What is no bytes ends in the midst of the file, as a disk that is full does.
  const torn = () => ({ bytes: tornAfter('begun'), atMs: 0 });
  for (const place of [old, fresh]) await assert.rejects(shelf.append(place, torn()), /no more/);
  assert.deepEqual(readdirSync(join(root, old.folder)), [old.file]);
  assert.deepEqual(await shelf.read(old), whole.bytes);
  await assert.rejects(shelf.replace(old, torn()), /no more/);
  assert.deepEqual(readdirSync(join(root, old.folder)), [old.file]);
  // A chain that cannot be read now is neither lost nor anybody's end.
  const said: string[] = [];
  const listed = new FileShelf(root);
  const store = storeOn(listed, clock, said);
  const key = newChainKey();
  assert.ok(await store.add('u', key, [responseOf(key, 'a')]));
  await store.close();
  const blind = new FileShelf(root);
  blind.read = () => Promise.reject(Object.assign(new Error('no descriptors'), { code: 'EMFILE' }));
  const later = storeOn(blind, clock, said);
  assert.equal(await later.add('u', key, [responseOf(key, 'b')]), false);
  assert.deepEqual(said, ['A response is not stored (EMFILE).']);
});

test('what could not be deleted is there, and can be deleted later', async () => {
  const shelf = new MemoryShelf();
  const store = storeOn(shelf, new HandClock());
  const key = newChainKey();
  const [kept, deleted] = [responseOf(key, 'a'), responseOf(key, 'b')];
  await store.add('t', key, [kept, deleted]);
  const replace = shelf.replace.bind(shelf);
  shelf.replace = () => Promise.reject(new Error('full'));
  await assert.rejects(store.remove('t', key, deleted.response.id), /full/);
  assert.deepEqual((await store.find('t', key))?.records(), [kept, deleted]);
  shelf.replace = replace;
  assert.ok(await store.remove('t', key, deleted.response.id));
});

test('what is nested too deeply to be written costs what was to be kept, and nothing else', async () => {
  const said: string[] = [];
  const store = storeOn(new MemoryShelf(), new HandClock(), said);
  const key = newChainKey();
  const depth = 100_000;
  const deep = JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`) as unknown;
  const record = responseOf(key, 'a');
  await store.add('t', key, [record]);
  await store.add('t', key, [{ ...record, input: [{ type: 'x', id: 'x_1', deep } as Item] }]);
  assert.deepEqual((await store.find('t', key))?.records(), [record]);
  assert.deepEqual(said, ['A response is not stored (it is nested too deeply).']);
});

/** Bytes as a stream of them that breaks off. */
function tornAfter(text: string): Uint8Array {
  async function* pieces() {
    yield Buffer.from(text);
    throw new Error('no more');
  }
  return pieces() as unknown as Uint8Array;
}

const KEYS = Array.from({ length: 4 }, newChainKey);

const STEP = fc.record({
  kind: fc.constantFrom('add', 'add', 'add', 'find', 'remove', 'wait', 'restart'),
  tenant: fc.constantFrom('a', 'b', 'c'),
  chain: fc.nat(KEYS.length - 1),
  ms: fc.constantFrom(10, 300, 900),
  text: fc.nat(400).map((length) => 'é'.repeat(length)),
});

interface TwinChain {
  tenant: string;
  key: string;
  bytes: number;
  atMs: number;
  records: ChainRecord[];
}

/** Everything in one list, oldest write last looked at. */
class Twin {
  #chains: TwinChain[] = [];

  find(tenant: string, key: string, nowMs: number): ChainRecord[] {
    this.#expire(nowMs);
    return this.#chains.find((it) => it.tenant === tenant && it.key === key)?.records ?? [];
  }

  oldestResponse(tenant: string, key: string, nowMs: number): string | undefined {
    const [first] = this.find(tenant, key, nowMs);
    return first?.kind === 'response' ? first.response.id : undefined;
  }

  add(tenant: string, key: string, record: ChainRecord, nowMs: number): void {
    const records = this.find(tenant, key, nowMs);
    const before = this.#chains.find((it) => it.tenant === tenant && it.key === key)?.bytes ?? 0;
    const bytes = before + linesOf([record]).length;
    if (bytes > LIMITS.chainBytesMax) return;
    this.#put({ tenant, key, bytes, atMs: nowMs, records: [...records, record] });
    for (;;) {
      const of = (name: string) => this.#chains.filter((it) => it.tenant === name);
      const sum = (chains: { bytes: number }[]) => chains.reduce((a, { bytes: b }) => a + b, 0);
      const folder = (name: string) => placeOf(name, '').folder;
      const most = (size: (name: string) => number) =>
        ['a', 'b', 'c'].sort((a, b) => size(b) - size(a) || (folder(a) < folder(b) ? -1 : 1))[0];
      let from: string | undefined;
      if (sum(this.#chains) > LIMITS.bytesMax) from = most((name) => sum(of(name)));
      else if (this.#chains.length > LIMITS.chainsMax) from = most((name) => of(name).length);
      else if (sum(of(tenant)) > LIMITS.tenantBytesMax) from = tenant;
      else if (of(tenant).length > LIMITS.tenantChainsMax) from = tenant;
      if (from === undefined) return;
      const oldest = of(from).find((it) => it.tenant !== tenant || it.key !== key);
      this.#chains = this.#chains.filter((it) => it !== oldest);
    }
  }

  remove(tenant: string, key: string, id: string, nowMs: number): boolean {
    const records = this.find(tenant, key, nowMs);
    const left = records.filter((it) => it.kind !== 'response' || it.response.id !== id);
    if (left.length === records.length) return false;
    if (left.length === 0) {
      this.#chains = this.#chains.filter((it) => it.tenant !== tenant || it.key !== key);
    } else {
      this.#put({ tenant, key, bytes: linesOf(left).length, atMs: nowMs, records: left });
    }
    return true;
  }

  #put(chain: TwinChain): void {
    const others = this.#chains.filter((it) => it.tenant !== chain.tenant || it.key !== chain.key);
    this.#chains = [...others, chain];
  }

  #expire(nowMs: number): void {
    this.#chains = this.#chains.filter(({ atMs }) => atMs + LIMITS.keepMs > nowMs);
  }
}

function storeOn(shelf: Shelf, clock: Clock, said: string[] = []): ResponseStore {
  const complain = (sentence: string) => said.push(sentence);
  return new ResponseStore({ shelf, clock, limits: LIMITS, complain });
}

function responseOf(chainKey: string, text: string): ResponseRecord {
  const id = newResponseId(chainKey);
  const input: Item[] = [{ id: `msg_${id.slice(5)}_i0`, type: 'message', content: text }];
  const response: ResponseObject = {
    id,
    object: 'response',
    status: 'completed',
    output: [],
    error: null,
  };
  return { kind: 'response', response, input, inConversation: false };
}

function onlyFile(root: string): string {
  const [tenant] = readdirSync(root);
  const [file] = readdirSync(join(root, tenant));
  return join(root, tenant, file);
}

/** Moved by hand. */
class HandClock implements Clock {
  #nowMs = 1_700_000_000_000;
  readonly #timers = new Set<{ atMs: number; run: () => void }>();

  nowUs(): number {
    return this.#nowMs * 1000;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  after(us: number, run: () => void): Cancel {
    const timer = { atMs: this.#nowMs + us / 1000, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  passMs(ms: number): void {
    this.#nowMs += ms;
    for (const timer of [...this.#timers]) {
      if (timer.atMs > this.#nowMs) continue;
      this.#timers.delete(timer);
      timer.run();
    }
  }
}
