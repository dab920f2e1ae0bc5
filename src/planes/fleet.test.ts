import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WorkerConfig } from '../model/fleet-config.ts';
import type { WorkerRules } from '../model/worker.ts';
import type { Engine, Introduction, Note, WorkerChange } from '../ports.ts';
import type { Found } from './discovery.ts';
import { Fleet } from './fleet.ts';

test('a worker is asked until it answers, is told of once, and its first silence is one warning', async () => {
  const rig = new Rig(['http://a']);
  const seen: WorkerChange[] = [];
  rig.answer = () => Promise.reject(new Error('connect ECONNREFUSED\nand more'));
  const workers = rig.start();
  workers.watch((change) => seen.push(change));
  await rig.settle();
  for (let i = 0; i < 3; i++) await rig.ask();
  assert.equal(rig.asked, 4);
  assert.deepEqual(rig.warnings(), ['http://a does not say who it is yet: connect ECONNREFUSED']);
  assert.equal(seen.length, 0);

  rig.answer = () => Promise.resolve(introduction());
  await rig.ask();
  await rig.ask();
  assert.equal(seen.length, 1);
  assert.ok(seen[0].kind === 'up' && seen[0].worker.id === 'worker-1');
  assert.deepEqual(seen[0].worker.models, ['m']);

  const late: WorkerChange[] = [];
  workers.watch((change) => late.push(change));
  assert.deepEqual(late, seen);
  workers.close();
});

test('who was not met yet, or is silent since, is told of with the reason, and without what is secret', async () => {
  const rig = new Rig(['http://ada:pw@a/v1?key=x']);
  rig.answer = () => Promise.reject(new Error('it sleeps\nand dreams'));
  const workers = rig.start();
  await rig.settle();
  assert.deepEqual(workers.missing(), [
    { url: 'http://a/v1', worker: undefined, says: 'it sleeps' },
  ]);
  assert.doesNotMatch(rig.warnings().join(), /ada|pw|key/);
  rig.answer = () => Promise.resolve(introduction());
  await rig.ask();
  assert.deepEqual(workers.missing(), []);
  rig.answer = () => Promise.reject(new Error('it sleeps'));
  await rig.ask();
  assert.equal(workers.missing()[0].worker, 'worker-1');
  workers.set('workers', []);
  assert.deepEqual(workers.missing(), []);
  workers.close();
});

test('one that was started anew at its address is another worker: the first one left', async () => {
  const rig = new Rig(['http://a']);
  let run = 'first';
  rig.answer = () => Promise.resolve({ ...introduction(), run });
  const workers = rig.start();
  const seen: string[] = [];
  workers.watch((change) => {
    seen.push(change.kind === 'up' ? `up ${change.worker.id}` : `down ${change.worker}`);
  });
  await rig.settle();
  // A question that failed says nothing: health checks tell whether it answers.
  rig.answer = () => Promise.reject(new Error('busy'));
  await rig.ask();
  rig.answer = () => Promise.resolve({ ...introduction(), run });
  run = 'second';
  await rig.ask();
  await rig.ask();
  assert.deepEqual(seen, ['up worker-1', 'down worker-1', 'up worker-1.2']);
  assert.deepEqual(rig.warnings(), []);
  workers.close();
});

test('what is not as it should be there is said once, however often it starts anew', async () => {
  const rig = new Rig(['http://a']);
  let run = 0;
  const findings = [
    { check: 'version', well: true, says: '0.32.0' },
    { check: 'KV events', well: false, says: 'are off' },
  ];
  rig.answer = () => {
    const { about, ...rest } = introduction();
    return Promise.resolve({ ...rest, about: { ...about, findings }, run: String(++run) });
  };
  const workers = rig.start();
  await rig.settle();
  findings.push({ check: 'cached tokens', well: false, says: 'are not told' });
  await rig.ask();
  assert.deepEqual(rig.warnings(), [
    'http://a: KV events: are off',
    'http://a: cached tokens: are not told',
  ]);
  workers.close();
});

test('adapters it says it has are served beside those of its rules', async () => {
  const rig = new Rig(['http://a']);
  rig.answer = () => Promise.resolve({ ...introduction(), adapters: ['sql', 'law'] });
  rig.rules = { role: 'decode', adapters: ['law'], tenants: [], taints: ['spot'], labels: {} };
  const workers = rig.start();
  const seen: WorkerChange[] = [];
  workers.watch((change) => seen.push(change));
  await rig.settle();
  assert.ok(seen[0].kind === 'up');
  assert.deepEqual(seen[0].worker.rules, { ...rig.rules, adapters: ['law', 'sql'] });
  workers.close();
});

test('addresses of the configuration count before those it tells', async () => {
  const rig = new Rig(['http://a'], 'tcp://configured:1');
  rig.answer = () => Promise.resolve(introduction());
  const workers = rig.start();
  const seen: WorkerChange[] = [];
  workers.watch((change) => seen.push(change));
  await rig.settle();
  assert.ok(seen[0].kind === 'up');
  assert.deepEqual(seen[0].events, { endpoint: 'tcp://configured:1', replay: undefined });
  workers.close();
});

test('once closed, nothing is asked, told or waited for any more', async () => {
  const rig = new Rig(['http://a', 'http://b']);
  const answers: ((answer: { ok: boolean }) => void)[] = [];
  rig.answer = () =>
    new Promise((resolve, reject) => {
      answers.push(({ ok }) => (ok ? resolve(introduction()) : reject(new Error('no'))));
    });
  const workers = rig.start();
  const seen: WorkerChange[] = [];
  workers.watch((change) => seen.push(change));
  await rig.settle();
  workers.close();
  answers[0]({ ok: false });
  answers[1]({ ok: true });
  await rig.settle();
  assert.deepEqual([seen.length, rig.timers.size, rig.asked], [0, 0, 2]);
});

test('who is not listed any more leaves, who is another is another, and who stays hears nothing', async () => {
  const rig = new Rig(['http://a', 'http://b', 'http://c']);
  rig.answer = () => Promise.resolve(introduction());
  const workers = rig.start();
  const seen = storyOf(workers);
  await rig.settle();
  seen.length = 0;
  const change = workers.set('workers', [
    found('http://d'),
    found('http://c/', {}),
    found('http://b', { role: 'decode' }),
  ]);
  await rig.settle();
  // The slash makes other settings of it, and the same place.
  assert.deepEqual(change, { added: 1, removed: 1, changed: 2 });
  assert.deepEqual(seen, [
    'leaving worker-1: it is not listed any more',
    'leaving worker-2: its settings changed',
    'leaving worker-3: its settings changed',
    'up worker-4',
    'up worker-3.2',
    'up worker-2.2',
  ]);
  assert.deepEqual(rig.closed, ['http://a', 'http://b', 'http://c']);
  const again = [found('http://b', { role: 'decode' }), found('http://d'), found('http://c/')];
  assert.deepEqual(workers.set('workers', again), { added: 0, removed: 0, changed: 0 });
  assert.equal(seen.length, 6);
  workers.close();
});

test('one that is not ready gets nothing new until it is; before it was met, from the first moment', async () => {
  const rig = new Rig([]);
  rig.answer = () => Promise.resolve(introduction());
  const workers = rig.start();
  const seen = storyOf(workers);
  const pod = (draining: boolean, instance = 'uid-1') => [
    { ...found('http://a'), name: 'llm-0', instance, draining },
  ];
  workers.set('kubernetes', pod(true));
  await rig.settle();
  workers.set('kubernetes', pod(false));
  workers.set('kubernetes', pod(false));
  workers.set('kubernetes', pod(true));
  const late = storyOf(workers);
  assert.deepEqual(late, ['up llm-0', 'draining llm-0']);
  workers.set('kubernetes', pod(false, 'uid-2'));
  await rig.settle();
  assert.deepEqual(seen, [
    ...['up llm-0', 'draining llm-0', 'ready llm-0', 'draining llm-0'],
    ...['leaving llm-0: its settings changed', 'up llm-0.2'],
  ]);
  workers.close();
});

test('of two who tell of one place the first counts, and the other when that one is silent', async () => {
  const rig = new Rig(['http://a']);
  rig.answer = () => Promise.resolve(introduction());
  const workers = rig.start();
  const seen = storyOf(workers);
  workers.set('dns', [found('http://a'), found('http://b')]);
  await rig.settle();
  workers.set('workers', []);
  await rig.settle();
  assert.deepEqual(seen, ['up worker-1', 'up worker-2']);
  workers.set('dns', []);
  assert.deepEqual(seen.length, 4);
  workers.close();
});

test('two models at one address are two workers', async () => {
  const rig = new Rig([]);
  rig.answer = () => Promise.resolve(introduction());
  const workers = rig.start();
  const seen = storyOf(workers);
  const change = workers.set('workers', [
    found('http://a', { engineModel: 'm' }),
    found('http://a', { engineModel: 'n' }),
    found('http://a/', { engineModel: 'n' }),
  ]);
  await rig.settle();
  assert.equal(change.added, 2);
  assert.deepEqual(seen, ['up worker-1', 'up worker-2']);
  workers.close();
});

test('an expired certificate is said of one that is up too, once, and who is trusted is read again', async () => {
  const rig = new Rig(['https://a']);
  rig.answer = () => Promise.resolve(introduction());
  const workers = rig.start();
  const seen = storyOf(workers);
  await rig.settle();
  const cause = Object.assign(new Error('x'), { code: 'CERT_HAS_EXPIRED' });
  rig.answer = () => Promise.reject(new Error('It has expired.', { cause }));
  await rig.ask();
  await rig.ask();
  assert.deepEqual(rig.warnings(), ['https://a: It has expired.']);
  assert.equal(rig.closed.length, 2);
  rig.answer = () => Promise.resolve(introduction());
  await rig.ask();
  assert.deepEqual(seen, ['up worker-1'], 'it is the same one as before');
  workers.close();
});

function found(url: string, settings: object = {}): Found {
  return { config: WorkerConfig.parse({ url, ...settings }) };
}

/** What watchers hear, in words. */
function storyOf(workers: Fleet): string[] {
  const story: string[] = [];
  workers.watch((change) => {
    if (change.kind === 'up') story.push(`up ${change.worker.id}`);
    else if (change.kind === 'draining') {
      story.push(`${change.draining ? 'draining' : 'ready'} ${change.worker}`);
    } else story.push(`${change.kind} ${change.worker}: ${change.reason}`);
  });
  return story;
}

class Rig {
  asked = 0;
  /** Upstreams that were closed, by address. */
  readonly closed: string[] = [];
  rules: WorkerRules | undefined;
  answer: (url: string) => Promise<Introduction> = () => Promise.reject(new Error('none is set'));
  readonly timers = new Set<() => void>();
  readonly notes: Note[] = [];
  readonly #found: Found[];

  constructor(urls: string[], events?: string) {
    this.#found = urls.map((url) => found(url, { events }));
  }

  start(): Fleet {
    const clock = {
      nowUs: () => 0,
      wallMs: () => 0,
      after: (_us: number, run: () => void) => {
        this.timers.add(run);
        return () => this.timers.delete(run);
      },
    };
    const fleet = new Fleet({
      clock,
      sink: { note: (note) => this.notes.push(note) },
      settings: {
        askUs: 1,
        rules: () => this.rules,
        upstream: ({ url }) => ({
          introduce: () => {
            this.asked++;
            return this.answer(url);
          },
          engine: (worker) => ({ worker }) as Engine,
          close: () => void this.closed.push(url),
        }),
      },
    });
    fleet.set('workers', this.#found);
    return fleet;
  }

  warnings(): string[] {
    return this.notes.flatMap((note) => (note.kind === 'warning' ? [note.sentence] : []));
  }

  async ask(): Promise<void> {
    const due = [...this.timers];
    this.timers.clear();
    for (const run of due) run();
    await this.settle();
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  }
}

function introduction(): Introduction {
  return {
    run: 'first',
    worker: {
      ...{ models: ['m'], blockTokens: 16, contextTokens: 4096, slots: 2, requestsMax: 8 },
      ...{ cacheTokens: 8192, hasEvents: true },
      prefill: { perTokenUs: 1, perTokenContextUs: 0 },
      decode: { stepUs: 1, perSequenceUs: 1 },
    },
    about: {
      ...{ engine: 'stator', url: 'http://a', model: 'm', fingerprint: 'f', demo: true },
      ...{ tokensMode: 'exact', card: {} },
    },
    events: { endpoint: 'tcp://told:1', replay: 'tcp://told:2' },
    adapters: [],
  };
}
