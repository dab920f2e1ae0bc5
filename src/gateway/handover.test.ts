import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainJob } from '../../test/plain-job.ts';
import { Prng } from '../base/prng.ts';
import { Kernel } from '../kernel/kernel.ts';
import { Config } from '../model/config.ts';
import { GatewayError } from '../model/error.ts';
import type { RequestId, TenantId, WorkerId } from '../model/ids.ts';
import type { Fact } from '../model/kernel-io.ts';
import type { KvChain, KvOutcome } from '../model/kv-control.ts';
import type { Part, Usage } from '../model/part.ts';
import type { Engine, Handoff, Job, KvControl, Note } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import { Account } from './account.ts';
import { answerOf, type Engines } from './failover.ts';
import { Host } from './host.ts';
import { identify } from './identify.ts';
import { beside } from './identities.ts';

const BLOCKS = 1000;
const TOKENS = 16 * BLOCKS;

test('a prompt is computed apart, its KV follows meanwhile, and its client sees one answer', async () => {
  const rig = new Rig();
  const { parts, receipt } = await rig.ask();
  assert.deepEqual(rig.asked, ['p computes 1', 'd answers 50']);
  assert.deepEqual(
    parts.map(({ kind }) => kind),
    ['text', 'done'],
    'nothing of the first stage is told',
  );
  const [move, ...more] = rig.moves;
  assert.deepEqual(more, [], 'what is on its way is not sent twice');
  assert.ok(
    move.chain.kind === 'blocks' && move.chain.follow && move.chain.hashes.length === BLOCKS,
  );
  assert.deepEqual(
    receipt.attempts.map(({ worker, stage }) => [worker, stage]),
    [
      ['p', 'prefill'],
      ['d', 'decode'],
    ],
  );
  assert.equal(receipt.actual.cachedTokens, 0, 'it was all computed, if elsewhere');
  const finished = rig.facts.find((fact) => fact.kind === 'prefilled');
  assert.ok(finished !== undefined);
  assert.deepEqual(rig.handedOver, [TOKENS]);
  rig.assertSettled();
});

test('what cannot be brought is computed where the answer is made, and somebody is told', async () => {
  const ways: Record<string, (rig: Rig) => Promise<KvOutcome>> = {
    'is refused': async () => ({ answer: 'rejected', blocks: 0, tokens: 0, sentence: 'No room.' }),
    fails: () => Promise.reject(new Error('socket hang up')),
    hangs: () => new Promise(() => {}),
  };
  for (const [way, move] of Object.entries(ways)) {
    const rig = new Rig({ move });
    const { parts } = await rig.ask();
    assert.equal(parts.at(-1)?.kind, 'done', way);
    assert.deepEqual(rig.handedOver, [0], way);
    assert.equal(rig.warnings.length, 1, way);
    assert.ok(rig.clock.nowUs() < 60_000_000, 'no longer than computing it takes');
    rig.assertSettled();
  }
});

test('where the first stage fails, all of it is done in one place', async () => {
  const rig = new Rig({ prefill: 'fails' });
  const { parts, receipt } = await rig.ask();
  assert.equal(parts.at(-1)?.kind, 'done');
  assert.deepEqual(rig.asked, ['p computes 1', 'd answers 50']);
  assert.deepEqual(
    receipt.attempts.map(({ stage }) => stage),
    ['prefill', undefined],
  );
  assert.ok(
    rig.moves.every(({ signal }) => signal.aborted),
    'nobody waits for its KV',
  );
  rig.assertSettled();
});

test('engines with a way of their own get a ticket, and only who answers that prompt gets it', async () => {
  const rig = new Rig({ ticketed: true });
  await rig.ask();
  assert.deepEqual(rig.asked, ['p prefills', 'd answers 50 by ticket 1']);
  assert.equal(rig.moves.length, 0);
  rig.assertSettled();
  const failing = new Rig({ ticketed: true, answers: ['fails'] });
  const { parts } = await failing.ask();
  assert.equal(parts.at(-1)?.kind, 'done');
  assert.deepEqual(
    failing.asked.filter((what) => what.includes('ticket 1')),
    ['d answers 50 by ticket 1'],
    'an old ticket is of no use',
  );
  failing.assertSettled();
});

test('a client that leaves ends both stages, and leaves nothing behind', async () => {
  for (const stage of ['prefill', 'move', 'answer'] as const) {
    const hang = () => new Promise<KvOutcome>(() => {});
    const rig = new Rig({
      ...(stage === 'prefill' && { prefill: 'hangs' as const }),
      ...(stage === 'move' && { move: hang }),
      ...(stage === 'answer' && { answers: ['hangs' as const] }),
    });
    const answered = assert.rejects(rig.ask({ leavesAt: stage }), /client|left/);
    await answered;
    assert.ok(
      rig.moves.every(({ signal }) => signal.aborted),
      stage,
    );
    rig.host.tell({ kind: 'cancelled', request: 'r' as RequestId });
    rig.assertSettled();
  }
});

type Way = 'fails' | 'hangs' | 'well';

interface Given {
  move?: (rig: Rig) => Promise<KvOutcome>;
  prefill?: Way;
  /** Of the first answers, one by one; then all go well. */
  answers?: Way[];
  ticketed?: boolean;
}

/** `p` computes prompts, and `d`, busy with four others, answers. */
class Rig {
  readonly clock = new SimClock();
  readonly host: Host;
  readonly asked: string[] = [];
  readonly facts: Fact[] = [];
  readonly moves: { chain: KvChain; signal: AbortSignal }[] = [];
  readonly handedOver: number[] = [];
  readonly warnings: string[] = [];
  readonly #given: Given;
  readonly #engines = new Map<WorkerId, Engine>();
  readonly #leaving = new AbortController();
  #leavesAt: string | undefined;
  #tickets = 0;

  constructor(given: Given = {}) {
    this.#given = given;
    const { limits } = Config.parse({});
    const settings = { policy: 'stator', ...limits, inStages: true };
    this.host = new Host({
      kernel: new Kernel({ settings, rng: new Prng(1) }),
      clock: this.clock,
      sink: { note: (note) => this.#note(note) },
    });
    for (const name of ['p', 'd']) this.#joins(name as WorkerId);
    for (let i = 0; i < 4; i++) {
      const request = this.#arrival(`busy ${i}`, 1);
      this.host.tell({ kind: 'arrived', request });
      this.host.tell({ kind: 'firstTokenSent', request: request.id });
    }
  }

  async ask({ leavesAt }: { leavesAt?: string } = {}) {
    this.#leavesAt = leavesAt;
    const { clock, host } = this;
    const arrival = this.#arrival('r', BLOCKS);
    const who = beside(identify('t' as TenantId, {}, []));
    const account = new Account({
      ...{ id: 'r', requestId: 'q', atIso: '', arrivedUs: 0, wire: 'w', policy: 'stator', who },
      ...{ arrival, tokensKnown: true, normalised: [], notes: [] },
    });
    const job: Job = { ...plainJob({ outputTokensMax: 50 }), id: arrival.id };
    const engines: Engines = {
      engine: (worker) => this.#engines.get(worker),
      ended: () => {},
      givenUp: () => undefined,
    };
    const parts: Part[] = [];
    const { signal } = this.#leaving;
    const given = { host, engines, clock, account, job, signal, handovers: this.#handovers() };
    const ask = (engine: Engine, rest: Job, stop: AbortSignal) => engine.generate(rest, stop);
    let over = false;
    const answered = answerOf({ ...given, ask }, (part) => {
      if (part.kind === 'done') {
        const { usage } = part;
        account.ended(clock.nowUs(), { status: 'done', usage });
        host.tell({ kind: 'finished', request: arrival.id, ...usage });
      }
      parts.push(part);
      return undefined;
    }).finally(() => {
      over = true;
    });
    answered.catch(() => {});
    while (!over) {
      for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
      if (!over) this.clock.step();
    }
    await answered;
    return { parts, receipt: account.receipt };
  }

  assertSettled(): void {
    this.host.check();
    assert.equal(this.host.state().running, 4);
  }

  #handovers() {
    const sink = { note: (note: Note) => this.#note(note) };
    const move = async (chain: KvChain, _: unknown, signal: AbortSignal): Promise<KvOutcome> => {
      this.moves.push({ chain, signal });
      if (this.#given.move !== undefined) return await this.#given.move(this);
      return { answer: 'accepted', blocks: BLOCKS, tokens: TOKENS, sentence: undefined };
    };
    return { move, sink };
  }

  #joins(id: WorkerId): void {
    const rules = { adapters: [], tenants: [], taints: [], labels: {} };
    const isPrefiller = id === 'p';
    const { ticketed } = this.#given;
    this.host.tell({
      kind: 'workerJoined',
      worker: {
        ...{ id, models: ['m'], blockTokens: 16, contextTokens: 200_000, slots: 16 },
        ...{ requestsMax: 64, cacheTokens: 1_000_000, hasEvents: true, class: 'c' },
        ...(ticketed ? { handoff: 'nixl' } : { kvLayout: 'kv' }),
        rules: isPrefiller ? { ...rules, role: 'prefill' } : undefined,
        prefill: { perTokenUs: 100, perTokenContextUs: 0 },
        decode: { stepUs: 5000, perSequenceUs: 300 },
      },
    });
    const handoff: Handoff = {
      prefill: async () => {
        this.asked.push(`${id} prefills`);
        return {
          ticket: { kind: 'vllm', params: { number: ++this.#tickets } },
          usage: usageOf(0),
          done: Promise.resolve(),
        };
      },
    };
    const engine: Partial<Engine> = {
      worker: id,
      kv: {} as KvControl,
      generate: (job, signal) => this.#generate(id, job, signal),
      ...(ticketed && { handoff }),
    };
    this.#engines.set(id, engine as Engine);
  }

  async *#generate(id: WorkerId, job: Job, signal: AbortSignal): AsyncGenerator<Part> {
    const isPrompt = job.outputTokensMax === 1;
    const number = job.ticket?.kind === 'vllm' ? job.ticket.params.number : undefined;
    const ticket = number === undefined ? '' : ` by ticket ${number}`;
    this.asked.push(`${id} ${isPrompt ? 'computes' : 'answers'} ${job.outputTokensMax}${ticket}`);
    const way = isPrompt ? this.#given.prefill : this.#given.answers?.shift();
    if (way === 'fails') throw new GatewayError('engine_failed', 'It failed.');
    if (way === 'hangs') {
      setImmediate(() => this.#leaving.abort());
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      return;
    }
    yield { kind: 'text', text: 'x', tokens: 1 };
    const usage = usageOf(isPrompt ? 0 : TOKENS);
    yield { kind: 'done', finish: { kind: 'stop' }, usage };
  }

  #arrival(id: string, blocks: number) {
    return {
      ...{ id: id as RequestId, tenant: 't' as TenantId, model: 'm', thread: undefined },
      promptTokens: blocks * 16 + 1,
      hashes: BigUint64Array.from({ length: blocks }, (_, i) => BigInt(id.length * 1e6 + i)),
      ...{ blockTokens: 16, outputTokensMax: 50, priority: 0 },
    };
  }

  #note(note: Note): void {
    if (note.kind === 'kernel') {
      this.facts.push(note.fact);
      const isPrefilled = note.fact.kind === 'prefilled';
      if (isPrefilled && this.#leavesAt === 'move') setImmediate(() => this.#leaving.abort());
    }
    if (note.kind === 'warning') this.warnings.push(note.sentence);
    if (note.kind === 'handedOver') this.handedOver.push(note.tokens);
  }
}

function usageOf(cachedTokens: number): Usage {
  return { promptTokens: TOKENS + 1, outputTokens: 1, cachedTokens };
}
