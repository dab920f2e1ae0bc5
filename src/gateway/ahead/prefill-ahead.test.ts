/** Turns of a thread with the real kernel, and an engine that computes what it is sent when the test says so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../../base/prng.ts';
import { Kernel } from '../../kernel/kernel.ts';
import { Config } from '../../model/config.ts';
import { GatewayError } from '../../model/error.ts';
import type { RequestId, TenantId, WorkerId } from '../../model/ids.ts';
import type { Part } from '../../model/part.ts';
import type { Receipt } from '../../model/receipt.ts';
import { IDLE_PRIORITY } from '../../model/request.ts';
import type { Clock, Engine, Job, Note } from '../../ports.ts';
import { ModelTokens } from '../../tokens/model-tokens.ts';
import { IncrementalEncoder } from '../../tokens/prompt-encoder.ts';
import { toyVocabulary } from '../../tokens/toy-vocabulary.test.ts';
import { DEMO_TEMPLATE } from '../../weights/demo-template.ts';
import { openaiChat } from '../../wire/openai-chat.ts';
import { Parsing } from '../../wire/parsed.ts';
import type { Account } from '../account.ts';
import { Host } from '../host.ts';
import { identify } from '../identify.ts';
import type { ServedModel } from '../models.ts';
import { arrivalOf, promptOf } from '../prompt.ts';
import { PrefillAhead, type PrefillAheadParts } from './prefill-ahead.ts';

const BLOCK_TOKENS = 4;
const TOKEN_US = 100;
const WORKER = 'w' as WorkerId;
const THOUGHT = 'the other king and the rings of the mother in the end'.repeat(4);
const SAID = 'the king there and the mother in the other ring thing'.repeat(4);
const REASONED = `<think>\n${THOUGHT}\n</think>\n\n${SAID}`;

test('an answer without its reasoning is computed ahead, and told in the next receipt', async () => {
  const rig = new Rig({ speculation: 'always' });
  await rig.turn([ask('Which way?')], REASONED);
  // Nobody knows yet whether this client sends reasoning back.
  await rig.turn([ask('Which way?'), say(SAID), ask('And then?')], REASONED);
  const [job] = await rig.computed(1);
  assert.deepEqual([job.outputTokensMax, job.priority, job.shape.choices], [1, IDLE_PRIORITY, 1]);
  const before = [ask('Which way?'), say(SAID), ask('And then?'), say(SAID)];
  const next = await rig.turn([...before, ask('Why?')], SAID);
  assert.ok(next.prefetched !== null && next.prefetched.tokens > 10 * BLOCK_TOKENS);
  assert.equal(next.prefetched.usedTokens, next.prefetched.tokens);
  assert.deepEqual(rig.blocks, { computed: rig.blocks.used, used: rig.blocks.used, wasted: 0 });
  rig.check();
});

test('nothing is sent where the next prompt goes on from what was computed', async () => {
  const rig = new Rig({ speculation: 'always' });
  await rig.turn([ask('Which way?')], SAID);
  await rig.turn([ask('Which way?'), say(SAID), ask('And then?')], SAID);
  await rig.came('ready', 2);
  const sent = { ...say(SAID), reasoning_content: THOUGHT };
  const talk = [ask('Which way?'), say(SAID), ask('And then?'), say(SAID), ask('Why?')];
  await rig.turn(talk, REASONED);
  await rig.turn([...talk, sent, ask('Go on')], REASONED);
  await rig.came('ready', 4);
  assert.equal(rig.jobs.length, 0);
});

test('its thread’s next request stops it, and so does whoever else comes', async () => {
  for (const thread of ['mine', 'other']) {
    const rig = new Rig({ speculation: 'always', holds: true });
    const talk = [ask('Which way?'), say(SAID), ask('And then?')];
    await rig.turn(talk.slice(0, 1), REASONED);
    await rig.turn(talk, REASONED);
    await rig.until(() => rig.jobs.length === 1);
    const receipt = await rig.turn([...talk, say(SAID), ask('Why?')], SAID, { thread });
    assert.ok(rig.signals[0].aborted);
    await rig.came(thread === 'mine' ? 'back' : 'wanted', 1);
    assert.equal(receipt.prefetched, null);
    rig.check();
  }
});

test('a thread whose prompts come otherwise is only watched, until one comes as foreseen', async () => {
  const rig = new Rig({ speculation: 'always' });
  let talk = [ask('Which way?')];
  const turn = async (text: string, said: string) => {
    await rig.turn(talk, text);
    talk = [...talk, say(said), ask('And?')];
  };
  await turn(REASONED, SAID);
  await turn(REASONED, 'rewritten');
  await rig.computed(1);
  const wasted = await rig.turn(talk, REASONED);
  assert.equal(wasted.prefetched?.usedTokens, 0);
  assert.ok(rig.blocks.wasted > 0);
  talk = [...talk, say(SAID), ask('Right?')];
  await rig.turn(talk, REASONED);
  await rig.computed(2);
  assert.equal(rig.jobs.length, 2, 'the third turn’s was watched only');
});

test('a request says whether, else the operator does, who may forbid it', async () => {
  for (const speculation of ['always', 'hinted', 'never'] as const) {
    for (const hinted of [true, false, undefined]) {
      const rig = new Rig({ speculation });
      const isOn = speculation !== 'never' && (hinted ?? speculation === 'always');
      const talk = [ask('Which way?'), say(SAID), ask('And then?')];
      await rig.turn(talk.slice(0, 1), REASONED, { hinted });
      await rig.turn(talk, REASONED, { hinted });
      if (isOn) await rig.computed(1);
      await rig.turn([...talk, say(SAID), ask('Why?')], SAID, { hinted });
      assert.equal(rig.jobs.length, isOn ? 1 : 0, `${speculation}, ${hinted}`);
    }
  }
});

test('an engine that fails costs nobody anything', async () => {
  const rig = new Rig({ speculation: 'always', fails: true });
  const talk = [ask('Which way?'), say(SAID), ask('And then?')];
  await rig.turn(talk.slice(0, 1), REASONED);
  await rig.turn(talk, REASONED);
  await rig.came('failed', 1);
  assert.deepEqual(rig.suspected, [WORKER]);
  const { prefetched } = await rig.turn([...talk, say(SAID), ask('Why?')], SAID);
  assert.equal(prefetched, null);
  rig.check();
});

interface Said {
  role: string;
  content: string;
  reasoning_content?: string;
}

class Rig {
  readonly jobs: Job[] = [];
  readonly signals: AbortSignal[] = [];
  readonly suspected: string[] = [];
  readonly blocks = { computed: 0, used: 0, wasted: 0 };
  readonly #came = new Map<string, number>();
  readonly #host: Host;
  readonly #ahead: PrefillAhead;
  readonly #model: ServedModel;
  readonly #tokens: ModelTokens;
  /** Blocks the engine holds, by hash. */
  readonly #held = new Set<bigint>();
  readonly #given: { holds?: boolean; fails?: boolean };
  #requests = 0;
  /** Goes on with each turn. */
  #nowUs = 0;
  readonly #clock: Clock = {
    nowUs: () => this.#nowUs,
    wallMs: () => this.#nowUs / 1000,
    after: () => () => {},
  };

  constructor(
    given: { holds?: boolean; fails?: boolean } & Pick<PrefillAheadParts, 'speculation'>,
  ) {
    this.#given = given;
    const { limits } = Config.parse({});
    const vocabulary = toyVocabulary({ template: DEMO_TEMPLATE });
    const now = () => new Date(0);
    const options = { vocabulary, model: 'm', fingerprint: 'f', blockTokens: BLOCK_TOKENS, now };
    const built = ModelTokens.build(options);
    assert.ok(built.kind === 'exact');
    this.#tokens = built.tokens;
    const settings = { bytesMax: 1e6, hereMax: 1e5 };
    const prompts = new IncrementalEncoder({
      tokens: this.#tokens,
      elsewhere: undefined,
      settings,
    });
    this.#model = { name: 'm', tokens: this.#tokens, prompts, demo: false, contextTokens: 8192 };
    const kernel = new Kernel({ settings: { policy: 'stator', ...limits }, rng: new Prng(1) });
    const sink = { note: (note: Note) => this.#note(note) };
    this.#host = new Host({ kernel, clock: this.#clock, sink });
    const engine = {
      generate: (job: Job, signal: AbortSignal) => this.#generate(job, signal),
    } as unknown as Engine;
    this.#ahead = new PrefillAhead({
      ...{ host: this.#host, rng: new Prng(1), sink, speculation: given.speculation },
      engines: {
        engine: () => engine,
        ended: (worker, fault) => {
          if (fault?.code === 'engine_lost') this.suspected.push(worker);
        },
        givenUp: () => undefined,
      },
    });
    const worker = {
      ...{ id: WORKER, models: ['m'], blockTokens: BLOCK_TOKENS, hasEvents: true },
      ...{ contextTokens: 8192, slots: 4, requestsMax: 16, cacheTokens: 100_000 },
      prefill: { perTokenUs: TOKEN_US, perTokenContextUs: 0 },
      decode: { stepUs: 500, perSequenceUs: 300 },
    };
    this.#host.tell({ kind: 'workerJoined', worker });
  }

  /** A request, its answer as the model writes it, and what its receipt says then. */
  async turn(
    messages: Said[],
    answer: string,
    { thread = 'mine', hinted }: { thread?: string; hinted?: boolean | undefined } = {},
  ): Promise<Receipt> {
    const nvext = { agent_hints: { speculative_prefill: hinted } };
    const asked = openaiChat.parse({ model: 'm', messages, nvext });
    const who = identify('t' as TenantId, { 'x-stator-session-id': thread }, []);
    const model = this.#model;
    const prompt = await promptOf(asked, model, who);
    const id = `r${this.#requests++}` as RequestId;
    this.#nowUs += 2_000_000;
    const given = { ask: asked, model, who, prompt, manners: { patienceUs: 1e9 } };
    const parsing = new Parsing({ parser: prompt.parser });
    const hearing = this.#ahead.hearing({ ...given, wire: 'openai-chat' }, parsing);
    await this.#host.admit(arrivalOf(id, given), new AbortController().signal);
    const cachedTokens = this.#cachedTokens(prompt.hashes);
    this.#nowUs += (prompt.promptTokens - cachedTokens) * TOKEN_US;
    const ids = this.#tokens.encode(answer);
    hearing.push({ kind: 'text', text: answer, tokens: ids.length, ids: Array.from(ids) });
    const promptTokens = prompt.promptTokens;
    const usage = { promptTokens, outputTokens: ids.length, cachedTokens };
    hearing.push({ kind: 'done', finish: { kind: 'stop' }, usage });
    assert.ok(prompt.job.kind === 'tokens');
    this.#store(Uint32Array.from([...prompt.job.ids, ...ids]));
    this.#host.tell({ kind: 'firstTokenSent', request: id });
    this.#host.tell({ kind: 'finished', request: id, outputTokens: ids.length, cachedTokens });
    const receipt = { worker: WORKER, actual: { status: 'done', cachedTokens }, prefetched: null };
    const account = {
      receipt,
      prefetched: (told: unknown) => Object.assign(receipt, { prefetched: told }),
    };
    hearing.over(account as unknown as Account);
    await turnOfLoop();
    return receipt as unknown as Receipt;
  }

  /** Resolves when so many were computed ahead. */
  async computed(count: number): Promise<Job[]> {
    await this.came('computed', count);
    return this.jobs;
  }

  /** Resolves when so many ended in that way. */
  async came(how: string, count: number): Promise<void> {
    await this.until(() => this.#came.get(how) === count, `${how}: ${[...this.#came]}`);
  }

  async until(holds: () => boolean, what = 'it happens'): Promise<void> {
    for (let i = 0; !holds(); i++) {
      assert.ok(i < 1000, what);
      await turnOfLoop();
    }
  }

  check(): void {
    this.#host.check();
    assert.equal(this.#host.state().running, 0);
  }

  async *#generate(job: Job, signal: AbortSignal): AsyncGenerator<Part> {
    this.jobs.push(job);
    this.signals.push(signal);
    if (this.#given.fails) throw new GatewayError('engine_lost', 'As the test says.');
    if (this.#given.holds) {
      await new Promise((_, reject) => signal.addEventListener('abort', reject, { once: true }));
    }
    assert.ok(job.prompt.kind === 'tokens');
    const { ids } = job.prompt;
    const cachedTokens = this.#cachedTokens(this.#hashesOf(ids));
    this.#store(ids);
    yield { kind: 'text', text: 'x', tokens: 1 };
    const usage = { promptTokens: ids.length, outputTokens: 1, cachedTokens };
    yield { kind: 'done', finish: { kind: 'length' }, usage };
  }

  #cachedTokens(hashes: BigUint64Array): number {
    let blocks = 0;
    while (blocks < hashes.length && this.#held.has(hashes[blocks])) blocks++;
    return blocks * BLOCK_TOKENS;
  }

  #store(ids: Uint32Array): void {
    const hashes = this.#hashesOf(ids);
    for (const hash of hashes) this.#held.add(hash);
    this.#host.tell({ kind: 'blocksStored', worker: WORKER, hashes, tier: 'device' });
  }

  #hashesOf(ids: Uint32Array): BigUint64Array {
    const { hasher } = this.#tokens;
    return hasher.blocks(hasher.root(JSON.stringify(['t'])), ids);
  }

  #note(note: Note): void {
    if (note.kind === 'warning') assert.fail(note.sentence);
    if (note.kind === 'foreseen') {
      this.#came.set(note.came, (this.#came.get(note.came) ?? 0) + 1);
      this.blocks.computed += note.blocks;
    } else if (note.kind === 'prefetched') {
      this.blocks.used += note.usedBlocks;
      this.blocks.wasted += note.blocks - note.usedBlocks;
    }
  }
}

function ask(content: string): Said {
  return { role: 'user', content };
}

function say(content: string): Said {
  return { role: 'assistant', content };
}

function turnOfLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
