import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TraceBuilder } from '../traces/trace-builder.ts';
import { PLAIN_WORDS } from './endpoint.ts';
import { type ReplayGiven, replayOf, type Target } from './replayed.ts';

const TARGET: Target = {
  model: 'm',
  ids: Uint32Array.from([7, 8, 9]),
  forced: true,
  ignoresEos: true,
  tokens: undefined,
};
const GIVEN: ReplayGiven = { target: TARGET, seed: 1, thinkMsMax: 1000, prompts: undefined };

test('calls wait as the trace says, and long gaps are cut', () => {
  const { trace } = sessionOf([
    { thread: 'a', startMs: 0 },
    { thread: 'a', startMs: 9000, waits: [[0, 5000]] },
    { thread: 'b', startMs: 400, waits: [[0, 100]] },
    // Nobody says what this one waits for.
    { thread: 'c', startMs: 700 },
  ]);
  const [{ calls }] = replayOf(trace, GIVEN);
  assert.deepEqual(
    calls.map(({ thread }) => thread),
    ['a', 'b', 'c', 'a'],
  );
  const after = (on: number, delayMs: number, onDispatch = false) => ({ on, delayMs, onDispatch });
  assert.deepEqual(
    calls.map(({ waits }) => waits),
    [[], [after(0, 100)], [after(1, 300, true)], [after(0, 1000)]],
  );
});

test('waits in a circle are refused, not waited for', () => {
  const { trace } = sessionOf([
    { thread: 'a', startMs: 0, waits: [[1, 0]] },
    { thread: 'b', startMs: 0, waits: [[0, 0]] },
  ]);
  assert.throws(() => replayOf(trace, GIVEN), /circle/);
});

test('a server is asked as it takes it: ids or words, dictated or to the recorded length', () => {
  const { trace } = sessionOf([{ thread: 'a', startMs: 0 }]);
  const bodyFor = (target: Partial<Target>) => {
    const [{ calls }] = replayOf(trace, { ...GIVEN, target: { ...TARGET, ...target } });
    return calls[0].body() as {
      prompt: string | number[];
      max_tokens: number;
      ignore_eos?: boolean;
      nvext?: { forced_output: string | number[] };
    };
  };
  const dictated = bodyFor({});
  assert.equal(dictated.prompt.length, 40);
  assert.ok((dictated.prompt as number[]).every((id) => [7, 8, 9].includes(id)));
  assert.equal(dictated.nvext?.forced_output.length, 6);
  assert.equal(dictated.ignore_eos, undefined);
  const free = bodyFor({ forced: false });
  assert.deepEqual([free.nvext, free.ignore_eos, free.max_tokens], [undefined, true, 6]);
  const words = bodyFor({ ids: undefined, forced: false, ignoresEos: false });
  const said = String(words.prompt).trim().split(' ');
  assert.equal(said.length, 40);
  assert.ok(said.every((word) => PLAIN_WORDS.includes(word)));
  assert.equal(words.ignore_eos, undefined);
});

test('recorded text is sent as it was said, with no other thread’s answer', () => {
  const { trace } = sessionOf([
    { thread: 'a', startMs: 0 },
    { thread: 'b', startMs: 5 },
  ]);
  const messages = [{ role: 'user', content: 'hello' }];
  const longer = [...messages, { role: 'assistant', content: 'another thread’s' }];
  const prompts = (turn: number) =>
    ({ kind: 'chat', messages: turn === 0 ? messages : longer, tools: [] }) as const;
  const [{ calls }] = replayOf(trace, { ...GIVEN, prompts });
  assert.equal(calls[0].path, '/v1/chat/completions');
  const body = calls[0].body();
  assert.deepEqual([body.messages, body.nvext, body.tools], [messages, undefined, undefined]);
});

test('sessions of one coarse stamp begin one after the other, up to the next stamp', () => {
  const builder = new TraceBuilder();
  const stamps = [3000, 3000, 3000, 6000];
  for (const [i, startMs] of stamps.entries()) addTurn(builder, `s${i}`, { thread: 'a', startMs });
  const trace = builder.build(ABOUT, 16);
  assert.deepEqual(
    replayOf(trace, GIVEN).map(({ startMs }) => startMs),
    [0, 1000, 2000, 3000],
  );
});

const ABOUT = {
  format: 'a test',
  clock: 'trace' as const,
  notes: [],
  malformed: { count: 0, first: [] },
};

interface Turn {
  thread: string;
  startMs: number;
  /** Which turn's end, and how long after it. */
  waits?: [number, number][];
}

function sessionOf(turns: readonly Turn[]) {
  const builder = new TraceBuilder();
  const numbers = turns.map((turn) => addTurn(builder, 's', turn));
  for (const [i, { waits = [] }] of turns.entries()) {
    for (const [on, delayMs] of waits) {
      const relation = { relation: 'sequence', trigger: 'completion' } as const;
      builder.wait({ turn: numbers[i], on: numbers[on], delayMs, ...relation });
    }
  }
  return { trace: builder.build(ABOUT, 16) };
}

function addTurn(builder: TraceBuilder, session: string, { thread, startMs }: Turn): number {
  return builder.turn({
    thread: builder.thread(builder.session(session), thread),
    ...{ promptTokens: 40, outputTokens: 6, startMs, serviceMs: 10, model: 'm' },
    leaf: builder.scope().path([1, 2]),
  });
}
