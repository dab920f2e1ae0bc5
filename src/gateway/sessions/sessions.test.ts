import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { Kernel } from '../../kernel/kernel.ts';
import { Config } from '../../model/config.ts';
import type { RequestId, SessionId, TenantId, ThreadId, WorkerId } from '../../model/ids.ts';
import type { KvChain, KvOutcome } from '../../model/kv-control.ts';
import type { Identity } from '../../model/session.ts';
import type { KvControl } from '../../ports.ts';
import { SimClock } from '../../sim/clock.ts';
import { Account } from '../account.ts';
import { Host } from '../host.ts';
import { identify } from '../identify.ts';
import { Keeping } from './keeping.ts';
import { Sessions } from './sessions.ts';

const NAMES = { tenant: 'default' as TenantId, worker: 'w' as WorkerId };
const BLOCK = 16;

test('the state after a turn says what was cached, what it saved, and where the KV lies', async () => {
  const rig = new Rig();
  const first = rig.ask('s', { blocks: 10 });
  rig.answer(first, { cachedTokens: 0 });
  const [begun] = rig.threads('s');
  assert.deepEqual([begun.turns, begun.contextTokens, begun.savedTokens], [1, 165, 0]);
  assert.deepEqual(begun.kv, [{ worker: 'w', tier: 'device', tokens: 160 }]);
  const second = rig.ask('s', { blocks: 20 });
  rig.finish(second, { cachedTokens: 160 });
  const state = rig.sessions.stateAfter(second);
  assert.ok(state !== undefined);
  assert.deepEqual(
    [state.session, state.thread, state.turns, state.running, state.contextTokens],
    ['s', 's', 2, 0, 325],
  );
  assert.deepEqual([state.cachedTokens, state.computedTokens, state.savedTokens], [160, 160, 160]);
  assert.ok(state.savedMs > 0);
  rig.close(second);
  // Asked again, it says the same: the end is counted once.
  assert.deepEqual(rig.threads('s'), [state]);
});

test('where the engine does not report, nothing is claimed to be saved', () => {
  const rig = new Rig();
  rig.answer(rig.ask('s', { blocks: 4 }), { cachedTokens: undefined });
  const [state] = rig.threads('s');
  assert.deepEqual(
    [state.cachedTokens, state.computedTokens, state.savedTokens, state.savedMs],
    [null, null, 0, 0],
  );
});

test('a session that is ended lets its KV go, and what runs goes when it is over', async () => {
  const rig = new Rig();
  rig.answer(rig.ask('s', { blocks: 4 }), { cachedTokens: 0 });
  const child = rig.ask('s', { thread: 's/a', blocks: 4 });
  const ended = await rig.sessions.end(NAMES.tenant, 's');
  assert.deepEqual(ended?.running, 1);
  assert.deepEqual(
    ended.released.map(({ thread, worker, answer }) => [thread, worker, answer]),
    [['s', 'w', 'accepted']],
  );
  assert.deepEqual(
    rig.threads('s').map(({ thread }) => thread),
    ['s/a'],
  );
  rig.answer(child, { cachedTokens: 0 });
  await rig.settled();
  assert.deepEqual(rig.released(), ['s', 's/a']);
  assert.equal(rig.sessions.find(NAMES.tenant, 's'), undefined);
  assert.equal(await rig.sessions.end(NAMES.tenant, 's'), undefined);
});

test('a request that its client calls the last ends its session; a sub-agent’s only itself', async () => {
  const rig = new Rig();
  rig.answer(rig.ask('s', { thread: 'child', blocks: 4, isFinal: true }), { cachedTokens: 0 });
  rig.answer(rig.ask('s', { thread: 'other', blocks: 4 }), { cachedTokens: 0 });
  await rig.settled();
  assert.deepEqual(rig.released(), ['child']);
  assert.deepEqual(
    rig.threads('s').map(({ thread }) => thread),
    ['other'],
  );
  assert.equal(rig.threads('other').length, 1);
  rig.answer(rig.ask('s', { blocks: 4, isFinal: true }), { cachedTokens: 0 });
  await rig.settled();
  assert.deepEqual(rig.released(), ['child', 'other', 's']);
  assert.deepEqual(rig.sessions.list(NAMES.tenant, { after: 0, limit: 9 }).sessions, []);
});

test('a wish to keep KV is carried out where it ran, and told when it is granted', async () => {
  const rig = new Rig();
  rig.answer(rig.ask('s', { blocks: 4, retainUs: 60e6 }), { cachedTokens: 0 });
  await rig.settled();
  assert.deepEqual(rig.asked, [['retain', 's']]);
  assert.equal(rig.threads('s')[0].retainUntil, new Date(60_000).toISOString());
  rig.outcome = { ...rig.outcome, answer: 'rejected' };
  rig.answer(rig.ask('t', { blocks: 4, retainUs: 60e6 }), { cachedTokens: 0 });
  await rig.settled();
  assert.equal(rig.threads('t')[0].retainUntil, null);
});

test('an engine that cannot be asked is a warning, and nobody waits for it', async () => {
  const rig = new Rig();
  rig.answer(rig.ask('s', { blocks: 4 }), { cachedTokens: 0 });
  rig.fails = true;
  const ended = await rig.sessions.end(NAMES.tenant, 's');
  assert.deepEqual(ended?.released, []);
  assert.equal(rig.warnings.length, 1);
  assert.doesNotMatch(rig.warnings[0], /undefined/);
  rig.answer(rig.ask('t', { blocks: 4 }), { cachedTokens: 0 });
  await rig.sessions.end(NAMES.tenant, 't');
  assert.equal(rig.warnings.length, 1, 'said once');
});

test('pages have every session once, whoever ends between them', async () => {
  const rig = new Rig();
  for (let i = 0; i < 25; i++) rig.answer(rig.ask(`s${i}`, { blocks: 1 }), { cachedTokens: 0 });
  const seen: string[] = [];
  let after = 0;
  for (let page = 0; page < 3; page++) {
    const { sessions, next } = rig.sessions.list(NAMES.tenant, { after, limit: 10 });
    seen.push(...sessions.map(({ session }) => session));
    assert.equal(next === null, page === 2);
    after = Number(next);
    await rig.sessions.end(NAMES.tenant, 's3');
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 25 }, (_, i) => `s${i}`),
  );
});

test('a fork begins with what its origin has, beside it, and under a name that is free', () => {
  const rig = new Rig();
  rig.answer(rig.ask('s', { blocks: 10 }), { cachedTokens: 0 });
  const [origin] = rig.sessions.records(NAMES.tenant, 's') ?? assert.fail();
  const fork = rig.sessions.fork(origin, 'f' as ThreadId) ?? assert.fail('its name is free');
  const state = rig.sessions.stateOf(fork);
  assert.deepEqual([state.session, state.parent, state.turns], ['s', 's', 0]);
  assert.deepEqual(state.kv, [{ worker: 'w', tier: 'device', tokens: 160 }]);
  assert.equal(rig.sessions.fork(origin, 'f' as ThreadId), undefined);
  assert.equal(rig.sessions.fork(origin, 's' as ThreadId), undefined);
  rig.answer(rig.ask('s', { thread: 'f', blocks: 12 }), { cachedTokens: 160 });
  assert.deepEqual(
    new Map(rig.threads('s').map((one) => [one.thread, one.contextTokens])),
    new Map([
      ['s', 165],
      ['f', 197],
    ]),
  );
});

test('what a session has used is what was computed for all its threads, and goes with it', async () => {
  const rig = new Rig();
  const who = { tenant: NAMES.tenant, session: 's' as SessionId };
  assert.equal(rig.sessions.spentTokens(who), 0);
  rig.answer(rig.ask('s', { blocks: 10 }), { cachedTokens: 0 });
  rig.answer(rig.ask('s', { thread: 's/a', blocks: 20 }), { cachedTokens: 160 });
  assert.equal(rig.sessions.spentTokens(who), 160 + 5 + 160 + 5);
  // Where nobody reports what was cached, all of it counts.
  rig.answer(rig.ask('s', { blocks: 2 }), { cachedTokens: undefined });
  assert.equal(rig.sessions.spentTokens(who), 330 + 32 + 5);
  assert.equal(rig.sessions.spentTokens({ ...who, tenant: 'other' as TenantId }), 0);
  await rig.sessions.end(NAMES.tenant, 's');
  assert.equal(rig.sessions.spentTokens(who), 0);
});

test('what was kept is known again, and whatever came since counts before it', () => {
  const before = new Rig();
  before.answer(before.ask('s', { blocks: 10 }), { cachedTokens: 0 });
  before.answer(before.ask('s', { thread: 's/a', blocks: 4 }), { cachedTokens: 0 });
  assert.ok(before.changed.includes('s'));
  const saved = before.sessions.saved(NAMES.tenant, 's' as SessionId) ?? assert.fail();
  const rig = new Rig();
  rig.answer(rig.ask('s', { blocks: 20 }), { cachedTokens: 0 });
  rig.sessions.restore(saved);
  rig.sessions.check();
  const contexts = new Map(rig.threads('s').map((one) => [one.thread, one.contextTokens]));
  assert.deepEqual([contexts.get('s'), contexts.get('s/a')], [325, 69]);
  const spent = rig.sessions.spentTokens({ tenant: NAMES.tenant, session: 's' as SessionId });
  assert.equal(spent, 325 + 165 + 69);
  assert.equal(rig.sessions.list(NAMES.tenant, { after: 0, limit: 9 }).sessions.length, 1);
});

test('a thread thinks, acts while its tools run, waits for its sub-agents, or is idle', () => {
  const rig = new Rig();
  const stateOf = (thread: string) =>
    rig.threads('s').find((one) => one.thread === thread)?.state ?? assert.fail();
  const first = rig.ask('s', { blocks: 4 });
  assert.equal(stateOf('s'), 'thinking');
  first.answer.add({ kind: 'toolCall', index: 0, id: 'c', name: 'Task' });
  rig.answer(first, { cachedTokens: 0 });
  assert.equal(stateOf('s'), 'acting');
  const child = rig.ask('s', { thread: 's/a', blocks: 2, parent: 's' });
  assert.deepEqual([stateOf('s'), stateOf('s/a')], ['waiting', 'thinking']);
  rig.answer(child, { cachedTokens: 0 });
  assert.deepEqual([stateOf('s'), stateOf('s/a')], ['acting', 'idle']);
  rig.answer(rig.ask('s', { blocks: 6 }), { cachedTokens: 64 });
  assert.equal(stateOf('s'), 'idle');
});

test('a request of a parked thread uses it again', () => {
  const rig = new Rig();
  rig.answer(rig.ask('s', { blocks: 4 }), { cachedTokens: 0 });
  const [record] = rig.sessions.records(NAMES.tenant, 's') ?? assert.fail();
  record.parked = { atMs: 5000, tokens: 64 };
  assert.equal(rig.threads('s')[0].state, 'parked');
  assert.equal(rig.threads('s')[0].parkedAt, new Date(5000).toISOString());
  rig.ask('s', { blocks: 5 });
  assert.equal(rig.threads('s')[0].parkedAt, null);
});

test('whoever makes up sessions forgets only its own', () => {
  const rig = new Rig(100_000);
  rig.answer(rig.ask('mine', { blocks: 4 }), { cachedTokens: 0 });
  for (let i = 0; i < 500; i++) {
    rig.answer(rig.ask(`made up ${i}`, { blocks: 4, tenant: 'noisy' }), { cachedTokens: 0 });
  }
  rig.sessions.check();
  assert.equal(rig.threads('mine').length, 1);
  const noisy = rig.sessions.list('noisy' as TenantId, { after: 0, limit: 1000 });
  assert.ok(noisy.sessions.length < 100);
  assert.equal(rig.sessions.list(undefined, { after: 0, limit: 1 }).sessions.length, 1);
});

interface Asked {
  blocks: number;
  thread?: string;
  parent?: string;
  tenant?: string;
  isFinal?: boolean;
  retainUs?: number;
}

class Rig {
  readonly sessions: Sessions;
  readonly warnings: string[] = [];
  /** Of the engine's KV control. */
  readonly asked: [verb: string, thread: string][] = [];
  outcome: KvOutcome = { answer: 'accepted', blocks: 1, tokens: BLOCK, sentence: undefined };
  fails = false;
  readonly changed: string[] = [];
  readonly #clock = new SimClock();
  readonly #host: Host;
  #requests = 0;

  constructor(sessionsBytesMax = 10_000_000) {
    const { limits } = Config.parse({});
    const kernel = new Kernel({ settings: { policy: 'stator', ...limits }, rng: new Prng(1) });
    const sink = {
      note: (note: { kind: string }) => {
        if (note.kind === 'warning')
          this.warnings.push((note as { sentence?: string }).sentence ?? '');
      },
    };
    const clock = this.#clock;
    this.#host = new Host({ kernel, clock, sink });
    this.#host.tell({
      kind: 'workerJoined',
      worker: {
        ...{ id: NAMES.worker, models: ['m'], blockTokens: BLOCK, contextTokens: 100_000 },
        ...{ slots: 4, requestsMax: 16, cacheTokens: 100_000, hasEvents: true },
        prefill: { perTokenUs: 50, perTokenContextUs: 0.001 },
        decode: { stepUs: 1000, perSequenceUs: 100 },
      },
    });
    this.#host.tell({ kind: 'blocksCleared', worker: NAMES.worker });
    const keeping = new Keeping({ kvOf: () => this.#kv(), sink });
    this.sessions = new Sessions({
      ...{ clock, host: this.#host, keeping, sessionsBytesMax },
      changed: (_tenant, session) => this.changed.push(session),
    });
  }

  ask(session: string, given: Asked): Account {
    const { blocks, thread = session, tenant = NAMES.tenant, isFinal = false, retainUs } = given;
    const hashes = BigUint64Array.from({ length: blocks }, (_, i) => BigInt(i + 1));
    const who: Identity = {
      ...identify(tenant as TenantId, {}, []),
      ...{ session: session as SessionId, thread: thread as ThreadId, knownBy: 'a test', isFinal },
      parent: given.parent as ThreadId | undefined,
    };
    const id = `r${this.#requests++}`;
    const account = new Account({
      ...{ id, requestId: id, atIso: '', arrivedUs: 0, wire: 'w', policy: 'stator', who },
      ...{ tokensKnown: true, normalised: [], notes: [] },
      arrival: {
        ...{ id: id as RequestId, tenant: who.tenant, model: 'm', thread: who.thread, hashes },
        ...{ promptTokens: blocks * BLOCK, blockTokens: BLOCK, outputTokensMax: 9, priority: 0 },
      },
    });
    this.sessions.opened(account, { salt: '', retainUs });
    return account;
  }

  finish(account: Account, { cachedTokens }: { cachedTokens: number | undefined }): void {
    const { hashes, promptTokens } = account.arrival;
    this.#host.tell({ kind: 'blocksStored', worker: NAMES.worker, hashes, tier: 'device' });
    account.receipt.worker = NAMES.worker;
    const usage = { promptTokens, outputTokens: 5, cachedTokens };
    account.ended(0, { status: 'done', usage });
  }

  close(account: Account): void {
    this.sessions.closed(account);
  }

  answer(account: Account, usage: { cachedTokens: number | undefined }): void {
    this.finish(account, usage);
    this.close(account);
  }

  threads(session: string) {
    return this.sessions.find(NAMES.tenant, session) ?? [];
  }

  released(): string[] {
    return this.asked.flatMap(([verb, thread]) => (verb === 'release' ? [thread] : []));
  }

  async settled(): Promise<void> {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  #kv(): KvControl {
    const answer = (verb: string) => async (chain: KvChain) => {
      if (this.fails) throw new Error('the connection was refused');
      this.asked.push([verb, chain.kind === 'thread' ? chain.thread : 'blocks']);
      return this.outcome;
    };
    return { retain: answer('retain'), release: answer('release') } as unknown as KvControl;
  }
}
