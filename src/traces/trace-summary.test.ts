import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { interleave } from './interleave.ts';
import { readTrace } from './read-trace.ts';
import { summarySvg } from './summary-svg.ts';
import { summaryText } from './summary-text.ts';
import type { Trace } from './trace.ts';
import { summarize } from './trace-summary.ts';

const MOONCAKE =
  'test/fixtures/traces/mooncake-conversation-10min/conversation_trace_first600s.jsonl.gz';
const CLAUDE_CODE = 'test/fixtures/traces/claude-code-weka-60/traces.compact.jsonl.gz';
const OPTIONS = { live: 16, thinkMsMax: 60_000, contextTokensMax: undefined };
/** A tenth of a point. */
const TOLERANCE = 0.001;

test('ideal hit ratio of the Mooncake sample equals one counted with a set of ids', async () => {
  const { summary } = summarize(await readTrace(MOONCAKE), OPTIONS);
  const twin = setOfIds(
    rowsOf(MOONCAKE).map((row) => ({
      ids: row.hash_ids as number[],
      tokens: row.input_length as number,
      blockTokens: 512,
    })),
  );
  close(summary.hit.blocks, twin.blocks);
  close(summary.hit.tokens, twin.tokens);
  assert.equal(summary.blocks.distinct, twin.distinct);
  assert.equal(summary.hit.ownTokens, 0);
});

test('ideal hit ratio of the Claude Code sample equals one counted with a set of ids', async () => {
  const { summary } = summarize(await readTrace(CLAUDE_CODE, { sharedPrefixShare: 0 }), OPTIONS);
  const twin = setOfIds(rowsOf(CLAUDE_CODE).flatMap(requestsOf));
  close(summary.hit.blocks, twin.blocks);
  close(summary.hit.tokens, twin.tokens);
  close(summary.hit.ownTokens, twin.tokens);
  assert.equal(summary.blocks.distinct, twin.distinct);
});

test('what sessions share adds to the ideal, never to what they find of their own', async () => {
  const of = async (sharedPrefixShare: number) =>
    summarize(await readTrace(CLAUDE_CODE, { sharedPrefixShare }), OPTIONS).summary;
  const [none, half, all] = [await of(0), await of(0.5), await of(1)];
  assert.ok(none.hit.tokens < half.hit.tokens && half.hit.tokens < all.hit.tokens);
  close(none.hit.ownTokens, all.hit.ownTokens);
  // 710 sessions with half shared: 96.2 % published; these 60 are a part of them.
  assert.ok(Math.abs(half.hit.tokens - 0.962) < 0.01);
});

test('the LRU curve rises to the ideal, and a context limit ends threads', async () => {
  const trace = await readTrace(CLAUDE_CODE);
  const { summary } = summarize(trace, { ...OPTIONS, contextTokensMax: 128_000 });
  for (const [i, point] of summary.lru.entries()) {
    assert.ok(i === 0 || point.hit >= summary.lru[i - 1].hit);
  }
  close(summary.lru.at(-1)?.hit ?? 0, summary.hit.tokens);
  assert.ok((summary.spreads.promptTokens?.max ?? 0) <= 128_000);
  assert.equal(summary.turns + summary.leftOut.longTurns, trace.turnCount);
  assert.ok(summary.leftOut.longTurns > 0 && summary.leftOut.circularTurns === 0);
});

test('at most so many sessions run at once, and each keeps its own order', async () => {
  const trace = await readTrace(CLAUDE_CODE);
  const sessions = trace.sessionIds.map((_, i) => i);
  for (const live of [1, 4]) {
    const order = interleave(trace, { live, thinkMsMax: 60_000, sessions });
    assert.equal(new Set(order).size, trace.turnCount);
    assert.equal(mostOpen(trace, order), live);
  }
});

test('text and plots say it of any trace, also of one with a single turn', async () => {
  for (const trace of [await readTrace(MOONCAKE), await readTrace(CLAUDE_CODE), oneTurn()]) {
    const found = summarize(trace, OPTIONS);
    const text = summaryText(found.summary);
    const svg = summarySvg(found);
    for (const word of ['NaN', 'undefined', 'Infinity']) {
      assert.ok(!text.includes(word), word);
      assert.ok(!svg.includes(word), word);
    }
    assert.match(text, /Ideal hit ratio/);
    assert.equal(svg.match(/<g /g)?.length, svg.match(/<\/g>/g)?.length);
    assert.ok(!/(href|src|url\()/.test(svg));
  }
});

function close(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) <= TOLERANCE, `${actual}, by the twin ${expected}`);
}

interface Request {
  ids: number[];
  tokens: number;
  blockTokens: number;
}

/** The independent count: leading ids that were there before, in a set, in the order of the file. */
function setOfIds(requests: readonly Request[]) {
  const seen = new Set<number>();
  let [blocks, foundBlocks, tokens, foundTokens] = [0, 0, 0, 0];
  for (const { ids, tokens: prompt, blockTokens } of requests) {
    let found = 0;
    while (found < ids.length && seen.has(ids[found])) found++;
    for (const id of ids) seen.add(id);
    blocks += ids.length;
    foundBlocks += found;
    tokens += prompt;
    foundTokens += Math.min(found * blockTokens, prompt);
  }
  return { blocks: foundBlocks / blocks, tokens: foundTokens / tokens, distinct: seen.size };
}

function rowsOf(path: string): Record<string, unknown>[] {
  const text = gunzipSync(readFileSync(path)).toString('utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Paths from leaves, sub-agents' after their parents', as the sample's README says. */
function requestsOf(session: Record<string, unknown>, place: number): Request[] {
  // Ids are local: each session gets numbers of its own.
  const base = place * 1_000_000;
  const parents = new Map(session.parents as [number, number][]);
  const own: { in: number; leaf: number }[] = [];
  const nested: { in: number; leaf: number }[] = [];
  for (const entry of session.requests as { type: string; in: number; leaf: number }[]) {
    if (entry.type === 'subagent') nested.push(...(entry as never as { requests: [] }).requests);
    else own.push(entry);
  }
  return [...own, ...nested].map((request) => {
    const ids: number[] = [];
    for (let id = request.leaf; id > 0; id = parents.get(id) ?? id - 1) ids.push(base + id);
    ids.reverse();
    return { ids, tokens: request.in, blockTokens: 64 };
  });
}

function mostOpen(
  { turnThread, threadSession, sessionThreads, threadTurns }: Trace,
  order: Uint32Array,
) {
  const left = new Map<number, number>();
  let most = 0;
  for (const turn of order) {
    const session = threadSession[turnThread[turn]];
    const all = threadTurns[sessionThreads[session + 1]] - threadTurns[sessionThreads[session]];
    const now = (left.get(session) ?? all) - 1;
    left.set(session, now);
    most = Math.max(most, left.size);
    if (now === 0) left.delete(session);
  }
  return most;
}

function oneTurn(): Trace {
  const one = Uint32Array.of(1);
  return {
    about: { format: 'test', clock: 'none', notes: [], malformed: { count: 0, first: [] } },
    ...{ blockTokens: 16, models: ['m'], sessionCount: 1, threadCount: 1, turnCount: 1 },
    ...{ sessionIds: ['s'], sessionThreads: Uint32Array.of(0, 1), threadIds: ['main'] },
    ...{ threadSession: Uint32Array.of(0), threadTurns: Uint32Array.of(0, 1) },
    ...{ turnThread: Uint32Array.of(0), promptTokens: one, outputTokens: one, leaf: one },
    ...{
      startMs: new Float64Array(1),
      serviceMs: new Float64Array(1),
      turnEnd: new Uint8Array(1),
      turnModel: new Uint16Array(1),
    },
    waits: {
      begin: new Uint32Array(2),
      on: new Uint32Array(),
      delayMs: new Float64Array(),
      relation: new Uint8Array(),
      onDispatch: new Uint8Array(),
    },
    tree: { nodeCount: 2, parent: new Uint32Array(2), depth: Uint32Array.of(0, 1) },
  };
}
