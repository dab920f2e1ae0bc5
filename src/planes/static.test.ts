import assert from 'node:assert/strict';
import { test } from 'node:test';
import { workerCard } from '../../test/worker-card.ts';
import type { Engine, Note, WorkerChange } from '../ports.ts';
import { StaticWorkers } from './static.ts';

test('a worker is asked until it answers, is told of once, and its first silence is one warning', async () => {
  const rig = new Rig(['http://a']);
  const seen: WorkerChange[] = [];
  rig.answer = () => Promise.reject(new Error('connect ECONNREFUSED\nand more'));
  const workers = rig.start();
  workers.watch((change) => seen.push(change));
  await rig.settle();
  for (let i = 0; i < 3; i++) await rig.ask();
  assert.equal(rig.asked, 4);
  assert.deepEqual(rig.warnings(), ['http://a shows no worker card yet: connect ECONNREFUSED']);
  assert.equal(seen.length, 0);

  rig.answer = () => Promise.resolve(workerCard());
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

test('one that was started anew at its address is another worker: the first one left', async () => {
  const rig = new Rig(['http://a']);
  let startMs = 1;
  rig.answer = () => Promise.resolve({ ...workerCard(), startMs });
  const workers = rig.start();
  const seen: string[] = [];
  workers.watch((change) => {
    seen.push(change.kind === 'up' ? `up ${change.worker.id}` : `down ${change.worker}`);
  });
  await rig.settle();
  // A question that failed says nothing: health checks tell whether it answers.
  rig.answer = () => Promise.reject(new Error('busy'));
  await rig.ask();
  rig.answer = () => Promise.resolve({ ...workerCard(), startMs });
  startMs = 2;
  await rig.ask();
  await rig.ask();
  assert.deepEqual(seen, ['up worker-1', 'down worker-1', 'up worker-1.2']);
  assert.deepEqual(rig.warnings(), []);
  workers.close();
});

test('a card that is none is named in words, with the field that is wrong', async () => {
  const rig = new Rig(['http://a']);
  rig.answer = () =>
    Promise.resolve({ ...workerCard(), cache: { ...workerCard().cache, slots: 'two' } });
  const workers = rig.start();
  await rig.settle();
  const [warning] = rig.warnings();
  assert.match(warning, /^http:\/\/a shows no worker card yet: .*cache\.slots/);
  assert.ok(!warning.includes('\n'));
  workers.close();
});

test('addresses of the configuration count before those of the card', async () => {
  const rig = new Rig(['http://a'], 'tcp://configured:1');
  rig.answer = () => Promise.resolve(workerCard());
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
      answers.push(({ ok }) => (ok ? resolve(workerCard()) : reject(new Error('no'))));
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

class Rig {
  asked = 0;
  answer: () => Promise<unknown> = () => Promise.reject(new Error('no answer is set'));
  readonly timers = new Set<() => void>();
  readonly notes: Note[] = [];
  readonly #urls: string[];
  readonly #events: string | undefined;

  constructor(urls: string[], events?: string) {
    this.#urls = urls;
    this.#events = events;
  }

  start(): StaticWorkers {
    const clock = {
      nowUs: () => 0,
      wallMs: () => 0,
      after: (_us: number, run: () => void) => {
        this.timers.add(run);
        return () => this.timers.delete(run);
      },
    };
    return new StaticWorkers({
      clock,
      sink: { note: (note) => this.notes.push(note) },
      settings: {
        workers: this.#urls.map((url) => ({ url, events: this.#events, replay: undefined })),
        fetchCard: () => {
          this.asked++;
          return this.answer();
        },
        engine: (worker) => ({ worker }) as Engine,
        movesKv: true,
        askUs: 1,
      },
    });
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
