import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { generateSessions } from '../generate/coding-agents.ts';
import { CODING_AGENTS } from '../generate/settings.ts';
import { type ReadFlags, readTrace, TraceError } from '../read-trace.ts';
import { pathOf, RELATIONS, type Trace } from '../trace.ts';
import { writeAgenticMooncake } from './agentic-mooncake-writer.ts';
import { writeMooncake } from './mooncake.ts';
import { writeRecording } from './recording.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'stator-traces-'));
after(() => rmSync(FOLDER, { recursive: true, force: true }));

const SAMPLES = 'test/fixtures/traces';
const MOONCAKE = `${SAMPLES}/mooncake-conversation-10min/conversation_trace_first600s.jsonl.gz`;
const CLAUDE_CODE = `${SAMPLES}/claude-code-weka-60/traces.compact.jsonl.gz`;

test('a recording and agentic Mooncake give back the trace that was written, sub-agents and all', async () => {
  const sample = await readTrace(CLAUDE_CODE);
  assert.deepEqual(said(await written(writeRecording(sample))), said(sample));
  for (const trace of [1, 2, 3].map((seed) => generated(seed))) {
    assert.deepEqual(said(await written(writeRecording(trace))), said(trace));
    const again = await written(writeAgenticMooncake(trace, { scope: 'global' }));
    // It has no field for how long an answer took, nor for how it ended.
    const [serviceMs, turnEnd] = [trace.serviceMs.map(() => 0), trace.turnEnd.map(() => 0)];
    assert.deepEqual(said(again), said({ ...trace, serviceMs, turnEnd }));
  }
});

test('agentic Mooncake with local ids keeps what a session shares and loses what sessions share', async () => {
  const trace = generated(4);
  const again = await written(writeAgenticMooncake(trace, { scope: 'local' }));
  const [own, shared] = [again, trace].map((one) => sharedBlocksByPair(one));
  for (const [pair, { blocks, isOneSession }] of shared) {
    assert.equal(own.get(pair)?.blocks, isOneSession ? blocks : 0, pair);
  }
});

test('Mooncake gives back the sample row by row, and sessions with their gaps', async () => {
  const sample = await readTrace(MOONCAKE);
  assert.equal(sample.turnCount, 1750);
  assert.deepEqual(said(await written(writeMooncake(sample))), said(sample));
  const trace = generated(5, { subAgents: undefined });
  const again = await written(writeMooncake(trace), { blockTokens: trace.blockTokens });
  assert.deepEqual(again.promptTokens, trace.promptTokens);
  assert.deepEqual(again.waits.delayMs, trace.waits.delayMs);
  assert.deepEqual(said(again).leaves, said(trace).leaves);
  assert.deepEqual(said(again).parents, said(trace).parents);
});

test('increments add up to the prompts that whole rows say', async () => {
  const rows = [
    { session_id: 'a', timestamp: 0, input_length: 1024, output_length: 100, hash_ids: [1, 2] },
    { session_id: 'a', delay: 5, input_length: 412, output_length: 7, hash_ids: [3] },
  ];
  const trace = await read(rows, { format: 'mooncake-delta' });
  assert.deepEqual([...trace.promptTokens], [1024, 1536]);
  assert.equal(trace.tree.depth[trace.leaf[1]], 3);
  assert.equal(trace.tree.parent[trace.leaf[1]], trace.leaf[0]);
  assert.deepEqual([...trace.waits.delayMs], [5]);
});

test('both forms of a WEKA session are the same trace', async () => {
  const session = { id: 's', block_size: 64, tool_tokens: 128, system_tokens: 0 };
  const request = { t: 0, type: 'n', model: 'm', out: 3, api_time: 2 };
  const agent = { type: 'subagent', t: 3, agent_id: 'x' };
  const main = [
    { ...request, in: 192 },
    { ...request, t: 20, think_time: 18, in: 200 },
  ];
  const inner = [
    { ...request, t: 0, in: 130 },
    { ...request, t: 4, in: 199 },
  ];
  const paths = [
    [1, 2, 3],
    [1, 2, 6],
    [4, 5],
    [4, 5, 7],
  ];
  const with_ = (field: (place: number) => object) => [
    { ...main[0], ...field(0) },
    { ...agent, requests: inner.map((one, i) => ({ ...one, ...field(2 + i) })) },
    { ...main[1], ...field(1) },
  ];
  const original = await read([{ ...session, requests: with_((i) => ({ hash_ids: paths[i] })) }]);
  const leaves = with_((i) => ({ leaf: paths[i].at(-1) }));
  const parents = [
    [4, 0],
    [6, 2],
    [7, 5],
  ];
  const compact = await read([{ ...session, n_ids: 7, parents, requests: leaves }]);
  assert.deepEqual(said(compact), said(original));
  const [spawned, joins] = [waitsOf(original, 2), waitsOf(original, 1)];
  assert.deepEqual(spawned, [{ on: 0, delayMs: 1000, relation: 'spawn', trigger: 'completion' }]);
  assert.deepEqual(joins, [
    { on: 0, delayMs: 18_000, relation: 'sequence', trigger: 'completion' },
    { on: 3, delayMs: 0, relation: 'join', trigger: 'completion' },
  ]);
});

test('half of the tools and system prompt is one for all WEKA sessions, or as much as is asked for', async () => {
  const request = { t: 0, type: 'n', in: 256, out: 1, hash_ids: [1, 2, 3, 4] };
  const rows = ['a', 'b'].map((id) => ({
    ...{ id, block_size: 64, tool_tokens: 200, system_tokens: 56, requests: [request] },
  }));
  const distinct = async (share?: number) =>
    (await read(rows, { sharedPrefixShare: share })).tree.nodeCount - 1;
  assert.equal(await distinct(), 6);
  assert.equal(await distinct(0), 8);
  assert.equal(await distinct(1), 4);
});

test('a Dynamo request trace becomes sessions with sub-agents, whatever its order', async () => {
  const row = (id: string, session: string, at: number, took: number, hashes: number[]) => ({
    schema: 'dynamo.request.trace.v1',
    event_type: 'request_end',
    agent_context: {
      session_id: session,
      ...(session === 'child' && { parent_session_id: 'root' }),
    },
    request: {
      request_id: id,
      output_tokens: 4,
      request_received_ms: 1_000_000 + at,
      total_time_ms: took,
      replay: {
        trace_block_size: 4,
        input_length: hashes.length * 4,
        input_sequence_hashes: hashes,
      },
    },
  });
  const trace = await read([
    { event_type: 'tool_end', tool: {} },
    row('r2', 'child', 50, 10, [9, 8]),
    row('r1', 'root', 0, 100, [1, 2]),
    row('r3', 'root', 150, 10, [1, 2, 3]),
  ]);
  assert.deepEqual(trace.sessionIds, ['root']);
  assert.deepEqual(trace.threadIds, ['main', 'child']);
  assert.deepEqual([...trace.startMs], [0, 150, 50]);
  assert.deepEqual(waitsOf(trace, 1), [
    { on: 0, delayMs: 50, relation: 'sequence', trigger: 'completion' },
  ]);
  assert.deepEqual(waitsOf(trace, 2), [
    { on: 0, delayMs: 50, relation: 'spawn', trigger: 'dispatch' },
  ]);
});

test('agentic Mooncake 1: threads that wait for each other are one session', async () => {
  const row = (id: string, session: string, more: object) => ({
    ...{ request_id: id, session_id: session, input_length: 512, output_length: 1, hash_ids: [1] },
    ...more,
  });
  const trace = await read([
    row('a1', 'a', { timestamp: 3, branches: ['b'] }),
    row('b1', 'b', { wait_for: ['a1'], delay: 1 }),
    row('a2', 'a', { wait_for: ['a1', 'b1'], delay: 2, tool_wait_ms: 5 }),
    row('c1', 'c', { timestamp: 9 }),
  ]);
  assert.deepEqual(trace.sessionIds, ['a', 'c']);
  assert.deepEqual(waitsOf(trace, 1), [
    { on: 0, delayMs: 7, relation: 'sequence', trigger: 'completion' },
    { on: 2, delayMs: 7, relation: 'join', trigger: 'completion' },
  ]);
  assert.deepEqual(waitsOf(trace, 2)[0].relation, 'spawn');
});

test('token counts: a longer prompt extends the one before, a shorter one starts over', async () => {
  const csv =
    'session,prompt_tokens,completion_tokens\ns,640,5\nt,64,1\ns,1000,5\ns,300,5\ns,x,5\n';
  const trace = await readText(csv);
  const [first, second, third] = promptsOf(trace);
  assert.deepEqual(second.slice(0, 10), first);
  assert.equal(
    third.some((block) => second.includes(block)),
    false,
  );
  assert.deepEqual([...trace.promptTokens], [640, 1000, 300, 64]);
  assert.equal(trace.about.malformed.count, 1);
  assert.match(trace.about.malformed.first[0].sentence, /prompt_tokens/);
});

test('conversations: each answer is a turn whose prompt is all before it, by a tokenizer or by characters', async () => {
  const trace = await readTrace(`${SAMPLES}/tau-bench-airline-10tasks/messages.jsonl.gz`);
  assert.equal(trace.sessionCount, 40);
  assert.match(trace.about.notes[0], /4 characters count as a token/);
  // Policy and tools begin all of them, so any two prompts share their first blocks.
  const prompts = promptsOf(trace);
  assert.deepEqual(prompts[0].slice(0, 50), prompts[trace.threadTurns[7]].slice(0, 50));
  const words = (list: readonly unknown[]) => list.flatMap((one) => JSON.stringify(one).split(' '));
  const counted = await readTrace(`${SAMPLES}/lmcache-mini-swe-agent-6/messages.jsonl.gz`, {
    conversations: {
      model: 'words',
      blockTokens: 10,
      prompt: (messages) => {
        const all = words(messages);
        const ids = Array.from({ length: Math.floor(all.length / 10) }, (_, i) =>
          all.slice(i * 10, (i + 1) * 10).join(' '),
        );
        return { tokens: all.length, ids };
      },
      answerTokens: (message) => words([message]).length,
    },
  });
  assert.deepEqual(counted.models, ['words']);
  assert.equal(counted.about.clock, 'session');
  const grown = promptsOf(counted);
  for (let turn = 1; turn < counted.turnCount; turn++) {
    if (counted.turnThread[turn] !== counted.turnThread[turn - 1]) continue;
    assert.deepEqual(grown[turn].slice(0, grown[turn - 1].length), grown[turn - 1]);
  }
});

test('every row that cannot be used is counted with its line, and the others are read', async () => {
  const good = { timestamp: 0, input_length: 512, output_length: 1, hash_ids: [1] };
  const wrong = [
    '{"timestamp": 0, "input_',
    JSON.stringify({ ...good, input_length: -1 }),
    JSON.stringify({ ...good, input_length: 1.5 }),
    JSON.stringify({ ...good, hash_ids: [1, null] }),
    JSON.stringify({ ...good, hash_ids: undefined }),
    JSON.stringify({ ...good, timestamp: 'noon' }),
    '[]',
    '7',
  ];
  const text = [JSON.stringify(good), ...wrong, '', JSON.stringify(good)].join('\n');
  const trace = await readText(text);
  assert.equal(trace.turnCount, 2);
  assert.equal(trace.about.malformed.count, wrong.length);
  const lines = trace.about.malformed.first.map(({ line }) => line);
  assert.deepEqual(
    lines,
    wrong.map((_, i) => i + 2),
  );
  for (const { sentence } of trace.about.malformed.first) assert.match(sentence, /^[A-Za-z].*\.$/);
});

test('cut and mangled files of any format are read as far as they go or refused in a sentence', async () => {
  const sources = [
    [...writeRecording(generated(6))],
    [...writeAgenticMooncake(generated(6), { scope: 'local' })],
    [...writeMooncake(generated(6))],
  ].map((lines) => lines.slice(0, 12).join('\n'));
  const run = fc.asyncProperty(
    fc.constantFrom(...sources),
    fc.nat(),
    fc.nat(),
    fc.constantFrom('', '"', '}', '-1', 'null', '\u0000'),
    async (source, from, length, put) => {
      const at = from % source.length;
      const text = source.slice(0, at) + put + source.slice(at + (length % 60));
      try {
        const trace = await readText(text);
        assert.ok(trace.turnCount > 0);
        assert.ok(trace.leaf.every((leaf) => leaf < trace.tree.nodeCount));
      } catch (error) {
        assert.ok(error instanceof TraceError, String(error));
      }
    },
  );
  await fc.assert(run, { numRuns: 150 });
});

test('what is no trace is refused in one sentence', async () => {
  const refused = (sentence: RegExp) => (error: unknown) =>
    error instanceof TraceError && sentence.test(error.message);
  await assert.rejects(readTrace(join(FOLDER, 'none')), refused(/There is no trace at/));
  await assert.rejects(readText(''), refused(/looks like no format/));
  await assert.rejects(readText('hello\nworld'), refused(/--format/));
  await assert.rejects(read([{ a: 1 }], { format: 'wrong' }), refused(/no format 'wrong'/));
  await assert.rejects(read([{ a: 1 }], { format: 'weka' }), refused(/line 1: requests must be/));
  const cut = join(FOLDER, 'cut.jsonl.gz');
  writeFileSync(cut, gzipSync(Buffer.from('{"a":1}\n'.repeat(9999))).subarray(0, 60));
  await assert.rejects(readTrace(cut, { format: 'mooncake' }), refused(/is damaged/));
  await assert.rejects(
    readTrace(FOLDER),
    refused(/no JSON documents; name a file of it: .*\.jsonl/),
  );
});

let files = 0;

async function readText(text: string, flags: ReadFlags = {}): Promise<Trace> {
  const path = join(FOLDER, `${files++}`);
  writeFileSync(path, text);
  return readTrace(path, flags);
}

function read(rows: readonly object[], flags: ReadFlags = {}): Promise<Trace> {
  return readText(rows.map((row) => JSON.stringify(row)).join('\n'), flags);
}

function written(lines: Iterable<string>, flags: ReadFlags = {}): Promise<Trace> {
  return readText([...lines].join('\n'), flags);
}

function generated(seed: number, more: Partial<typeof CODING_AGENTS> = {}): Trace {
  const subAgents = CODING_AGENTS.subAgents && { ...CODING_AGENTS.subAgents, share: 0.1 };
  const turns = { kind: 'weibull' as const, scale: 6, shape: 1 };
  return generateSessions(
    { ...CODING_AGENTS, sessions: 6, subAgents, turns, blockTokens: 512, ...more },
    seed,
  );
}

/** All that a trace says, with blocks named by when they are met first. */
function said(trace: Trace) {
  const names = new Map([[0, 0]]);
  const parents: number[] = [];
  const leaves = Array.from(trace.leaf, (leaf) => {
    const unnamed: number[] = [];
    for (let node = leaf; !names.has(node); node = trace.tree.parent[node]) unnamed.push(node);
    for (const node of unnamed.reverse()) {
      parents.push(names.get(trace.tree.parent[node]) as number);
      names.set(node, names.size);
    }
    return names.get(leaf);
  });
  const { about, tree, leaf, ...columns } = trace;
  return { ...columns, leaves, parents };
}

function promptsOf({ tree, leaf }: Trace): number[][] {
  const path = new Uint32Array(tree.nodeCount);
  return Array.from(leaf, (one) => [...path.subarray(0, pathOf(tree, one, path))]);
}

function waitsOf({ waits }: Trace, turn: number) {
  const found: { on: number; delayMs: number; relation: string; trigger: string }[] = [];
  for (let i = waits.begin[turn]; i < waits.begin[turn + 1]; i++) {
    const trigger = waits.onDispatch[i] === 1 ? 'dispatch' : 'completion';
    const relation = RELATIONS[waits.relation[i]];
    found.push({ on: waits.on[i], delayMs: waits.delayMs[i], relation, trigger });
  }
  return found;
}

function sharedBlocksByPair(trace: Trace) {
  const prompts = promptsOf(trace);
  const session = (turn: number) => trace.threadSession[trace.turnThread[turn]];
  const pairs = new Map<string, { blocks: number; isOneSession: boolean }>();
  for (let a = 0; a < prompts.length; a++) {
    for (let b = 0; b < a; b++) {
      let blocks = 0;
      while (blocks < prompts[a].length && prompts[a][blocks] === prompts[b][blocks]) blocks++;
      pairs.set(`${b} ${a}`, { blocks, isOneSession: session(a) === session(b) });
    }
  }
  return pairs;
}
