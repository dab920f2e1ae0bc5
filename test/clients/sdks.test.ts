/**
 * Agents that users build with the official SDKs, through a gateway with two simulated workers: each
 * plays the same chores with the SDK's own loop. All have one system prompt, and none names its session.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { FOLDER, inTime, type Stack, scripted, startUp } from '../e2e/stack.ts';
import { Chores, END, ERRAND_TURNS, TURNS } from './chores.ts';
import { SDKS } from './sdks/all.ts';
import type { SdkClient } from './sdks/sdk-client.ts';
import { WORK_CALLS } from './sdks/workbench.ts';
import { SessionTable } from './session-table.ts';
import { assertThreads, ThreadReader } from './threads.ts';

const WORK_MS_MAX = 60_000;
/** Of the length that agents' prompts have. */
const INSTRUCTIONS = `You work on this project with four tools.\n\n${readFileSync('ARCHITECTURE.md', 'utf8')}`;

/** For each SDK chores of its own, and others for when all work at once. */
const alone = choresOf('');
const atOnce = choresOf('-at-once');
const table = new SessionTable('SDKs');

let stack: Stack;
let reader: ThreadReader;
before(async () => {
  const rules = [...alone.values(), ...atOnce.values()].flatMap((one) => one.rules());
  stack = await startUp([...scripted(rules), '--workers=2']);
  reader = new ThreadReader(stack.url);
});
after(() => table.print());

for (const [sdk, chores] of alone) {
  test(`${sdk.name}: a session of ${TURNS} turns`, async () => {
    await reader.read(); // What is left of a session that failed.
    const { seconds } = await work(sdk, chores);
    const threads = await reader.read();
    table.add({ client: sdk.name, version: versionOf(sdk.package), threads, seconds, refused: [] });
    assertThreads(threads, turnsOf(sdk));
  });
}

test('all at once, with one system prompt: as many sessions, each in its own thread', async () => {
  await reader.read();
  const times = await Promise.all([...atOnce].map(([sdk, chores]) => work(sdk, chores)));
  const threads = await reader.read();
  const seconds = Math.max(...times.map((one) => one.seconds));
  table.add({ client: 'all at once', version: '', threads, seconds, refused: [] });
  assertThreads(
    threads,
    SDKS.flatMap(turnsOf).sort((a, b) => b - a),
  );
});

async function work(sdk: SdkClient, chores: Chores): Promise<{ seconds: number }> {
  const startMs = Date.now();
  const { prompt } = chores;
  const task = { url: stack.url, model: 'demo', instructions: INSTRUCTIONS, prompt };
  assert.equal(await inTime(sdk.name, sdk.work(task), WORK_MS_MAX), END);
  chores.assertDone();
  return { seconds: (Date.now() - startMs) / 1000 };
}

function turnsOf({ delegate }: SdkClient): number[] {
  return delegate === undefined ? [TURNS] : [TURNS, ERRAND_TURNS];
}

function choresOf(suffix: string): Map<SdkClient, Chores> {
  return new Map(
    SDKS.map((sdk) => {
      const id = `${sdk.id}${suffix}`;
      const tools = { ...WORK_CALLS, delegate: sdk.delegate };
      return [sdk, new Chores({ id, folder: join(FOLDER, id), tools })];
    }),
  );
}

function versionOf(name: string): string {
  const path = join(import.meta.dirname, 'node_modules', name, 'package.json');
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}
