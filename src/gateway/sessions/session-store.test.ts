import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { SessionId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import { SimClock } from '../../sim/clock.ts';
import { FileShelf, MemoryShelf, type Shelf } from '../responses/shelf.ts';
import { decodeSession, encodeSession, type SavedSession } from './saved-session.ts';
import { SessionStore } from './session-store.ts';
import { blankRecord, type ThreadRecord } from './thread-record.ts';

const DAY_MS = 24 * 3600 * 1000;

test('whatever is known of a session is the same after it was kept', () => {
  const count = fc.nat(1_000_000_000);
  const some = fc.option(count, { nil: undefined });
  const thread = fc.record({
    thread: fc.string({ maxLength: 50 }),
    parent: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
    model: fc.string(),
    salt: fc.string({ unit: 'grapheme' }),
    hashes: fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { maxLength: 40 }),
    contextTokens: count,
    cachedTokens: some,
    parked: fc.option(
      fc.tuple(count, count).map(([atMs, tokens]) => ({ atMs, tokens })),
      { nil: undefined },
    ),
  });
  fc.assert(
    fc.property(fc.array(thread, { maxLength: 4 }), fc.string(), count, (given, name, spent) => {
      const threads = given.map(({ hashes, ...rest }) =>
        recordOf(name, { ...rest, hashes: BigUint64Array.from(hashes) } as never),
      );
      const saved = sessionOf(name, { threads, spentTokens: spent });
      assert.deepEqual(decodeSession(encodeSession(saved)), saved);
    }),
    { numRuns: 100 },
  );
});

test('what runs, and the receipt of it, are not there after a restart', () => {
  const record = recordOf('s', { running: 2, isEnding: true, receipt: 'r1' });
  const [back] = decodeSession(encodeSession(sessionOf('s', { threads: [record] })))?.threads ?? [];
  assert.deepEqual([back.running, back.isEnding, back.receipt], [0, false, undefined]);
});

test('sessions are there again, the one used last at the end, each in a file of its owner’s', async (t) => {
  const folder = folderOf(t);
  const clock = new SimClock();
  const first = new Rig(new FileShelf(folder), clock);
  await first.open();
  for (const name of ['a', 'b', 'c']) {
    clock.after(1_000_000, () => {});
    clock.step();
    first.put(sessionOf(name, { spentTokens: name.length }));
    await first.store.written();
  }
  first.put(sessionOf('b', { tenant: 'other', spentTokens: 5 }));
  await first.store.close();
  const files = readdirSync(folder).flatMap((tenant) =>
    readdirSync(join(folder, tenant)).map((file) => join(folder, tenant, file)),
  );
  assert.equal(files.length, 4);
  for (const file of files) assert.equal(statSync(file).mode & 0o777, 0o600);
  const second = new Rig(new FileShelf(folder), clock);
  const back = await second.open();
  assert.deepEqual(back.slice(0, 2), ['default/a', 'default/b']);
  assert.deepEqual(back.slice(2).sort(), ['default/c', 'other/b']);
});

test('a session that ended is gone, and one nobody used for long is gone at the next start', async () => {
  const shelf = new MemoryListed();
  const clock = new SimClock();
  const rig = new Rig(shelf, clock);
  await rig.open();
  rig.put(sessionOf('ended'));
  rig.put(sessionOf('old'));
  await rig.store.written();
  rig.drop('ended');
  await rig.store.written();
  assert.equal(shelf.size, 1);
  clock.after(8 * DAY_MS * 1000, () => {});
  clock.step();
  rig.put(sessionOf('new'));
  await rig.store.written();
  assert.deepEqual(await new Rig(shelf, clock).open(), ['default/new']);
  assert.equal(shelf.size, 1);
});

test('a damaged file is as good as none, and hides no other', async (t) => {
  const folder = folderOf(t);
  const clock = new SimClock();
  const rig = new Rig(new FileShelf(folder), clock);
  await rig.open();
  for (let i = 0; i < 6; i++) rig.put(sessionOf(`s${i}`));
  await rig.store.close();
  const [tenant] = readdirSync(folder);
  const files = readdirSync(join(folder, tenant)).map((file) => join(folder, tenant, file));
  const whole = readFileSync(files[0]);
  writeFileSync(files[0], whole.subarray(0, whole.length / 2));
  writeFileSync(files[1], '{"version":99}');
  writeFileSync(files[2], '');
  // Copied to another's name, it would be somebody else's.
  writeFileSync(files[3], readFileSync(files[4]));
  const back = await new Rig(new FileShelf(folder), clock).open();
  assert.equal(back.length, 2);
  assert.equal(new Set(back).size, 2);
});

test('a disk that takes nothing is complained of once, and serving goes on', async () => {
  const shelf = new MemoryShelf();
  const full = new Error('full') as NodeJS.ErrnoException;
  full.code = 'ENOSPC';
  shelf.replace = async () => {
    throw full;
  };
  const rig = new Rig(shelf, new SimClock());
  await rig.open();
  for (const name of ['a', 'b', 'c']) {
    rig.put(sessionOf(name));
    await rig.store.written();
  }
  assert.deepEqual(rig.complaints, ['Sessions cannot be kept (ENOSPC): a restart forgets them.']);
});

class Rig {
  readonly complaints: string[] = [];
  readonly store: SessionStore;
  readonly #sessions = new Map<string, SavedSession>();

  constructor(shelf: Shelf, clock: SimClock) {
    const complain = (sentence: string) => void this.complaints.push(sentence);
    this.store = new SessionStore({
      ...{ shelf, clock, complain },
      ...{ keepMs: 7 * DAY_MS, flushUs: 3_000_000 },
    });
  }

  async open(): Promise<string[]> {
    const found: string[] = [];
    await this.store.open(
      (tenant, session) => this.#sessions.get(`${tenant}/${session}`),
      ({ tenant, session }) => void found.push(`${tenant}/${session}`),
    );
    return found;
  }

  put(saved: SavedSession): void {
    this.#sessions.set(`${saved.tenant}/${saved.session}`, saved);
    this.store.changed(saved.tenant, saved.session);
  }

  drop(name: string): void {
    this.#sessions.delete(`default/${name}`);
    this.store.changed('default' as TenantId, name as SessionId);
  }
}

/** Memory that a next start finds. */
class MemoryListed extends MemoryShelf {
  readonly #written = new Map<string, { place: { folder: string; file: string }; atMs: number }>();

  get size(): number {
    return this.#written.size;
  }

  override async list() {
    return [...this.#written.values()].map(({ place, atMs }) => ({
      ...place,
      bytes: 0,
      writtenMs: atMs,
    }));
  }

  override async replace(...[place, written]: Parameters<Shelf['replace']>) {
    this.#written.set(place.file, { place, atMs: written.atMs });
    await super.replace(place, written);
  }

  override async remove(place: Parameters<Shelf['remove']>[0]) {
    this.#written.delete(place.file);
    await super.remove(place);
  }
}

function sessionOf(
  name: string,
  more: { tenant?: string; threads?: ThreadRecord[]; spentTokens?: number } = {},
): SavedSession {
  const { tenant = 'default', threads = [recordOf(name)], spentTokens = 0 } = more;
  const session = name as SessionId;
  return { tenant: tenant as TenantId, session, begunUs: 5, spentTokens, threads };
}

function recordOf(session: string, more: Partial<ThreadRecord> = {}): ThreadRecord {
  const names = { tenant: 'default' as TenantId, session: session as SessionId };
  const blank = blankRecord({ ...names, thread: 't' as ThreadId, parent: undefined });
  return { ...blank, worker: 'w' as WorkerId, ...more };
}

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'stator-sessions-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
