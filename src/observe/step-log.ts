/**
 * A runner whose steps are written to a file, a line each, for `stator sim --fit`. Written before the step's
 * tokens are handed out: whoever has an answer finds all its steps in the file.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { StepPlan, StepResult } from '../model/step.ts';
import type { StepLogHead, StepLogLine } from '../model/step-log.ts';
import type { Runner } from '../ports.ts';

/** Some 130 bytes each; what comes later is not written. */
const LINES_MAX = 2_000_000;

/** Throws where the file cannot be written; it is begun anew. */
export function logSteps(runner: Runner, file: string, head: StepLogHead): Runner {
  const fd = openSync(file, 'w', 0o600);
  writeSync(fd, `${JSON.stringify(head)}\n`);
  let lines = 0;
  /** While a result is handed on: the next step is planned within. */
  let handingSinceMs: number | undefined;
  return {
    step(plan, done) {
      const startMs = handingSinceMs ?? performance.now();
      runner.step(plan, (outcome) => {
        const endMs = performance.now();
        if (!(outcome instanceof Error) && lines++ < LINES_MAX) {
          const line = lineOf(plan, outcome, { us: 1000 * (endMs - startMs), ...head });
          writeSync(fd, `${JSON.stringify(line)}\n`);
        }
        handingSinceMs = endMs;
        done(outcome);
        handingSinceMs = undefined;
      });
    },
    listen: (on) => runner.listen(on),
    close: async () => {
      await runner.close();
      closeSync(fd);
    },
  };
}

function lineOf(
  plan: StepPlan,
  { elapsedUs }: StepResult,
  { us, blockTokens }: { us: number; blockTokens: number },
): StepLogLine {
  const line = { promptTokens: 0, tokenContext: 0, decodes: 0, decodeContext: 0, fetchedTokens: 0 };
  for (const { tokens, position } of plan.slices) {
    const context = tokens.length * (position + tokens.length / 2);
    if (tokens.length === 1) {
      line.decodes++;
      line.decodeContext += context;
    } else {
      line.promptTokens += tokens.length;
      line.tokenContext += context;
    }
  }
  for (const move of plan.moves) {
    if (move.kind === 'copyIn') line.fetchedTokens += move.handles.length * blockTokens;
  }
  const hasMoves = line.fetchedTokens > 0;
  // Without a copy the rest is the way there and back, which each step has.
  const moveUs = hasMoves ? Math.max(0, Math.round(us - elapsedUs)) : 0;
  return { ...line, moveUs, us: Math.round(us) };
}
