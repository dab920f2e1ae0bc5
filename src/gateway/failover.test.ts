/** One request's way from worker to worker; what engines say is scripted, and time is virtual. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainJob } from '../../test/plain-job.ts';
import { Prng } from '../base/prng.ts';
import { Kernel } from '../kernel/kernel.ts';
import { Config } from '../model/config.ts';
import { GatewayError } from '../model/error.ts';
import type { RequestId, TenantId, WorkerId } from '../model/ids.ts';
import type { Arrival, Fact } from '../model/kernel-io.ts';
import type { Part } from '../model/part.ts';
import type { Engine, Job } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import type { Account } from './account.ts';
import { answerOf } from './failover.ts';
import { Host } from './host.ts';

const S = 1_000_000;
const LOST = new GatewayError('engine_lost', 'It is gone.');

test('what fails in mid-answer goes on elsewhere, told once, behind what was said', async () => {
  const rig = new Rig({ a: [say(1), say(2), LOST], b: [say(3), done(1)] });
  assert.deepEqual(await rig.answer(), [1, 2, 3, 'done']);
  const [first, second] = rig.jobs;
  assert.equal(first.said, undefined);
  assert.deepEqual(second.said?.ids, Uint32Array.of(1, 2));
  assert.equal(second.outputTokensMax, 8);
  assert.deepEqual(rig.usage, { promptTokens: 3, outputTokens: 3, cachedTokens: undefined });
  assert.deepEqual(rig.suspected, ['a']);
});

test('an engine that cannot go on from there is not asked to: one error, after what was said', async () => {
  const rig = new Rig({ a: [say(1), LOST], b: [say(9), done(1)] }, { continues: false });
  assert.deepEqual(await rig.answer(), [1, 'engine_lost']);
  assert.equal(rig.jobs.length, 1);
});

test('before the first token nothing is needed to go elsewhere', async () => {
  const rig = new Rig({ a: [LOST], b: [say(1), done(1)] }, { continues: false });
  assert.deepEqual(await rig.answer(), [1, 'done']);
});

test('a worker that says nothing is left when it is given up, though it never ends its stream', async () => {
  for (const acts of [['hang'], [say(1), 'hang']] as Act[][]) {
    const rig = new Rig({ a: acts, b: [say(2), done(1)] });
    rig.givenUpAfterUs = 30 * S;
    const parts = await rig.answer();
    assert.deepEqual(parts, acts.length === 1 ? [2, 'done'] : [1, 2, 'done']);
    assert.ok(rig.clock.nowUs() >= 30 * S && rig.clock.nowUs() < 33 * S);
  }
});

test('who is asked to leave its worker goes on elsewhere, and its worker is not blamed', async () => {
  const rig = new Rig({ a: [say(1), 'hang'], b: [say(2), done(1)] });
  const answer = rig.answer();
  await settle();
  rig.drain('a');
  assert.deepEqual(await answer, [1, 2, 'done']);
  assert.deepEqual(rig.suspected, []);
  const failed = rig.facts.find((fact) => fact.kind === 'failed');
  assert.equal(failed?.kind === 'failed' && failed.why, 'moved');
});

test('who cannot go on elsewhere is left where it is by a drain', async () => {
  const rig = new Rig({ a: [say(1), 'wait', say(2), done(2)], b: [] }, { continues: false });
  const answer = rig.answer();
  await settle();
  rig.drain('a');
  await settle();
  rig.goOn();
  assert.deepEqual(await answer, [1, 2, 'done']);
});

test('its client leaves while an engine hangs: it is over at once', async () => {
  const rig = new Rig({ a: [say(1), 'hang'], b: [] });
  const answer = rig.answer();
  await settle();
  rig.leaving.abort();
  assert.deepEqual(await answer, [1, 'client_closed']);
  assert.equal(rig.host.state().running, 0);
});

test('one engine after the other fails: it is tried as often as may be, and no more', async () => {
  const rig = new Rig({ a: [LOST], b: [LOST] });
  await assert.rejects(rig.answer(), /3 engines failed while serving this request/);
  assert.equal(rig.jobs.length, 3);
  assert.equal(rig.host.state().running, 0);
});

test('who turns it away is asked once; another may take it, and where nobody is left that is said', async () => {
  const denied = new GatewayError('engine_denied', 'The engine answered 401; mend key:.');
  const rig = new Rig({ a: [denied], b: [say(1), done(1)] });
  assert.deepEqual(await rig.answer(), [1, 'done']);
  assert.equal(rig.jobs.length, 2);
  const alone = new Rig({ a: [denied], b: [denied] });
  await assert.rejects(alone.answer(), denied);
  assert.equal(alone.jobs.length, 2, 'each once');
  assert.ok(alone.clock.nowUs() < 2 * S, 'nobody waits for what stays as it is');
  assert.equal(alone.host.state().running + alone.host.state().waiting, 0);
});

test('it waits for one that is not well where the others turned it away', async () => {
  const denied = new GatewayError('engine_denied', 'The engine answered 401; mend key:.');
  const rig = new Rig({ a: [denied], b: [say(1), done(1)] });
  rig.host.tell({ kind: 'healthChanged', worker: 'b' as WorkerId, healthy: false });
  rig.clock.after(20 * S, () => {
    rig.host.tell({ kind: 'healthChanged', worker: 'b' as WorkerId, healthy: true });
  });
  assert.deepEqual(await rig.answer(), [1, 'done']);
  assert.equal(rig.jobs.length, 2, 'who turned it away is not asked meanwhile');
});

test('what ended as it should is over, whatever comes behind its end', async () => {
  for (const last of ['hang', LOST] as Act[]) {
    const rig = new Rig({ a: [say(1), done(1), last], b: [] });
    rig.givenUpAfterUs = S;
    assert.deepEqual(await rig.answer(), [1, 'done']);
    assert.equal(rig.jobs.length, 1);
  }
});

type Act = Part | GatewayError | 'hang' | 'wait';

class Rig {
  readonly clock = new SimClock();
  readonly host: Host;
  readonly leaving = new AbortController();
  readonly jobs: Job[] = [];
  readonly facts: Fact[] = [];
  readonly suspected: string[] = [];
  givenUpAfterUs = Number.POSITIVE_INFINITY;
  usage: object | undefined;
  goOn = () => {};
  readonly #engines = new Map<string, Engine>();
  readonly #continues: boolean;

  constructor(workers: Record<string, Act[]>, given: { continues?: boolean } = {}) {
    this.#continues = given.continues ?? true;
    const settings = { ...Config.parse({}).limits, policy: 'round-robin' };
    const kernel = new Kernel({ settings, rng: new Prng(1) });
    const { clock } = this;
    this.host = new Host({
      ...{ kernel, clock },
      sink: { note: (note) => void (note.kind === 'kernel' && this.facts.push(note.fact)) },
    });
    for (const [name, acts] of Object.entries(workers)) this.up(name, acts);
  }

  up(name: string, acts: Act[]): void {
    const id = name as WorkerId;
    const generate = (job: Job) => this.#play(acts, job);
    this.#engines.set(name, { worker: id, generate, continues: () => this.#continues } as never);
    this.host.tell({
      kind: 'workerJoined',
      worker: {
        ...{ id, models: ['m'], blockTokens: 16, contextTokens: 10_000, slots: 4 },
        ...{ requestsMax: 8, cacheTokens: 20_000, hasEvents: false },
        prefill: { perTokenUs: 100, perTokenContextUs: 0 },
        decode: { stepUs: 500, perSequenceUs: 300 },
      },
    });
  }

  drain(name: string): void {
    const worker = name as WorkerId;
    this.host.tell({ kind: 'drainChanged', worker, draining: true, moves: true });
  }

  /** What its client gets: ids, and how it ends. */
  async answer(): Promise<unknown[]> {
    const got: unknown[] = [];
    const { host, clock, leaving } = this;
    const job = plainJob({
      prompt: { kind: 'tokens', ids: Uint32Array.of(7, 7, 7) },
      outputTokensMax: 10,
    });
    let isOver = false;
    const answered = answerOf(
      {
        ...{ host, clock, job, signal: leaving.signal },
        account: { arrival: ARRIVAL, placed: () => {} } as unknown as Account,
        engines: {
          engine: (worker) => this.#engines.get(worker),
          ended: (worker, fault) => {
            if (fault?.code === 'engine_lost') this.suspected.push(worker);
          },
          givenUp: (_, silentUs) => (silentUs >= this.givenUpAfterUs ? LOST : undefined),
        },
        ask: (engine, rest, signal) => engine.generate(rest, signal),
      },
      (part) => {
        if (part.kind === 'text') got.push(...(part.ids ?? []));
        else got.push(part.kind === 'error' ? part.error.code : part.kind);
        if (part.kind === 'done') {
          this.usage = part.usage;
          this.host.tell({
            kind: 'finished',
            request: ARRIVAL.id,
            outputTokens: 1,
            cachedTokens: 0,
          });
        }
        return undefined;
      },
    ).finally(() => {
      isOver = true;
    });
    answered.catch(() => {});
    for (let i = 0; !isOver && i < 500; i++) {
      await settle();
      if (!isOver) this.clock.step();
    }
    await answered;
    this.host.check();
    return got;
  }

  /** Deaf to its signal, as an engine may be. */
  async *#play(acts: Act[], job: Job): AsyncGenerator<Part> {
    this.jobs.push(job);
    for (const act of acts) {
      if (act === 'hang') await new Promise(() => {});
      else if (act === 'wait') await new Promise<void>((resolve) => (this.goOn = resolve));
      else if (act instanceof GatewayError) throw act;
      else yield act;
    }
  }
}

const ARRIVAL: Arrival = {
  id: 'r' as RequestId,
  ...{ tenant: 't' as TenantId, model: 'm', thread: undefined, promptTokens: 3 },
  ...{ hashes: new BigUint64Array(0), blockTokens: 16, outputTokensMax: 10, priority: 0 },
};

function say(id: number): Part {
  return { kind: 'text', text: `${id} `, tokens: 1, ids: [id] };
}

function done(outputTokens: number): Part {
  const usage = { promptTokens: 3, outputTokens, cachedTokens: undefined };
  return { kind: 'done', finish: { kind: 'stop' }, usage };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}
