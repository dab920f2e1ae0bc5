/** Says what failed and what was skipped, with reasons; counts the rest. Read by test/run.ts. */
import type { TestEvent } from 'node:test/reporters';

export default async function* reporter(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  for await (const event of events) {
    if (event.type === 'test:fail') {
      totals.failed++;
      const { name, file, details } = event.data;
      const text = reasonOf(details.error.cause ?? details.error);
      yield `✗ ${name}${file === undefined ? '' : ` (${file})`}\n${text.replace(/^/gm, '    ')}\n`;
    } else if (event.type === 'test:pass') {
      const { name, skip } = event.data;
      if (skip === undefined || skip === false) totals.passed++;
      else {
        totals.skipped++;
        yield `- skipped: ${name} (${skip === true || skip === '' ? 'no reason given' : skip})\n`;
      }
    } else if (event.type === 'test:stderr') {
      yield event.data.message;
    }
  }
  yield `#totals ${JSON.stringify(totals)}\n`;
}

/** The error and what caused it: a failed property names its counterexample, its cause the assertion. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.stack ?? error.message;
  return error.cause === undefined ? own : `${own}\ncaused by ${reasonOf(error.cause)}`;
}
