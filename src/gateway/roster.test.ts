import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Fact } from '../model/kernel-io.ts';
import type { Part } from '../model/part.ts';
import type { WorkerAbout } from '../model/worker.ts';
import type { Engine, EngineReport, Note, WorkerChange } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import { FEED_SETTINGS } from '../sim/scene.ts';
import { IncrementalEncoder } from '../tokens/prompt-encoder.ts';
import { toyTokens } from '../tokens/toy-tokens.test.ts';
import { Draining } from './draining.ts';
import { Feed } from './feed/feed.ts';
import type { Host } from './host.ts';
import { Models } from './models.ts';
import { Roster } from './roster.ts';

const CHECK_US = 5000;
const RECHECK_US = 500;
const DRAIN_US = 100_000;
const A = 'a' as WorkerId;

test('a worker that cannot be reached gets nothing until it is well again, and is soon asked', async () => {
  const rig = new Rig();
  rig.up('a');
  rig.facts.length = 0;
  const lost = new GatewayError('engine_lost', 'It is gone.');
  rig.roster.ended(A, lost);
  rig.roster.ended(A, lost);
  rig.roster.ended('stranger' as WorkerId, lost);
  assert.deepEqual(rig.health(), [false]);
  rig.well = false;
  await rig.pass(RECHECK_US);
  assert.deepEqual(rig.health(), [false]);
  rig.well = true;
  await rig.pass(RECHECK_US);
  assert.deepEqual(rig.health(), [false, true]);
  assert.equal(rig.checks, 2);
  await rig.pass(CHECK_US - 1);
  assert.equal(rig.checks, 2);
  await rig.pass(1);
  assert.equal(rig.checks, 3);
});

test('who turns the gateway away is named once, in our words, until something is served there', () => {
  const rig = new Rig();
  rig.up('a');
  const warned = () => rig.notes.flatMap((note) => (note.kind === 'warning' ? note.sentence : []));
  const trouble = () => rig.roster.about()[0].trouble;
  const key = new GatewayError('engine_denied', 'The engine answered 401: mend key:');
  for (let i = 0; i < 3; i++) rig.roster.ended(A, key);
  assert.deepEqual(warned(), ['a: The engine answered 401: mend key:']);
  assert.equal(trouble(), key.message);
  const model = 'The engine answered 404: no model called my-secret-prompt';
  rig.roster.ended(A, new GatewayError('engine_denied', model));
  assert.match(warned()[1], /404: it has no such model.* engineModel:/);
  rig.roster.ended(A, new GatewayError('engine_failed', 'my-secret-prompt'));
  assert.match(trouble() ?? '', /its own log/);
  assert.doesNotMatch(JSON.stringify([warned(), trouble()]), /secret/);
  rig.roster.ended(A, undefined);
  assert.equal(trouble(), undefined);
  assert.deepEqual(rig.health(), [], 'it answers, whatever it says');
});

test('who is silent is given up when its checks fail again and again, or when it takes too long', async () => {
  const rig = new Rig();
  rig.up('a');
  const givenUp = (silentUs: number) => rig.roster.givenUp(A, silentUs)?.code;
  assert.equal(givenUp(999_999), undefined);
  assert.equal(givenUp(1_000_000), 'engine_timeout');
  rig.well = false;
  await rig.pass(CHECK_US);
  await rig.pass(RECHECK_US);
  assert.equal(givenUp(1), undefined, 'two checks may fail by chance');
  await rig.pass(RECHECK_US);
  assert.equal(givenUp(1), 'engine_lost');
  rig.well = true;
  await rig.pass(RECHECK_US);
  assert.equal(givenUp(1), undefined);
});

test('an answer is given up of whoever says that it runs nothing, long before all silence is', async () => {
  const silentUs = 99_000_000;
  for (const running of [1, 0]) {
    const rig = new Rig(100_000_000);
    rig.up('a');
    rig.load = { running, waiting: 0, countsAll: true };
    let why: string | undefined;
    for (let i = 0; i < 20 && why === undefined; i++) {
      why = rig.roster.givenUp(A, silentUs)?.message;
      await rig.pass(1_000_000);
    }
    if (running > 0) assert.equal(why, undefined);
    else assert.match(why ?? '', /says that it runs nothing/);
  }
});

test('one that leaves is drained, then rid of what does not end, and goes when nothing runs there', async () => {
  const rig = new Rig();
  rig.up('a');
  rig.facts.length = 0;
  rig.running = 1;
  rig.change({ kind: 'leaving', worker: A, reason: 'it is not listed any more' });
  await rig.pass(DRAIN_US - 40_000);
  assert.deepEqual(rig.facts, [{ kind: 'drainChanged', worker: A, draining: true }]);
  await rig.pass(80_000);
  assert.deepEqual(rig.facts.at(-1), {
    ...{ kind: 'drainChanged', worker: A, draining: true, moves: true },
  });
  // What no other can go on with ends there, however long it takes.
  await rig.pass(100 * DRAIN_US);
  assert.equal(rig.facts.length, 2);
  assert.ok(rig.roster.engine(A) !== undefined);
  rig.running = 0;
  await rig.pass(40_000);
  assert.deepEqual(rig.facts.at(-1), { kind: 'workerLeft', worker: A });
  assert.equal(rig.roster.engine(A), undefined);
});

test('one that is not ready is drained, and is not once it is; nothing of it is moved', () => {
  const rig = new Rig();
  rig.up('a');
  rig.facts.length = 0;
  rig.change({ kind: 'draining', worker: A, draining: true });
  rig.change({ kind: 'draining', worker: A, draining: false });
  assert.deepEqual(rig.facts, [
    { kind: 'drainChanged', worker: A, draining: true },
    { kind: 'drainChanged', worker: A, draining: false },
  ]);
});

test('a probe asks for one token of an answer, and tells what came of it', async () => {
  const rig = new Rig();
  rig.up('a');
  const probed = async (answer: Part[]) => {
    rig.answer = answer;
    await rig.roster.probe(A);
    const fact = rig.facts.at(-1);
    return fact?.kind === 'probed' && fact.ok;
  };
  const usage = { promptTokens: 1, outputTokens: 1, cachedTokens: undefined };
  const error = new GatewayError('engine_failed', 'It is broken.');
  assert.equal(await probed([{ kind: 'done', finish: { kind: 'length' }, usage }]), true);
  assert.equal(await probed([{ kind: 'error', error }]), false);
  assert.equal(await probed([]), false);
});

test('a check that throws, as one that says no, is told once', async () => {
  const rig = new Rig();
  rig.up('a');
  rig.well = 'throws';
  await rig.pass(CHECK_US);
  rig.well = false;
  await rig.pass(RECHECK_US);
  assert.deepEqual(rig.health(), [false]);
  assert.deepEqual(
    rig.roster.about().map(({ worker, healthy }) => [worker, healthy]),
    [[A, false]],
  );
});

test('who left is closed, unheard and unasked, also where its last check was under way', async () => {
  const rig = new Rig();
  rig.up('a');
  assert.equal(rig.listeners, 1);
  let answer = (_well: boolean) => {};
  rig.well = new Promise((resolve) => {
    answer = resolve;
  });
  await rig.pass(CHECK_US);
  rig.change({ kind: 'down', worker: A, reason: 'gone' });
  answer(false);
  await rig.pass(10 * CHECK_US);
  assert.deepEqual([rig.closed, rig.listeners, rig.checks, rig.health().length], [1, 0, 1, 0]);
  assert.equal(rig.roster.engine(A), undefined);
  assert.equal(rig.facts.at(-1)?.kind, 'workerLeft');
  assert.deepEqual(
    rig.notes.map(({ kind }) => kind),
    ['workerUp', 'workerDown'],
  );
});

test('events are listened to before the kernel hears of the worker, and only where ids are known', () => {
  const rig = new Rig();
  rig.up('a');
  rig.up('b', { tokensMode: 'passThrough' });
  const joined = rig.facts.flatMap((fact) => (fact.kind === 'workerJoined' ? [fact.worker] : []));
  assert.deepEqual(
    joined.map(({ hasEvents }) => hasEvents),
    [true, false],
  );
  assert.deepEqual(rig.order.slice(0, 2), ['workerJoined', 'feedLost']);
  assert.equal(rig.listeners, 1);
});

test('at its end it closes every engine and leaves no check behind', async () => {
  const rig = new Rig();
  rig.up('a');
  rig.up('b');
  await rig.roster.resetCaches();
  assert.equal(rig.resets, 2);
  rig.roster.close();
  assert.deepEqual([rig.closed, rig.listeners, rig.roster.size], [2, 0, 0]);
  await rig.pass(10 * CHECK_US);
  assert.equal(rig.checks, 0);
});

test('a model is found by its name and its aliases, and still known while its worker restarts', () => {
  const rig = new Rig();
  assert.throws(() => rig.models.find('m'), /no engine is up/);
  rig.up('a');
  assert.equal(rig.models.find('gpt-x').name, 'm');
  rig.change({ kind: 'down', worker: A, reason: 'gone' });
  assert.equal(rig.models.find('m').name, 'm');
  assert.deepEqual(rig.models.up(), []);
  assert.throws(() => rig.models.find('n"\n'), /There is no model "n\\"\\n" here; served: "m"\./);
});

test('prompts become ids only while every worker of the name takes ours', () => {
  const rig = new Rig();
  const rendered = () => rig.models.find('m').tokens !== undefined;
  rig.up('a');
  assert.ok(rendered());
  for (const other of [{ fingerprint: 'g' }, { tokensMode: 'passThrough' }] as const) {
    rig.up('b', other);
    assert.ok(!rendered(), JSON.stringify(other));
    rig.change({ kind: 'down', worker: 'b' as WorkerId, reason: 'gone' });
    assert.ok(rendered());
  }
});

const tokens = toyTokens();
const prompts = new IncrementalEncoder({
  tokens,
  elsewhere: undefined,
  settings: { bytesMax: 1_000_000, hereMax: 1_000 },
});

class Rig {
  readonly clock = new SimClock();
  readonly facts: Fact[] = [];
  readonly notes: Note[] = [];
  readonly order: string[] = [];
  readonly models = new Models({
    known: new Map([['m', { tokens, prompts, fingerprint: 'f' }]]),
    names: [{ name: 'm', aliases: ['gpt-x'], split: [], fallbacks: [] }],
  });
  readonly roster: Roster;
  well: boolean | 'throws' | Promise<boolean> = true;
  checks = 0;
  closed = 0;
  answer: Part[] = [];
  /** What it says that it runs; undefined: nothing. */
  load: Pick<EngineReport, 'running' | 'waiting' | 'countsAll'> | undefined;
  resets = 0;
  listeners = 0;
  /** Requests on each of them. */
  running = 0;
  change!: (change: WorkerChange) => void;

  constructor(silenceUsMax = 1_000_000) {
    const { clock, models } = this;
    const sink = { note: (note: Note) => this.notes.push(note) };
    const host = {
      tell: (fact: Fact) => {
        this.facts.push(fact);
        this.order.push(fact.kind);
      },
      countOn: () => this.running,
      state: () => ({ workers: [{ id: A }] }),
    } as unknown as Host;
    const subscribe = () => {
      this.listeners++;
      this.order.push('listen');
      const close = () => {
        this.listeners--;
      };
      return { replays: false, isReliable: true, async *replay() {}, close };
    };
    const directory = {
      watch: (on: (change: WorkerChange) => void) => {
        this.change = on;
        return () => {};
      },
    };
    const settings = FEED_SETTINGS;
    const feed = new Feed({ host, feed: { subscribe }, clock, sink, settings });
    const times = { checkUs: CHECK_US, recheckUs: RECHECK_US, silenceUsMax };
    const draining = new Draining({ host, clock, drainUs: DRAIN_US });
    this.roster = new Roster({ directory, host, models, feed, draining, clock, sink, ...times });
  }

  up(name: string, changes: Partial<WorkerAbout> = {}): void {
    const about: WorkerAbout = {
      engine: 'sim',
      url: '',
      model: 'm',
      fingerprint: 'f',
      demo: false,
      tokensMode: 'exact',
      card: undefined,
      ...changes,
    };
    const worker = {
      id: name as WorkerId,
      models: ['m'],
      blockTokens: 16,
      contextTokens: 1000,
      slots: 2,
      requestsMax: 8,
      cacheTokens: 1000,
      hasEvents: true,
      prefill: { perTokenUs: 1, perTokenContextUs: 0 },
      decode: { stepUs: 1, perSequenceUs: 1 },
    };
    const events = { endpoint: 'tcp://x', replay: undefined };
    this.change({ kind: 'up', worker, engine: this.#engine(worker.id), events, about });
  }

  health(): boolean[] {
    return this.facts.flatMap((fact) => (fact.kind === 'healthChanged' ? [fact.healthy] : []));
  }

  /** Lets virtual time pass, and promises settle. */
  async pass(us: number): Promise<void> {
    let due = false;
    this.clock.after(us, () => {
      due = true;
    });
    while (!due) {
      assert.ok(this.clock.step());
      for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #engine(worker: WorkerId): Engine {
    return {
      worker,
      generate: (job) => {
        assert.equal(job.outputTokensMax, 1);
        const { answer } = this;
        return (async function* () {
          yield* answer;
        })();
      },
      embed: () => assert.fail('nothing is asked'),
      resetCache: async () => {
        this.resets++;
      },
      healthy: async () => {
        this.checks++;
        if (this.well === 'throws') throw new Error('unreachable');
        return this.well;
      },
      report: async () => this.load as EngineReport | undefined,
      close: () => {
        this.closed++;
      },
    };
  }
}
