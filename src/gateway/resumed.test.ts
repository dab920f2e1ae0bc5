import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { plainJob } from '../../test/plain-job.ts';
import { LocalEngine } from '../engines/local.ts';
import { FixedPace } from '../engines/perf.ts';
import { RunnerSimulated, SimulatedMemory } from '../engines/runner-simulated.ts';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Finish, Part, Usage } from '../model/part.ts';
import { type Format, FREE, GREEDY } from '../model/request.ts';
import type { Job } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import { ModelTokens } from '../tokens/model-tokens.ts';
import { toyVocabulary } from '../tokens/toy-vocabulary.test.ts';
import { Answered } from './answered.ts';
import { resumed } from './resumed.ts';

const CURVE = {
  baseUs: 1000,
  perTokenUs: 10,
  perTokenContextUs: 0,
  perLooseContextUs: 0,
  perSequenceUs: 10,
  perContextUs: 0,
};
const TOKENS = tokensOfToy();
const RUNS = Number(process.env.STATOR_RUNS ?? 60);

test('cut anywhere, again and again, an answer is what it would have been', async () => {
  const schema = { type: 'object', properties: { a: { type: 'string' }, b: { type: 'integer' } } };
  const formats: (Format | undefined)[] = [undefined, undefined, { kind: 'schema', schema }];
  const asked = fc.record({
    words: fc.integer({ min: 1, max: 20 }),
    outputTokensMax: fc.constantFrom(undefined, 3, 20),
    stop: fc.constantFrom([], [' the other king'], ['king the', 'er ki']),
    choices: fc.constantFrom(1, 1, 3),
    seed: fc.constantFrom(undefined, 7),
    logprobs: fc.constantFrom(undefined, 2),
    format: fc.constantFrom(...formats),
    forced: fc.constantFrom(undefined, undefined, 'the king and ünï the other king said'),
    cuts: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(asked, async ({ cuts, ...given }) => {
      const job = jobOf(given);
      const whole = toldOf(
        await read((engine) => engine.generate(job, new AbortController().signal)),
      );
      const answered = new Answered(job);
      const parts: Part[] = [];
      for (const cut of cuts) {
        const some = await read((engine) => from(engine, answered, job), cut);
        for (const part of some) answered.add(part);
        parts.push(...some);
        if (some.at(-1)?.kind === 'done') break;
      }
      if (parts.at(-1)?.kind !== 'done')
        parts.push(...(await read((engine) => from(engine, answered, job))));
      assert.deepEqual(toldOf(parts), whole);
    }),
    { numRuns: RUNS },
  );
});

test('lost between the last token and the end: nobody is asked again, and the end is told', async () => {
  const job = jobOf({ outputTokensMax: 2, choices: 2 });
  const answered = new Answered(job);
  for (const choice of [0, 1]) {
    answered.add({ kind: 'text', text: 'the king', tokens: 2, ids: [1, 2], choice });
  }
  const ask = () => assert.fail('nothing is left to say');
  const parts: Part[] = [];
  for await (const part of resumed(answered, ask, new AbortController().signal)) parts.push(part);
  const length = { kind: 'length' } as const;
  const promptTokens = job.prompt.kind === 'tokens' ? job.prompt.ids.length : 0;
  assert.deepEqual(parts, [
    { kind: 'ended', choice: 0, finish: length },
    { kind: 'ended', choice: 1, finish: length },
    {
      kind: 'done',
      finish: length,
      usage: { promptTokens, cachedTokens: undefined, outputTokens: 4 },
    },
  ]);
});

test('of several answers one that fails again ends them all, and stops those beside it', async () => {
  const job = jobOf({ choices: 3 });
  const answered = new Answered(job);
  answered.add({ kind: 'text', text: 'the', tokens: 1, ids: [1], choice: 1 });
  let stopped = 0;
  const ask = async function* (rest: Job, signal: AbortSignal): AsyncGenerator<Part> {
    if (rest.said?.tokens === 1) throw new GatewayError('engine_lost', 'It is gone.');
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    stopped++;
  };
  const parts = resumed(answered, ask, new AbortController().signal);
  await assert.rejects(parts.next(), /It is gone/);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(stopped, 2);
});

test('words are kept where ids cannot be asked for, and only while there is nothing else', () => {
  const said = (parts: Part[], changes: Partial<Job> = {}) => {
    const answered = new Answered(plainJob(changes));
    for (const part of parts) answered.add(part);
    return answered.rest()[0].job.said;
  };
  const text: Part = { kind: 'text', text: 'Hello', tokens: 1 };
  const told: Part = { ...text, ids: [5] };
  const call: Part = { kind: 'toolCall', index: 0, id: 'c', name: 'read' };
  assert.deepEqual(said([text, text]), {
    ids: undefined,
    text: 'HelloHello',
    characters: 10,
    tokens: 2,
    isPlain: true,
  });
  assert.equal(said([text, call])?.isPlain, false);
  const tokens = { prompt: { kind: 'tokens', ids: new Uint32Array(3) } } as const;
  assert.deepEqual(said([told, told], tokens)?.ids, Uint32Array.of(5, 5));
  assert.equal(said([told, text], tokens)?.ids, undefined, 'half of the ids is none');
});

function from(engine: LocalEngine, answered: Answered, job: Job): AsyncIterable<Part> {
  const { signal } = new AbortController();
  if (answered.isEmpty) return engine.generate(job, signal);
  assert.ok(answered.rest().every(({ job: rest, finish }) => finish || engine.continues(rest)));
  return resumed(answered, (rest, stop) => engine.generate(rest, stop), signal);
}

interface Told {
  choices: { text: string; ids: number[]; logprobs: string; finish: Finish | undefined }[];
  usage: Omit<Usage, 'cachedTokens'>;
}

/** What a client has of it in the end, however it was cut into parts. */
function toldOf(parts: readonly Part[]): Told {
  const choices: Told['choices'] = [];
  const of = (choice = 0) => {
    choices[choice] ??= { text: '', ids: [], logprobs: '', finish: undefined };
    return choices[choice];
  };
  let usage: Usage | undefined;
  for (const part of parts) {
    assert.equal(usage, undefined, 'nothing follows the end');
    if (part.kind === 'text') {
      const one = of(part.choice);
      one.text += part.text;
      one.ids.push(...(part.ids ?? []));
      for (const { text, logprob } of part.logprobs ?? []) one.logprobs += ` ${text} ${logprob}`;
    } else if (part.kind === 'ended') {
      assert.equal(of(part.choice).finish, undefined, 'each ends once');
      of(part.choice).finish = part.finish;
    } else {
      assert.ok(part.kind === 'done', JSON.stringify(part));
      usage = part.usage;
      if (choices.length < 2) of(0).finish = part.finish;
    }
  }
  assert.ok(usage !== undefined, 'it has an end');
  const { promptTokens, outputTokens } = usage;
  // Which tokens a stop string took of an answer beside this one nobody told.
  const isTold =
    choices.length === 1 || choices.every(({ finish }) => finish?.kind !== 'stopSequence');
  return { choices, usage: { promptTokens, outputTokens: isTold ? outputTokens : 0 } };
}

/** From a worker of its own, which is lost after so many parts. */
async function read(
  ask: (engine: LocalEngine) => AsyncIterable<Part>,
  count = Number.POSITIVE_INFINITY,
): Promise<Part[]> {
  const clock = new SimClock();
  const iterator = ask(engineOn(clock))[Symbol.asyncIterator]();
  const parts: Part[] = [];
  while (parts.length < count) {
    let next: IteratorResult<Part, undefined> | undefined;
    const asked = iterator.next().then((it) => {
      next = it;
    });
    for (let i = 0; next === undefined; i++) {
      assert.ok(i < 1000, 'the answer ends');
      await new Promise((resolve) => setImmediate(resolve));
      if (next === undefined) clock.step();
    }
    await asked;
    if (next.done === true) break;
    parts.push(next.value);
  }
  return parts;
}

function jobOf(given: {
  words?: number;
  outputTokensMax?: number | undefined;
  stop?: readonly string[];
  choices?: number;
  seed?: number | undefined;
  logprobs?: number | undefined;
  format?: Format | undefined;
  forced?: string | undefined;
}): Job {
  const { words = 3, choices = 1, seed, logprobs, format, stop = [], forced } = given;
  return plainJob({
    prompt: { kind: 'tokens', ids: TOKENS.encode('the king '.repeat(words)) },
    outputTokensMax: given.outputTokensMax,
    stop,
    sampling: { ...GREEDY, seed },
    shape: { ...FREE, choices, logprobs, format },
    forcedOutput: forced,
  });
}

function engineOn(clock: SimClock): LocalEngine {
  const memory = new SimulatedMemory(4, {
    seed: 1,
    blockTokens: 16,
    words: TOKENS.encode(' the other king'),
    endToken: [...TOKENS.endTokens][0],
    turnToken: undefined,
    answerTokensMin: 150,
    answerTokensMax: 190,
  });
  const [blockTokens, blocksMax] = [16, 100];
  const sizes = { slots: 4, blockTokens, blocksMax, hostBlocks: blocksMax, matchBlocks: 1 };
  return new LocalEngine({
    worker: 'w' as WorkerId,
    runner: new RunnerSimulated({ memory, curve: CURVE, clock, fileUs: 0 }),
    pace: new FixedPace(CURVE),
    tokens: TOKENS,
    events: { publish: () => {} },
    settings: {
      sizes: { ...sizes, disk: undefined },
      batch: {
        ...{ blockTokens, contextTokens: 400, waitingMax: 8 },
        ...{ stepUsMax: 5000, chunkTokensMax: 512, exactChunkTokens: undefined },
      },
      allowForcedOutput: true,
      answerTokens: undefined,
      grammars: 'derived',
      embeddings: { kind: 'refused', why: 'It is not asked.' },
    },
    onFailure: (error) => assert.fail(error),
  });
}

function tokensOfToy() {
  const built = ModelTokens.build({
    vocabulary: toyVocabulary(),
    model: 'm',
    fingerprint: 'f',
    blockTokens: 16,
    now: () => new Date(0),
  });
  assert.ok(built.kind === 'exact');
  return built.tokens;
}
