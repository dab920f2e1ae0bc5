/**
 * Recorded agent sessions, live, with reasoning that their client does not send back: whether the next prompt
 * is ready when it comes. Each session runs twice in the same stack, with `speculative_prefill` and without,
 * in turn and under a salt of its own, so that neither finds what the other computed. Figures are printed:
 *
 *   STATOR_AHEAD_SESSIONS=8 STATOR_AHEAD_CALLS=8 STATOR_AHEAD_GAP_MS=2000 \\
 *     node --import tsx test/run.ts e2e prefill-ahead
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { Prng } from '../../src/base/prng.ts';
import { forcedAnswer, readSessions, type Session } from '../../src/bench/sessions.ts';
import { knownModel } from '../../src/cli/load-model.ts';
import { Config } from '../../src/model/config.ts';
import type { Receipt } from '../../src/model/receipt.ts';
import type { WorkerCard } from '../../src/model/worker-card.ts';
import type { Tokens } from '../../src/ports.ts';
import { get, openStream } from './client.ts';
import { demoModel, procFile, type Stack, startUp, until } from './stack.ts';

const TRACES = join(import.meta.dirname, '../fixtures/traces/tau-bench-airline-10tasks');
const SESSIONS = Number(process.env.STATOR_AHEAD_SESSIONS ?? 2);
const CALLS_MAX = Number(process.env.STATOR_AHEAD_CALLS ?? 5);
/** How long the tools run. */
const GAP_MS = Number(process.env.STATOR_AHEAD_GAP_MS ?? 500);
const REASONING_WORDS = 120;
const FLAGS = ['--memory=2GB', '--slots=4', '--disk=0', '--allow-forced-output'];
const WORDS =
  'the flight the customer wants is not in the policy so I should look it up first'.split(' ');

type Mode = 'on' | 'off';

interface Turn {
  mode: Mode;
  number: number;
  receipt: Receipt;
  /** Of the engine's process until the first token: what it computed, whatever else the machine does. */
  engineMs: number;
}

test('with reasoning that is not sent back, the next prompt is ready; nothing is wasted', async () => {
  const stack = await startUp([...FLAGS, '--workers=1']);
  const turns = await play(stack, { live: 1, gapMs: GAP_MS, reasons: true });
  const blocks = await blocksOf(stack);
  const followUps = turns.filter(({ number }) => number > 0);
  const on = followUps.filter(({ mode }) => mode === 'on');
  const off = followUps.filter(({ mode }) => mode === 'off');
  print('mild load', on, off, blocks);
  assert.ok(blocks.computed > 0, 'something is gained');
  assert.ok(blocks.used >= 0.95 * (blocks.used + blocks.wasted), 'what was computed is used');
  const spared = sum(off, computedTokens) - sum(on, computedTokens);
  const ready = sum(on, ({ receipt }) => receipt.prefetched?.usedTokens ?? 0);
  assert.ok(spared >= 0.9 * ready, `${spared} tokens less to compute, ${ready} were ready`);
  assert.ok(off.every(({ receipt }) => receipt.prefetched === null));
  for (const { receipt } of on) {
    if (receipt.prefetched === null) continue;
    assert.ok(receipt.prefetched.usedTokens <= (receipt.actual.cachedTokens ?? 0));
  }
  assert.equal(await stack.stop(), 0);
});

test('where the next prompt goes on from what was computed, nothing is computed ahead', async () => {
  const stack = await startUp([...FLAGS, '--workers=1']);
  await play(stack, { live: 2, gapMs: 50, reasons: false });
  assert.equal((await blocksOf(stack)).computed, 0);
  assert.equal(await stack.stop(), 0);
});

test('where engines are busy all the time, nobody waits for it', async () => {
  const stack = await startUp([...FLAGS, '--workers=1']);
  const turns = await play(stack, { live: 8, gapMs: 0, reasons: true });
  const on = turns.filter(({ mode }) => mode === 'on');
  const off = turns.filter(({ mode }) => mode === 'off');
  const blocks = await blocksOf(stack);
  print('full load', on, off, blocks);
  assert.ok(blocks.used >= 0.95 * (blocks.used + blocks.wasted), 'what was computed is used');
  assert.equal(await stack.stop(), 0);
});

/** Each session in both modes; `live` of them at once, each in its turn. */
async function play(
  stack: Stack,
  given: { live: number; gapMs: number; reasons: boolean },
): Promise<Turn[]> {
  const { tokens } = await demoTokens();
  const all = readSessions(TRACES);
  const sessions = Array.from({ length: SESSIONS }, (_, i) =>
    must(all[Math.floor((i * all.length) / SESSIONS)], 'there are as many'),
  );
  const runs = sessions.flatMap((session, i) => {
    const modes: Mode[] = i % 2 === 0 ? ['on', 'off'] : ['off', 'on'];
    return modes.map((mode) => ({ session, mode }));
  });
  const turns: Turn[] = [];
  const lane = async () => {
    for (let run = runs.shift(); run !== undefined; run = runs.shift()) {
      turns.push(...(await playSession(stack, { ...run, ...given, tokens })));
    }
  };
  await Promise.all(Array.from({ length: given.live }, lane));
  return turns;
}

async function playSession(
  stack: Stack,
  given: { session: Session; mode: Mode; tokens: Tokens; gapMs: number; reasons: boolean },
): Promise<Turn[]> {
  const { session, mode, tokens, gapMs, reasons } = given;
  const turns: Turn[] = [];
  for (const [number, call] of session.calls.slice(0, CALLS_MAX).entries()) {
    const forced = forcedAnswer(session, call, tokens);
    const body = {
      messages: call.messages,
      tools: session.tools,
      nvext: {
        cache_salt: `${session.id} ${mode}`,
        forced_output: reasons ? thought(number) + forced : forced,
        agent_hints: { speculative_prefill: mode === 'on' },
      },
    };
    const headers = { 'x-stator-session-id': `${session.id} ${mode}` };
    const turn = await ask(stack, body, headers);
    assert.equal(turn.reasoned, reasons);
    turns.push({ mode, number, ...turn });
    await new Promise((resolve) => setTimeout(resolve, gapMs));
  }
  return turns;
}

function thought(seed: number): string {
  const rng = new Prng(seed);
  const words = Array.from({ length: REASONING_WORDS }, () => rng.pick(WORDS));
  return `<think>\n${words.join(' ')}\n</think>\n\n`;
}

async function ask(stack: Stack, body: object, headers: Record<string, string>) {
  const pid = await workerPid(stack);
  const beforeMs = cpuMs(pid);
  const given = { model: 'demo', stream: true, ...body };
  const stream = await openStream(`${stack.url}/v1/chat/completions`, given, headers);
  assert.equal(stream.status, 200);
  let engineMs: number | undefined;
  let reasoned = false;
  let last = '';
  for await (const { data } of stream.events) {
    last = data;
    if (data === '[DONE]') continue;
    const { choices } = JSON.parse(data) as {
      choices?: { delta: { content?: string; reasoning_content?: string; tool_calls?: unknown } }[];
    };
    const delta = choices?.[0]?.delta;
    reasoned ||= delta?.reasoning_content !== undefined;
    const isSaid = delta?.content || delta?.reasoning_content || delta?.tool_calls;
    if (isSaid) engineMs ??= cpuMs(pid) - beforeMs;
  }
  assert.equal(last, '[DONE]');
  const receipt = await receiptOf(stack, stream.headers);
  return { receipt, reasoned, engineMs: engineMs ?? Number.NaN };
}

async function workerPid(stack: Stack): Promise<number> {
  const { workers } = await stack.snapshot();
  return (workers[0].about.card as WorkerCard).pid;
}

/** That all threads of a process have used so far; 0 where the system does not tell. */
function cpuMs(pid: number): number {
  const folder = `/proc/${pid}/task`;
  if (!existsSync(folder)) return 0;
  let ns = 0;
  for (const task of readdirSync(folder))
    ns += Number(procFile(pid, `task/${task}/schedstat`).split(' ')[0]);
  return ns / 1e6;
}

async function receiptOf(stack: Stack, headers: Record<string, unknown>): Promise<Receipt> {
  const url = `${stack.url}/stator/v1/receipts/${headers['x-stator-receipt']}`;
  let receipt: Receipt | undefined;
  await until('the receipt is whole', async () => {
    receipt = (await get<Receipt>(url)).body;
    return receipt.actual.status !== 'running';
  });
  assert.ok(receipt !== undefined);
  return receipt;
}

async function blocksOf(stack: Stack) {
  const { text } = await get(`${stack.url}/metrics`);
  const read = (result: string) => {
    const name = `stator_speculative_blocks_total{result="${result}"} `;
    const line = text.split('\n').find((one) => one.startsWith(name));
    return Number(line?.slice(name.length) ?? 0);
  };
  const prefills = text
    .split('\n')
    .filter((line) => line.startsWith('stator_speculative_prefills_total{'))
    .map((line) => line.replace(/.*result="(\w+)"} /, '$1 '));
  return {
    ...{ computed: read('computed'), used: read('used') },
    wasted: read('wasted'),
    prefills,
  };
}

function print(
  name: string,
  on: readonly Turn[],
  off: readonly Turn[],
  blocks: Awaited<ReturnType<typeof blocksOf>>,
): void {
  const pairs = on.flatMap((ahead): [Turn, Turn][] => {
    const without = off.find((one) => one.number === ahead.number && isPair(one, ahead));
    return without === undefined ? [] : [[ahead, without]];
  });
  const figures = (of: readonly [Turn, Turn][]) => {
    const [a, b] = [of.map(([ahead]) => ahead), of.map(([, without]) => without)];
    const ms = (turns: readonly Turn[]) => median(turns.map(ttftMs));
    const tokens = (turns: readonly Turn[]) => median(turns.map(computedTokens));
    const engine = (turns: readonly Turn[]) => median(turns.map(({ engineMs }) => engineMs));
    const engineRatio = median(of.map(([ahead, without]) => ahead.engineMs / without.engineMs));
    const ratio = median(of.map(([ahead, without]) => ttftMs(ahead) / ttftMs(without)));
    return (
      `${of.length} pairs: TTFT p50 ${ms(a).toFixed(1)} ms ahead, ${ms(b).toFixed(1)} without ` +
      `(${(ms(a) / ms(b)).toFixed(2)}, of pairs ${ratio.toFixed(2)}), ` +
      `p50 of tokens left to compute ${tokens(a)} and ${tokens(b)}, of the engine's CPU time ` +
      `until then ${engine(a).toFixed(1)} ms and ${engine(b).toFixed(1)} ` +
      `(${(engine(a) / engine(b)).toFixed(2)}, of pairs ${engineRatio.toFixed(2)})`
    );
  };
  const ready = pairs.filter(([{ receipt }]) => receipt.prefetched !== null);
  const { computed, used, wasted, prefills } = blocks;
  console.log(`  ${name}, all turns, ${figures(pairs)}`);
  if (ready.length > 0) console.log(`  ${name}, turns that were ready, ${figures(ready)}`);
  console.log(
    `  ${name}, ${computed} blocks computed ahead, ${used} used, ${wasted} not; ${prefills.join(', ')}`,
  );
}

/** The same session, the other way. */
function isPair(a: Turn, b: Turn): boolean {
  const name = ({ receipt }: Turn) => receipt.session?.replace(/ \w+$/, '');
  return name(a) === name(b);
}

function ttftMs({ receipt }: Turn): number {
  return (receipt.actual.ttftUs ?? 0) / 1000;
}

function computedTokens({ receipt }: Turn): number {
  return (receipt.promptTokens ?? 0) - (receipt.actual.cachedTokens ?? 0);
}

function sum(turns: readonly Turn[], of: (turn: Turn) => number): number {
  return turns.reduce((total, turn) => total + of(turn), 0);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

async function demoTokens(): Promise<{ tokens: Tokens }> {
  const { limits } = Config.parse({});
  return knownModel(await demoModel(), { blockTokens: 16, limits });
}
