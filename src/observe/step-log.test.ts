import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Slice, StepPlan, StepResult } from '../model/step.ts';
import type { StepLogLine } from '../model/step-log.ts';
import type { Runner } from '../ports.ts';
import { logSteps } from './step-log.ts';

const HEAD = { stepLog: 1, model: 'm', slots: 4, blockTokens: 16 } as const;

test('a step is in the file, whole, before its outcome is handed out', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'stator-test-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'steps.jsonl');
  const inner = new FakeRunner();
  const runner = logSteps(inner, file, HEAD);
  const mixed: StepPlan = {
    moves: [
      { kind: 'copyIn', slot: 0, handles: [1, 2, 3] },
      { kind: 'copyOut', slot: 1, indexes: [0], handles: [4] },
    ],
    slices: [slice(100, 64), slice(500, 1), slice(700, 1)],
  };
  let seen: StepLogLine[] = [];
  let followed = false;
  runner.step(mixed, (outcome) => {
    assert.ok(!(outcome instanceof Error));
    seen = linesOf(file);
    // The next one is ordered within, as engines do.
    runner.step({ moves: [], slices: [slice(164, 1)] }, () => {
      followed = true;
    });
  });
  inner.finish({ samples: [], elapsedUs: 0 });
  assert.equal(seen.length, 1);
  const { us, moveUs, ...work } = seen[0];
  assert.deepEqual(work, {
    promptTokens: 64,
    tokenContext: 64 * 132,
    decodes: 2,
    decodeContext: 1201,
    fetchedTokens: 48,
  });
  assert.ok(us >= 0 && moveUs <= us);
  inner.finish({ samples: [], elapsedUs: 0 });
  assert.ok(followed);
  const second = linesOf(file)[1];
  // What is no copy is the step's own.
  assert.deepEqual([second.decodes, second.moveUs], [1, 0]);
});

test('a step that failed took no time that says anything; its error is handed on', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'stator-test-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'steps.jsonl');
  const inner = new FakeRunner();
  let heard: unknown;
  logSteps(inner, file, HEAD).step({ moves: [], slices: [] }, (outcome) => {
    heard = outcome;
  });
  inner.finish(new Error('lost'));
  assert.ok(heard instanceof Error);
  assert.deepEqual(linesOf(file), []);
  assert.equal(readFileSync(file, 'utf8'), `${JSON.stringify(HEAD)}\n`);
});

class FakeRunner implements Runner {
  #done: ((outcome: StepResult | Error) => void) | undefined;

  step(_plan: StepPlan, done: (outcome: StepResult | Error) => void): void {
    this.#done = done;
  }

  finish(outcome: StepResult | Error): void {
    this.#done?.(outcome);
  }

  listen(): void {}

  async close(): Promise<void> {}
}

function slice(position: number, count: number): Slice {
  return { slot: 0, sequence: 1, tokens: new Uint32Array(count), position, sample: true };
}

function linesOf(file: string): StepLogLine[] {
  const [, ...lines] = readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as StepLogLine);
}
