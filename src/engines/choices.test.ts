/** What a local engine makes of a shape: several answers, log probabilities, formats, vectors. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainJob } from '../../test/plain-job.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part, Usage } from '../model/part.ts';
import { FREE, GREEDY, type Shape } from '../model/request.ts';
import type { Embedding, Job } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import { ModelTokens } from '../tokens/model-tokens.ts';
import { CHATML, toyVocabulary } from '../tokens/toy-vocabulary.test.ts';
import { type Answer, AnswerFold } from '../wire/answer.ts';
import { LocalEngine, type LocalEngineSettings } from './local.ts';
import { FixedPace } from './perf.ts';
import { embeddingsOf } from './pooling.ts';
import { RunnerSimulated, SimulatedMemory } from './runner-simulated.ts';

const BLOCK = 16;
const CURVE = {
  ...{ baseUs: 1000, perTokenUs: 10, perSequenceUs: 10 },
  ...{ perTokenContextUs: 0, perLooseContextUs: 0, perContextUs: 0 },
};
const PROMPT = 'the other king and the rings of the king in the end of the other king';

test('several answers share the prompt: it is counted once and computed once', async () => {
  const rig = new Rig();
  const alone = rig.answer({});
  await rig.engine.resetCache();
  const before = await rig.engine.report();
  const { parts, choices } = rig.answer({ choices: 4 });
  const after = await rig.engine.report();
  assert.deepEqual(choices.map(textOf), new Array(4).fill(textOf(alone.choices[0])));
  assert.notEqual(textOf(choices[0]), '');
  const promptTokens = rig.tokens.encode(PROMPT).length;
  assert.equal(usageOf(parts).promptTokens, promptTokens);
  assert.equal(usageOf(parts).outputTokens, 4 * usageOf(alone.parts).outputTokens);
  assert.equal(parts.filter(({ kind }) => kind === 'ended').length, 4);
  const shared = BLOCK * Math.floor((promptTokens - 1) / BLOCK);
  assert.ok(shared > 0);
  assert.equal(after.cachedTokensTotal - before.cachedTokensTotal, 3 * shared);
});

test('answers that do not fit are refused together, and nothing of them stays', async () => {
  const rig = new Rig({ waitingMax: 3 });
  assert.throws(() => rig.answer({ choices: 5 }), { code: 'queue_full' });
  rig.drain();
  const { running, waiting } = await rig.engine.report();
  assert.deepEqual([running, waiting], [0, 0]);
  rig.engine.check();
});

test('whoever leaves gives up all answers', async () => {
  const rig = new Rig();
  const parts: Part[] = [];
  const leave = rig.engine.submit(jobOf({ choices: 3 }), (part) => parts.push(part));
  for (let i = 0; i < 5; i++) rig.clock.step();
  leave();
  rig.drain();
  assert.ok(parts.every(({ kind }) => kind === 'text'));
  const { running, waiting, slots } = await rig.engine.report();
  assert.deepEqual([running, waiting, slots.some(({ busy }) => busy)], [0, 0, false]);
  rig.engine.check();
});

test('each token comes with how likely it was, and what stood beside it', () => {
  const { choices } = new Rig().answer({ logprobs: 2 });
  const [{ logprobs }] = choices;
  assert.equal(logprobs.map(({ text }) => text).join(''), textOf(choices[0]));
  for (const { text, bytes, logprob, top } of logprobs) {
    assert.equal(Buffer.from(bytes).toString(), text);
    assert.equal(logprob, -Math.LN2);
    assert.equal(top.length, 2);
    assert.ok(top[0].logprob > top[1].logprob);
    assert.equal(top[0].text, text);
  }
  assert.deepEqual(new Rig().answer({ logprobs: 0 }).choices[0].logprobs[0].top, []);
  assert.deepEqual(new Rig().answer({}).choices[0].logprobs, []);
});

test('an engine without a model keeps to formats, and says the same again', () => {
  const schema = {
    type: 'object',
    properties: { name: { type: 'string' }, n: { type: 'integer', minimum: 3, maximum: 5 } },
    required: ['name', 'n'],
  };
  const answers = [1, 2].map(() =>
    textOf(new Rig().answer({ format: { kind: 'schema', schema } }).choices[0]),
  );
  const { name, n } = JSON.parse(answers[0]);
  assert.ok(typeof name === 'string' && n >= 3 && n <= 5);
  assert.equal(answers[0], answers[1]);
  const choice = new Rig().answer({ format: { kind: 'choice', choices: ['king'] } });
  assert.equal(textOf(choice.choices[0]), 'king');
});

test('answer i of several is the one answer with seed + i, drawn by a format too', () => {
  const format = { kind: 'regex', pattern: '[a-z]{12}' } as const;
  const seeded = (seed: number) => ({ sampling: { ...GREEDY, seed } });
  const seed = 0xffff_ffff;
  const texts = new Rig().answer({ format, choices: 3 }, seeded(seed)).choices.map(textOf);
  const alone = [seed, 0, 1].map((one) =>
    textOf(new Rig().answer({ format }, seeded(one)).choices[0]),
  );
  assert.deepEqual(texts, alone);
  assert.equal(new Set(texts).size, 3);
});

test('a format that cannot be kept is refused before anything is held', () => {
  const rig = new Rig();
  for (const format of [
    { kind: 'schema', schema: { not: {} } },
    { kind: 'grammar', gbnf: 'root ::= "a' },
    { kind: 'calls', tools: [], many: true },
  ] as const) {
    assert.throws(() => rig.answer({ format }), { code: 'invalid_request' });
  }
  assert.equal(rig.clock.step(), false);
  rig.engine.check();
});

test('a chat whose model writes calls can be made to call', () => {
  const template = `${CHATML}{# <tool_call>\n{"name": x, "arguments": y}\n</tool_call> #}`;
  const rig = new Rig({ template });
  const chat = {
    model: 'm',
    messages: [{ role: 'user' as const, content: [{ kind: 'text' as const, text: 'x' }] }],
    tools: [],
    toolChoice: { kind: 'required' as const },
    thinking: undefined,
  };
  const tools = [
    {
      name: 'ls',
      description: undefined,
      parameters: { properties: { n: { const: 7 } }, required: ['n'] },
    },
  ];
  const text = textOf(
    rig.answer(
      { format: { kind: 'calls', tools, many: false } },
      { prompt: { kind: 'chat', chat } },
    ).choices[0],
  );
  const parser = rig.tokens.parser(chat);
  const parts = [...parser.push(text, 1), ...parser.end()];
  assert.deepEqual(
    parts.map(({ kind }) => kind),
    ['toolCall', 'toolArguments'],
  );
  const [begin, given] = parts;
  assert.ok(begin.kind === 'toolCall' && begin.name === 'ls');
  assert.ok(given.kind === 'toolArguments');
  assert.deepEqual(JSON.parse(given.text), { n: 7 });
});

test('texts become vectors of length 1, alike for like texts only', async () => {
  const rig = new Rig();
  const [a, again, other] = await Promise.all([
    rig.embed(PROMPT),
    rig.embed(PROMPT),
    rig.embed('the king'),
  ]);
  assert.deepEqual(a.vector, again.vector);
  assert.notDeepEqual(a.vector, other.vector);
  assert.ok(Math.abs(Math.hypot(...a.vector) - 1) < 1e-6);
  assert.equal(a.usage.promptTokens, rig.tokens.encode(PROMPT).length);
  assert.equal(a.note, 'Noted.');
  await assert.rejects(rig.embed(''), { code: 'invalid_request' });
  const leaving = AbortSignal.abort();
  await assert.rejects(rig.engine.embed(jobOf({}), leaving), { code: 'client_closed' });
  rig.drain();
  rig.engine.check();
  const refusing = new Rig({ embeddings: embeddingsOf(1, 'llama') });
  await assert.rejects(refusing.embed('x'), /by mean/);
});

interface Answered {
  parts: Part[];
  choices: Pick<Answer, 'blocks' | 'logprobs'>[];
}

class Rig {
  readonly clock = new SimClock();
  readonly engine: LocalEngine;
  readonly tokens: ModelTokens;

  constructor(
    given: {
      waitingMax?: number;
      template?: string;
      embeddings?: LocalEngineSettings['embeddings'];
    } = {},
  ) {
    const {
      waitingMax = 8,
      template = CHATML,
      embeddings = { kind: 'made', note: 'Noted.' },
    } = given;
    const vocabulary = toyVocabulary({ template });
    const about = { model: 'm', fingerprint: 'f', blockTokens: BLOCK, now: () => new Date(0) };
    const built = ModelTokens.build({ vocabulary, ...about });
    assert.ok(built.kind === 'exact');
    this.tokens = built.tokens;
    const memory = new SimulatedMemory(2, {
      ...{ seed: 1, blockTokens: BLOCK, words: this.tokens.encode('the other king') },
      endToken: [...this.tokens.endTokens][0],
      ...{ turnToken: undefined, answerTokensMin: 40, answerTokensMax: 60 },
    });
    const sizes = { slots: 2, blockTokens: BLOCK, blocksMax: 60, hostBlocks: 60, matchBlocks: 1 };
    this.engine = new LocalEngine({
      worker: 'w' as WorkerId,
      runner: new RunnerSimulated({ memory, curve: CURVE, clock: this.clock, fileUs: 0 }),
      pace: new FixedPace(CURVE),
      tokens: this.tokens,
      events: { publish: () => {} },
      settings: {
        sizes: { ...sizes, disk: undefined },
        batch: {
          ...{ blockTokens: BLOCK, contextTokens: 400, waitingMax, stepUsMax: 5000 },
          ...{ chunkTokensMax: 512, exactChunkTokens: undefined },
        },
        allowForcedOutput: false,
        answerTokens: undefined,
        grammars: 'derived',
        embeddings,
      },
      onFailure: (error) => assert.fail(error),
    });
  }

  answer(shape: Partial<Shape>, changes: Partial<Job> = {}): Answered {
    const parts: Part[] = [];
    const fold = new AnswerFold();
    this.engine.submit({ ...jobOf(shape), ...changes }, (part) => {
      parts.push(part);
      fold.add(part);
    });
    this.drain();
    const answer = fold.answer(undefined) ?? assert.fail('it is whole');
    return { parts, choices: [answer, ...answer.others] };
  }

  async embed(text: string): Promise<Embedding> {
    const job = jobOf({}, text);
    const made = this.engine.embed(job, new AbortController().signal);
    this.drain();
    return await made;
  }

  drain(): void {
    for (let i = 0; this.clock.step(); i++) assert.ok(i < 100_000, 'work comes to an end');
  }
}

function usageOf(parts: readonly Part[]): Usage {
  const done = parts.at(-1);
  assert.ok(done?.kind === 'done');
  return done.usage;
}

function textOf({ blocks }: Pick<Answer, 'blocks'>): string {
  return blocks.map((block) => (block.kind === 'text' ? block.text : '')).join('');
}

function jobOf(shape: Partial<Shape>, text = PROMPT): Job {
  return plainJob({
    prompt: { kind: 'text', text },
    outputTokensMax: 300,
    shape: { ...FREE, ...shape },
  });
}
