/** Coding agents, each playing the same chores with its own tools; prints what came of it. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { FOLDER, type Stack, scripted, startUp } from '../e2e/stack.ts';
import type { CodingAgent } from './agents/coding-agent.ts';
import { installed } from './agents/installed.ts';
import { runAgent } from './agents/run.ts';
import { Chores, END, ERRAND_TURNS, TURNS } from './chores.ts';
import { Outside } from './outside.ts';
import { SessionTable } from './session-table.ts';
import { assertThreads, ThreadReader } from './threads.ts';

interface Rig {
  stack: Stack;
  outside: Outside;
  reader: ThreadReader;
  table: SessionTable;
}

/** A test for each, one after the other, through one gateway with two simulated workers. */
export function playChores(title: string, agents: readonly CodingAgent[]): void {
  const chores = new Map(agents.map((agent) => [agent, choresOf(agent)]));
  const table = new SessionTable(title);
  let rig: Rig;
  before(async () => {
    const rules = [...chores.values()].flatMap((one) => one.rules());
    const stack = await startUp([...scripted(rules), '--workers=2']);
    rig = { stack, outside: await Outside.open(), reader: new ThreadReader(stack.url), table };
  });
  after(() => {
    rig.outside.close();
    table.print();
  });
  for (const [agent, its] of chores) {
    const found = installed(agent);
    const skip = found.kind === 'missing' ? found.reason : false;
    test(`${agent.name}: a session of ${TURNS} turns with its own tools`, { skip }, async () => {
      assert.ok(found.kind === 'installed');
      await play(agent, { ...found, ...rig, chores: its });
    });
  }
}

async function play(
  agent: CodingAgent,
  given: Rig & { modules: string; version: string; chores: Chores },
): Promise<void> {
  const { stack, outside, reader, table, modules, version, chores } = given;
  await reader.read(); // What is left of a session that failed.
  const home = join(FOLDER, agent.id, 'home');
  mkdirSync(home, { recursive: true });
  const run = await runAgent(agent, {
    modules,
    prompt: chores.prompt,
    place: { url: stack.url, model: 'demo', home, folder: chores.folder },
    outside: outside.environment,
  });
  const threads = await reader.read();
  const { seconds } = run;
  table.add({ client: agent.name, version, threads, seconds, refused: outside.take() });
  const told = `${run.stdout.slice(-2_000)}\n${run.stderr.slice(-2_000)}`;
  assert.equal(run.code, 0, told);
  assert.ok(run.stdout.includes(END), told);
  chores.assertDone();
  assertThreads(threads, turnsOf(agent));
}

function turnsOf({ toolbox, sideCalls, warmUps = 0 }: CodingAgent): number[] {
  const errand = toolbox.delegate === undefined ? [] : [warmUps + ERRAND_TURNS];
  return [warmUps + TURNS, ...errand, ...sideCalls.map(() => 1)];
}

function choresOf({ id, toolbox, sideCalls }: CodingAgent): Chores {
  return new Chores({ id, folder: join(FOLDER, id, 'work'), tools: toolbox, sideCalls });
}
