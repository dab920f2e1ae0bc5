import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { plainJob } from '../../test/plain-job.ts';
import { Prng } from '../base/prng.ts';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Job, Runner } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import { toyTokens } from '../tokens/toy-tokens.test.ts';
import { LocalEngine } from './local.ts';
import { FixedPace } from './perf.ts';
import { RunnerSimulated, SimulatedMemory } from './runner-simulated.ts';

const BLOCK = 16;
const CURVE = {
  baseUs: 1000,
  perTokenUs: 10,
  perTokenContextUs: 0,
  perLooseContextUs: 0,
  perSequenceUs: 10,
  perContextUs: 0,
};

test('a signal that was aborted before, or aborts midway, frees what the engine holds', async () => {
  const rig = new Rig();
  assert.deepEqual(await rig.read(rig.engine.generate(jobOf('the king'), AbortSignal.abort())), []);
  const leaving = new AbortController();
  const parts = rig.engine.generate(jobOf('the other king'), leaving.signal);
  const read = await rig.read(parts, (part) => part.kind === 'text' && leaving.abort());
  assert.ok(read.every((part) => part.kind === 'text'));
  rig.drain();
  const { running, waiting, slots } = await rig.engine.report();
  assert.deepEqual([running, waiting], [0, 0]);
  assert.ok(slots.every(({ busy }) => !busy));
  rig.engine.check();
});

test('what cannot be served is refused before anything is held, and says why', () => {
  const rig = new Rig();
  const ids = (count: number, id = 5) => new Uint32Array(count).fill(id);
  const cases: [Partial<Job>, string, RegExp][] = [
    [{ prompt: { kind: 'text', text: '' } }, 'invalid_request', /empty/],
    [{ prompt: { kind: 'tokens', ids: ids(400) } }, 'context_length_exceeded', /400 tokens/],
    [{ prompt: { kind: 'tokens', ids: ids(4, 1e6) } }, 'invalid_request', /id 1000000 is not/],
    [{ forcedOutput: 'x' }, 'forbidden', /./],
  ];
  for (const [changes, code, sentence] of cases) {
    assert.throws(
      () => rig.engine.submit(jobOf('x', changes), () => assert.fail('nothing is answered')),
      (error: Error) =>
        error instanceof GatewayError && error.code === code && sentence.test(error.message),
    );
  }
  rig.engine.check();
  assert.equal(rig.clock.step(), false);
});

test('who comes when as many wait as may is refused, and those who wait are served', () => {
  const rig = new Rig();
  let done = 0;
  let taken = 0;
  const submit = () => {
    rig.engine.submit(jobOf('the'), ({ kind }) => {
      if (kind === 'done') done++;
    });
    taken++;
  };
  assert.throws(
    () => {
      for (let i = 0; i < 100; i++) submit();
    },
    (error: Error) => error instanceof GatewayError && error.code === 'queue_full',
  );
  assert.ok(taken >= 4, `${taken} were taken`);
  rig.drain();
  assert.equal(done, taken);
  submit();
});

test('forced token ids are said as they are, and only those of the vocabulary', () => {
  const rig = new Rig({ allowForcedOutput: true });
  const forcedOutput = Uint32Array.from([5, 5, 5, 7]);
  const parts = rig.answer(jobOf('x', { forcedOutput, outputTokensMax: 4 }));
  const ids = parts.flatMap((part) => (part.kind === 'text' ? (part.ids ?? []) : []));
  assert.deepEqual(ids, [5, 5, 5, 7]);
  const strange = jobOf('x', { forcedOutput: Uint32Array.from([1e6]) });
  assert.throws(() => rig.engine.submit(strange, () => {}), /Token id 1000000 is not in/);
});

test('forced output is said as it is, up to a stop string that spans tokens', () => {
  const rig = new Rig({ allowForcedOutput: true });
  const forcedOutput = 'the king sings 日本語 in the end; the rest is silence';
  for (const [stop, said] of [
    [[], forcedOutput],
    [['語 in t'], 'the king sings 日本'],
  ] as [string[], string][]) {
    const parts = rig.answer(jobOf('x', { forcedOutput, stop, outputTokensMax: 500 }));
    const last = parts.pop();
    assert.equal(parts.map((part) => (part.kind === 'text' ? part.text : '?')).join(''), said);
    assert.ok(last?.kind === 'done');
    if (stop.length > 0) assert.deepEqual(last.finish, { kind: 'stopSequence', sequence: stop[0] });
    const tokens = parts.reduce((sum, part) => sum + (part.kind === 'text' ? part.tokens : 0), 0);
    assert.ok(tokens <= last.usage.outputTokens);
  }
  rig.engine.check();
});

test('the next turn reuses the first one’s blocks, but not under another salt', () => {
  const rig = new Rig();
  const prompt = 'the other mother and the other king of the rings '.repeat(4);
  const cached = (job: Job) => {
    const last = rig.answer(job).at(-1);
    assert.ok(last?.kind === 'done');
    return last.usage.cachedTokens ?? 0;
  };
  assert.equal(cached(jobOf(prompt)), 0);
  assert.ok(cached(jobOf(`${prompt} and more`)) >= 2 * BLOCK);
  assert.equal(cached(jobOf(`${prompt} and more`, { cacheSalt: 'b' })), 0);
});

test('a runner that fails ends every answer with an error, once, and the engine takes no more', async () => {
  const failures: Error[] = [];
  const broken: Runner = {
    step: (_plan, done) => done(new Error('out of memory at /secret/path')),
    listen: () => {},
    close: async () => {},
  };
  const rig = new Rig({ runner: broken, onFailure: (error) => failures.push(error) });
  const parts: Part[] = [];
  rig.engine.submit(jobOf('the king'), (part) => parts.push(part));
  assert.equal(parts.length, 1);
  assert.ok(parts[0].kind === 'error' && parts[0].error.code === 'engine_failed');
  assert.ok(!parts[0].error.message.includes('/secret'));
  assert.equal(failures.length, 1);
  assert.equal(await rig.engine.healthy(), false);
  assert.throws(() => rig.engine.submit(jobOf('the'), () => {}), GatewayError);
});

test('whoever leaves when, everybody else gets one whole answer and the books balance', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = new Prng(seed);
      const rig = new Rig();
      const open: { parts: Part[]; cancel: () => void; left: boolean }[] = [];
      for (let i = 0; i < 40; i++) {
        const kind = random.below(3);
        if (kind === 0) {
          const one = { parts: [] as Part[], cancel: () => {}, left: false };
          const outputTokensMax = 1 + random.below(30);
          const job = jobOf('the king '.repeat(1 + random.below(12)), { outputTokensMax });
          try {
            one.cancel = rig.engine.submit(job, (part) => one.parts.push(part));
            open.push(one);
          } catch (error) {
            assert.ok(error instanceof GatewayError && error.code === 'queue_full');
          }
        } else if (kind === 1 && open.length > 0 && random.below(2) === 0) {
          const one = random.pick(open);
          one.cancel();
          one.left ||= one.parts.at(-1)?.kind !== 'done';
        } else {
          rig.clock.step();
        }
        rig.engine.check();
      }
      rig.drain();
      rig.engine.check();
      for (const { parts, left } of open) {
        const ends = parts.filter(({ kind }) => kind === 'done').length;
        assert.equal(ends, left ? 0 : 1);
        if (!left) assert.equal(parts.at(-1)?.kind, 'done');
      }
    }),
    { numRuns: 60 },
  );
});

class Rig {
  readonly clock = new SimClock();
  readonly engine: LocalEngine;

  constructor(
    given: {
      allowForcedOutput?: boolean;
      runner?: Runner;
      onFailure?: (error: Error) => void;
    } = {},
  ) {
    const tokens = toyTokens({ blockTokens: BLOCK });
    const memory = new SimulatedMemory(2, {
      seed: 1,
      blockTokens: BLOCK,
      words: tokens.encode('the other king'),
      endToken: [...tokens.endTokens][0],
      turnToken: undefined,
      answerTokensMin: 5,
      answerTokensMax: 25,
    });
    const simulated = new RunnerSimulated({ memory, curve: CURVE, clock: this.clock, fileUs: 0 });
    this.engine = new LocalEngine({
      worker: 'w' as WorkerId,
      runner: given.runner ?? simulated,
      pace: new FixedPace(CURVE),
      tokens,
      events: { publish: () => {} },
      settings: {
        sizes: {
          slots: 2,
          blockTokens: BLOCK,
          blocksMax: 60,
          hostBlocks: 60,
          matchBlocks: 1,
          disk: undefined,
        },
        batch: {
          blockTokens: BLOCK,
          contextTokens: 400,
          waitingMax: 4,
          stepUsMax: 5000,
          chunkTokensMax: 512,
          exactChunkTokens: undefined,
        },
        allowForcedOutput: given.allowForcedOutput ?? false,
        answerTokens: undefined,
        grammars: 'derived',
        embeddings: { kind: 'made', note: 'A note.' },
      },
      onFailure: given.onFailure ?? ((error) => assert.fail(error)),
    });
  }

  drain(): void {
    for (let i = 0; this.clock.step(); i++) assert.ok(i < 100_000, 'work comes to an end');
  }

  answer(job: Job): Part[] {
    const parts: Part[] = [];
    this.engine.submit(job, (part) => parts.push(part));
    this.drain();
    return parts;
  }

  /** Reads to the end, a step of virtual time whenever the reader waits. */
  async read(parts: AsyncIterable<Part>, on: (part: Part) => void = () => {}): Promise<Part[]> {
    const read: Part[] = [];
    let ended = false;
    const reading = (async () => {
      for await (const part of parts) {
        read.push(part);
        on(part);
      }
      ended = true;
    })();
    for (let i = 0; !ended && i < 1000; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (!ended) this.clock.step();
    }
    assert.ok(ended, 'the answer ends');
    await reading;
    return read;
  }
}

function jobOf(text: string, changes: Partial<Job> = {}): Job {
  return plainJob({
    prompt: { kind: 'text', text },
    outputTokensMax: 30,
    ...changes,
  });
}
