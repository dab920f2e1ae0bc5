/**
 * Two engines under requests, wishes and KV that moves between them, all at once: answers are those of
 * an engine that keeps nothing, and a wish is answered whatever happens meanwhile.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recompute } from '../../test/engine-twin.ts';
import { plainJob } from '../../test/plain-job.ts';
import { Prng } from '../base/prng.ts';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { KvChain, KvExport } from '../model/kv-control.ts';
import { SimClock } from '../sim/clock.ts';
import { toyTokens } from '../tokens/toy-tokens.test.ts';
import { LocalEngine } from './local.ts';
import type { LocalKv } from './local-kv.ts';
import { FixedPace } from './perf.ts';
import { RunnerSimulated, SimulatedMemory } from './runner-simulated.ts';
import { moveKv } from './stator-kv.ts';

const BLOCK = 16;
const ANSWER_MAX = 20;
const SEEDS = 6;
const OPERATIONS = 400;
const NEVER = new AbortController().signal;
const CURVE = {
  baseUs: 1000,
  perTokenUs: 10,
  perTokenContextUs: 0,
  perLooseContextUs: 0,
  perSequenceUs: 10,
  perContextUs: 0,
};

const tokens = toyTokens({ blockTokens: BLOCK });
const MODEL = {
  seed: 1,
  blockTokens: BLOCK,
  words: tokens.encode('the other king'),
  endToken: [...tokens.endTokens][0],
  turnToken: undefined,
  // Longer than any: only what the engine is asked for ends an answer.
  answerTokensMin: 1000,
  answerTokensMax: 1000,
};

test('whatever is wished and moved, answers stay what they are, and everybody gets one', async () => {
  const seen: Record<string, number> = {};
  for (let seed = 1; seed <= SEEDS; seed++) {
    const rig = new Rig(new Prng(seed));
    for (let i = 0; i < OPERATIONS; i++) {
      rig.act();
      await rig.pass(rig.random.below(2));
    }
    await rig.settle();
    for (const [what, count] of Object.entries(rig.seen)) seen[what] = (seen[what] ?? 0) + count;
  }
  console.log(`  ${JSON.stringify(seen)}`);
  for (const what of ['move accepted', 'move clipped', 'prefetch accepted', 'retain clipped']) {
    assert.ok(seen[what] > 0, what);
  }
});

test('what was moved is found there, and lapses when its time has come', async () => {
  const rig = new Rig(new Prng(1));
  const prompt = Uint32Array.from({ length: 100 }, (_, i) => i);
  rig.ask(0, prompt, 'thread');
  await rig.settle();
  const chain = named('thread');
  const [from, to] = rig.kvs;
  const moved = await rig.during(moveKv(chain, { from, to }, NEVER));
  assert.equal(moved.answer, 'accepted');
  assert.ok(moved.tokens >= 96);
  assert.equal((await rig.during(to.retain(chain, 5_000_000))).answer, 'accepted');
  const cached = await rig.during(rig.ask(1, prompt, 'thread'));
  assert.equal(cached, 96);
  rig.check();
});

test('what comes takes the place of what was on its way there only when that has passed', async () => {
  const rig = new Rig(new Prng(1));
  const [from, to] = rig.kvs;
  const [mover, leaver, runner] = [350, 100, 370].map((length, i) =>
    Uint32Array.from({ length }, (_, j) => (7 * j + i) % 90),
  );
  rig.ask(0, mover, 'mover');
  rig.ask(1, leaver, 'leaver');
  await rig.settle();
  const bytes = await rig.during(taken(await rig.during(from.export(named('mover'), NEVER))));
  rig.ask(1, runner, 'runner');
  // A step runs: the copies that this orders come after it, into places that are free by then.
  const demoted = to.demote(named('leaver'), 'host');
  const released = to.release(named('leaver'));
  const imported = rig.during(to.import(bytes, 'mover', NEVER));
  assert.equal((await imported).answer, 'accepted');
  await rig.during(Promise.all([demoted, released]));
  assert.ok((await rig.during(rig.ask(1, mover, 'mover'))) > 300);
  rig.check();
});

test('what follows a prompt goes as it is computed, and is all there when that ends', async () => {
  const rig = new Rig(new Prng(1));
  const prompt = Uint32Array.from({ length: 330 }, (_, i) => (5 * i) % 90);
  const chain = { ...blocksOf(prompt), follow: true };
  const [from, to] = rig.kvs;
  const moved = rig.during(moveKv(chain, { from, to }, NEVER));
  const computed = rig.ask(0, prompt, 'thread');
  assert.equal((await moved).answer, 'accepted');
  assert.equal((await moved).blocks, 20);
  await computed;
  await rig.settle();
  assert.equal(await rig.during(rig.ask(1, prompt, 'thread')), 320);
  rig.check();
});

test('who follows a prompt that never comes is let go when nobody waits, and holds nothing', async () => {
  const rig = new Rig(new Prng(1));
  const [from, to] = rig.kvs;
  const prompt = Uint32Array.from({ length: 100 }, (_, i) => i % 90);
  const chain = { ...blocksOf(prompt), follow: true };
  for (let round = 0; round < 2; round++) {
    const leaving = new AbortController();
    const waiting = Array.from({ length: 4 }, () => moveKv(chain, { from, to }, leaving.signal));
    const all = Promise.allSettled(waiting);
    await rig.pass(3);
    assert.equal((await moveKv(chain, { from, to }, NEVER)).answer, 'deferred');
    leaving.abort();
    for (const { status } of await all) assert.equal(status, 'rejected');
  }
  assert.equal((await moveKv(blocksOf(prompt), { from, to }, NEVER)).answer, 'missing');
});

test('what one has is not sent again, and what does not fit behind it is refused', async () => {
  const rig = new Rig(new Prng(1));
  const [from, to] = rig.kvs;
  const prompt = Uint32Array.from({ length: 330 }, (_, i) => (5 * i) % 90);
  rig.ask(0, prompt, 'long');
  rig.ask(1, prompt.slice(0, 170), 'short');
  await rig.settle();
  const whole = blocksOf(prompt);
  const sent = (skip: number) =>
    rig.during(
      from
        .export({ ...whole, skip }, NEVER)
        .then(taken)
        .then(sizeOf),
    );
  assert.ok((await sent(10)) < 0.6 * (await sent(0)));
  const moved = await rig.during(moveKv({ ...whole, skip: 10 }, { from, to }, NEVER));
  assert.deepEqual([moved.answer, moved.blocks], ['accepted', 20]);
  assert.equal(await rig.during(rig.ask(1, prompt, 'long')), 320);
  await rig.during(to.release(whole));
  await rig.engines[1].resetCache();
  const behind = await rig.during(moveKv({ ...whole, skip: 10 }, { from, to }, NEVER));
  assert.equal(behind.answer, 'missing');
  const beyond = await rig.during(moveKv({ ...whole, skip: 25 }, { from, to }, NEVER));
  assert.equal(beyond.answer, 'missing');
  rig.check();
});

test('where the engine fails, who waits for it hears so', async () => {
  const rig = new Rig(new Prng(1));
  rig.ask(0, new Uint32Array(100), 'thread');
  await rig.settle();
  const chain = named('thread');
  const asked = rig.kvs[0].demote(chain, 'host');
  rig.engines[0].close();
  await assert.rejects(asked, (error) => error instanceof GatewayError);
  await assert.rejects(rig.kvs[0].pin(chain), (error) => error instanceof GatewayError);
});

class Rig {
  readonly clock = new SimClock();
  readonly random: Prng;
  readonly engines: LocalEngine[];
  readonly kvs: LocalKv[];
  readonly seen: Record<string, number> = {};
  readonly #runners: RunnerSimulated[] = [];
  readonly #open = new Set<Promise<unknown>>();
  readonly #histories: Uint32Array[];

  constructor(random: Prng) {
    this.random = random;
    this.engines = [this.#engine(), this.#engine()];
    const layout = { key: '00112233445566778899aabbccddeeff', blockTokens: BLOCK };
    this.kvs = this.engines.map((engine, i) =>
      engine.direct({
        clock: this.clock,
        blocks: this.#runners[i],
        layout: { ...layout, blockBytes: 4 * BLOCK },
      }),
    );
    this.#histories = Array.from({ length: 8 }, () => this.#ids(60 + random.below(150)));
  }

  act(): void {
    const { random } = this;
    const which = random.below(this.#histories.length);
    const kind = random.below(10);
    const kv = random.pick(this.kvs);
    const chain = named(`t${which}`);
    if (kind < 4) {
      const grown = Uint32Array.from([...this.#histories[which], ...this.#ids(random.below(40))]);
      this.#histories[which] = grown.length > 350 ? this.#ids(100) : grown;
      this.ask(random.below(2), this.#histories[which], `t${which}`);
    } else if (kind === 4) {
      this.#note('retain', kv.retain(chain, 1 + random.below(200_000)));
    } else if (kind === 5) {
      this.#note('release', kv.release(chain));
    } else if (kind === 6) {
      this.#note('demote', kv.demote(chain, random.pick(['host', 'disk'] as const)));
    } else if (kind === 7) {
      this.#note('prefetch', kv.prefetch(chain, random.pick(['host', 'device'] as const)));
    } else {
      const [from, to] = random.below(2) === 0 ? this.kvs : [...this.kvs].reverse();
      this.#note('move', moveKv(chain, { from, to }, NEVER));
    }
  }

  /** Resolves to the cached tokens; the answer is compared. */
  ask(engine: number, prompt: Uint32Array, thread: string): Promise<number> {
    const cached = new Promise<number>((resolve, reject) => {
      const said: number[] = [];
      try {
        this.engines[engine].submit(jobOf(prompt, thread), (part) => {
          if (part.kind === 'error') reject(part.error);
          if (part.kind === 'text') said.push(...(part.ids ?? []));
          if (part.kind !== 'done') return;
          assert.deepEqual(said, recompute(MODEL, prompt, ANSWER_MAX));
          resolve(part.usage.cachedTokens ?? 0);
        });
      } catch (error) {
        assert.ok(error instanceof GatewayError && error.code === 'queue_full');
        resolve(0);
      }
    });
    this.#keep(cached);
    return cached;
  }

  /** Some events of virtual time, and what promises make of each. */
  async pass(events: number): Promise<void> {
    for (let i = 0; i < events; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      this.clock.step();
    }
    this.check();
  }

  check(): void {
    for (const engine of this.engines) engine.check();
  }

  async settle(): Promise<void> {
    for (let i = 0; this.#open.size > 0; i++) {
      assert.ok(i < 20_000, 'everybody is answered');
      await this.pass(1);
    }
  }

  async during<T>(work: Promise<T>): Promise<T> {
    this.#keep(work);
    await this.settle();
    return await work;
  }

  #engine(): LocalEngine {
    const memory = new SimulatedMemory(2, MODEL);
    const runner = new RunnerSimulated({ memory, curve: CURVE, clock: this.clock, fileUs: 500 });
    this.#runners.push(runner);
    return new LocalEngine({
      worker: 'w' as WorkerId,
      runner,
      pace: new FixedPace(CURVE),
      tokens,
      events: { publish: () => {} },
      settings: {
        sizes: {
          slots: 2,
          blockTokens: BLOCK,
          blocksMax: 100,
          hostBlocks: 25,
          matchBlocks: 1,
          disk: {
            bytesMax: 6000,
            dirtyBytesMax: 2000,
            fileBytes: 50,
            blockBytes: 100,
            fileBlocksMax: 4,
            saltBytesMax: 64,
          },
        },
        batch: {
          blockTokens: BLOCK,
          contextTokens: 400,
          waitingMax: 4,
          stepUsMax: 5000,
          chunkTokensMax: 512,
          exactChunkTokens: undefined,
        },
        allowForcedOutput: false,
        answerTokens: undefined,
        grammars: 'derived',
        embeddings: { kind: 'made', note: undefined },
      },
      onFailure: (error) => assert.fail(error),
    });
  }

  #note(what: string, work: Promise<{ answer: string }>): void {
    this.#keep(
      work.then(({ answer }) => {
        this.seen[`${what} ${answer}`] = (this.seen[`${what} ${answer}`] ?? 0) + 1;
      }),
    );
  }

  #keep(work: Promise<unknown>): void {
    const done = work.finally(() => this.#open.delete(done));
    this.#open.add(done);
  }

  #ids(length: number): Uint32Array {
    return Uint32Array.from({ length }, () => this.random.below(90));
  }
}

function named(thread: string): KvChain {
  return { kind: 'thread', thread, salt: '' };
}

function blocksOf(ids: Uint32Array): Extract<KvChain, { kind: 'blocks' }> {
  return { kind: 'blocks', hashes: tokens.hasher.blocks(tokens.hasher.root(''), ids) };
}

async function sizeOf(bytes: AsyncIterable<Uint8Array>): Promise<number> {
  let size = 0;
  for await (const piece of bytes) size += piece.length;
  return size;
}

/** A stream as a whole, to be read again at once. */
async function taken(exported: KvExport): Promise<AsyncIterable<Uint8Array>> {
  assert.ok(exported.kind === 'stream');
  const pieces: Uint8Array[] = [];
  for await (const piece of exported.bytes) pieces.push(piece);
  return (async function* () {
    yield* pieces;
  })();
}

function jobOf(ids: Uint32Array, thread: string) {
  return plainJob({
    prompt: { kind: 'tokens' as const, ids },
    outputTokensMax: ANSWER_MAX,
    thread,
  });
}
