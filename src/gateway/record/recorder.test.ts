import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import type { SessionId, TenantId, ThreadId } from '../../model/ids.ts';
import type { Receipt } from '../../model/receipt.ts';
import type { Asked } from '../../ports.ts';
import { readTrace } from '../../traces/read-trace.ts';
import { RELATIONS, type Trace } from '../../traces/trace.ts';
import { identify } from '../identify.ts';
import { Recorder } from './recorder.ts';
import { RECORDING_LIMITS } from './recordings.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'stator-recorder-'));
after(() => rmSync(FOLDER, { recursive: true }));

test('who waited for whom is in the file: turns, a sub-agent that was spawned, and its join', async () => {
  const rig = new Rig();
  rig.at(0).ask('r1', { thread: 'main', hashes: [1n, 2n] });
  rig.at(100).end('r1', 7);
  rig.at(150).ask('r2', { thread: 'main/helper', parent: 'main', hashes: [1n, 9n] });
  rig.at(180).end('r2', 3);
  rig.at(200).ask('r3', { thread: 'main/helper', parent: 'main', hashes: [1n, 9n, 10n] });
  rig.at(260).end('r3', 4);
  rig.at(300).ask('r4', { thread: 'main', hashes: [1n, 2n, 3n] });
  rig.at(400).end('r4', 5);
  const trace = await rig.read();
  assert.equal(trace.sessionCount, 1, 'a sub-agent is of its parent’s session');
  assert.equal(trace.threadCount, 2);
  assert.deepEqual(waitsOf(trace), [
    [],
    [
      ['sequence', 100, 200],
      ['join', 260, 40],
    ],
    [['spawn', 100, 50]],
    [['sequence', 180, 20]],
  ]);
  assert.deepEqual([...trace.outputTokens], [7, 5, 3, 4]);
  assert.deepEqual([...trace.serviceMs], [100, 100, 30, 60]);
});

test('a request that failed is no row, and nobody waits for it', async () => {
  const rig = new Rig();
  rig.at(0).ask('r1', { thread: 't', hashes: [1n] });
  rig.at(10).end('r1', 1);
  rig.at(20).ask('r2', { thread: 't', hashes: [1n, 2n] });
  rig.at(30).end('r2', 0, 'failed');
  rig.at(50).ask('r3', { thread: 't', hashes: [1n, 2n] });
  rig.at(60).end('r3', 1);
  const trace = await rig.read();
  assert.equal(trace.about.malformed.count, 0);
  assert.deepEqual(waitsOf(trace), [[], [['sequence', 10, 40]]]);
});

test('prompts share in the file what they shared in life, whatever there was no room for', async () => {
  const step = fc.record({
    thread: fc.integer({ min: 0, max: 3 }),
    keep: fc.nat(6),
    more: fc.array(fc.bigInt({ min: 1n, max: 6n }), { maxLength: 4 }),
    room: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
      const rig = new Rig();
      const paths = new Map<number, bigint[]>();
      const written: { thread: number; path: bigint[] }[] = [];
      steps.forEach(({ thread, keep, more, room }, i) => {
        const path = chained([...(paths.get(thread) ?? []).slice(0, keep)], more);
        paths.set(thread, path);
        rig.hasRoom = room;
        rig.at(10 * i).ask(`r${i}`, { thread: `t${thread}`, hashes: path });
        rig.at(10 * i + 5).end(`r${i}`, 1);
        if (room) written.push({ thread, path });
      });
      if (written.length === 0) return;
      const trace = await rig.read();
      assert.equal(trace.about.malformed.count, 0, JSON.stringify(trace.about.malformed));
      const order = [...new Set(written.map(({ thread }) => thread))];
      const sorted = order.flatMap((one) => written.filter(({ thread }) => thread === one));
      for (const [a, { path }] of sorted.entries()) {
        assert.equal(trace.tree.depth[trace.leaf[a]], path.length);
        for (const [b, { path: other }] of sorted.entries()) {
          assert.equal(sharedIn(trace, a, b), sharedBy(path, other), `${a} and ${b}`);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('names and blocks of one recording mean nothing in another', () => {
  const [one, other] = [new Rig(), new Rig()];
  for (const rig of [one, other]) {
    rig.ask('r1', { thread: 'the-thread', hashes: [0xabcdefn] });
    rig.end('r1', 1);
    for (const word of ['the-thread', 'the-tenant', 'abcdef', String(0xabcdefn), 'a secret']) {
      assert.ok(!rig.rows.join('\n').includes(word), word);
    }
  }
  const [a, b] = [one, other].map(({ rows }) => JSON.parse(rows[1]));
  for (const field of ['session', 'thread', 'tenant', 'blocks', 'id']) {
    assert.notDeepEqual(a[field], b[field], field);
  }
});

test('a prompt of unknown tokens is cut by characters, and the trace says so', async () => {
  const rig = new Rig();
  const prompt = { kind: 'text' as const, text: 'a secret '.repeat(40) };
  const passed = { prompt, hashes: [], blockTokens: 1 };
  rig.ask('r1', { thread: 't', ...passed });
  rig.end('r1', 1);
  const longer = { ...prompt, text: `${prompt.text}${'and more '.repeat(40)}` };
  rig.ask('r2', { thread: 't', ...passed, prompt: longer });
  rig.end('r2', 1);
  const trace = await rig.read();
  assert.deepEqual([...trace.promptTokens], [90, 180]);
  assert.equal(sharedIn(trace, 0, 1), 5);
  assert.match(trace.about.notes[0], /2 prompts are estimated/);
});

test('larger blocks of an engine are as many of ours, and no two of those are one', async () => {
  const rig = new Rig();
  const begin = chained([], [1n, 2n, 3n]);
  rig.ask('r1', { thread: 't', hashes: begin, blockTokens: 64 });
  rig.end('r1', 1);
  rig.ask('r2', { thread: 'u', hashes: chained(begin.slice(0, 2), [9n, 8n]), blockTokens: 64 });
  rig.end('r2', 1);
  const trace = await rig.read();
  assert.deepEqual([...trace.promptTokens], [192, 256]);
  assert.equal(sharedIn(trace, 0, 1), 8);
  const { blocks } = JSON.parse(rig.rows[1]) as { blocks: string[] };
  assert.equal(new Set(blocks).size, 12);
  assert.deepEqual(trace.about.notes, []);
});

test('text comes only on request, and a turn says only what is new', () => {
  const user = (text: string) => ({
    role: 'user' as const,
    content: [{ kind: 'text' as const, text }],
  });
  const chat = (...texts: string[]) => ({
    kind: 'chat' as const,
    chat: {
      model: 'm',
      messages: texts.map(user),
      tools: [],
      toolChoice: { kind: 'auto' as const },
      thinking: undefined,
    },
  });
  for (const text of [false, true]) {
    const rig = new Rig({ text });
    rig.ask('r1', { thread: 't', prompt: chat('one') });
    rig.end('r1', 1);
    rig.ask('r2', { thread: 't', prompt: chat('one', 'two') });
    rig.end('r2', 1);
    const prompts = rig.rows.slice(1).map((row) => JSON.parse(row).prompt);
    const said = [
      { keep: 0, messages: [{ role: 'user', content: 'one' }], tools: [] },
      { keep: 1, messages: [{ role: 'user', content: 'two' }] },
    ];
    assert.deepEqual(prompts, text ? said : [undefined, undefined]);
  }
});

interface Given {
  thread: string;
  parent?: string;
  hashes?: readonly bigint[];
  blockTokens?: number;
  prompt?: Asked['prompt'];
}

class Rig {
  rows: string[] = [];
  hasRoom = true;
  #ms = 0;
  readonly #recorder: Recorder;

  constructor({ text } = { text: false }) {
    const clock = { nowUs: () => this.#ms * 1000, wallMs: () => this.#ms, after: () => () => {} };
    const write = (row: string) => {
      if (this.hasRoom) this.rows.push(row);
      return this.hasRoom;
    };
    const limits = RECORDING_LIMITS;
    this.#recorder = new Recorder({ clock, text, limits, beganMs: undefined, write });
  }

  at(ms: number): this {
    this.#ms = ms;
    return this;
  }

  ask(id: string, { thread, parent, hashes = [], blockTokens = 16, prompt }: Given): void {
    const who = {
      ...identify('the-tenant' as TenantId, {}, []),
      session: (parent ?? thread) as SessionId,
      thread: thread as ThreadId,
      parent: parent as ThreadId | undefined,
    };
    this.#recorder.arrived({
      ...{ id, who, blockTokens, wire: 'openai-chat', model: 'm' },
      arrivedUs: this.#ms * 1000,
      prompt: prompt ?? { kind: 'text', text: 'a secret' },
      hashes: BigUint64Array.from(hashes),
      promptTokens: blockTokens * hashes.length,
    });
  }

  end(id: string, outputTokens: number, status: 'done' | 'failed' = 'done'): void {
    this.#recorder.ended({ id, actual: { status, outputTokens } } as Receipt);
  }

  async read(): Promise<Trace> {
    const path = join(FOLDER, 'recording.jsonl');
    writeFileSync(path, `${this.rows.join('\n')}\n`);
    return readTrace(path);
  }
}

/** As block hashes are: each covers what is before it. */
function chained(begin: bigint[], more: readonly bigint[]): bigint[] {
  const path = [...begin];
  for (const one of more) path.push(((path.at(-1) ?? 7n) * 31n + one) % 2n ** 61n);
  return path;
}

function sharedBy(a: readonly bigint[], b: readonly bigint[]): number {
  let shared = 0;
  while (shared < Math.min(a.length, b.length) && a[shared] === b[shared]) shared++;
  return shared;
}

function sharedIn({ tree, leaf }: Trace, a: number, b: number): number {
  let [x, y] = [leaf[a], leaf[b]];
  while (x !== y) {
    if (tree.depth[x] >= tree.depth[y]) x = tree.parent[x];
    else y = tree.parent[y];
  }
  return tree.depth[x];
}

/** Of each turn: why, when what it waits for began or ended, and how long after that. */
function waitsOf({ waits, startMs, serviceMs, turnCount }: Trace) {
  return Array.from({ length: turnCount }, (_, turn) => {
    const found: [string, number, number][] = [];
    for (let i = waits.begin[turn]; i < waits.begin[turn + 1]; i++) {
      const on = waits.on[i];
      const atMs = startMs[on] + (waits.onDispatch[i] === 1 ? 0 : serviceMs[on]);
      found.push([RELATIONS[waits.relation[i]], atMs, waits.delayMs[i]]);
    }
    return found;
  });
}
