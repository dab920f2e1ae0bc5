import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Note } from '../ports.ts';
import { journalLine } from './journal.ts';
import { Log } from './log.ts';

const SECRET = 'sk-secret-0123456789';

const arrived = {
  kind: 'arrived',
  request: {
    id: 'r0' as RequestId,
    tenant: SECRET as TenantId,
    model: 'demo',
    thread: SECRET as ThreadId,
    promptTokens: 40,
    hashes: BigUint64Array.of(0xfedc_ba98_7654_3210n, 1n),
    blockTokens: 16,
    outputTokensMax: 9,
    priority: 0,
  },
} as const;

test('a line is one JSON object, whatever a worker said on its way out', () => {
  const lines = linesOf([
    { kind: 'workerUp', worker: 'worker-1' as WorkerId },
    { kind: 'workerDown', worker: 'worker-1' as WorkerId, reason: 'exit\ncode "1"' },
    { kind: 'feedLost', worker: 'worker-1' as WorkerId, missing: 3 },
    { kind: 'warning', sentence: 'two\nlines' },
  ]);
  assert.equal(lines.length, 4);
  for (const line of lines) {
    assert.ok(!line.includes('\n'));
    const read = JSON.parse(line) as { time: string; level: string; message: string };
    assert.equal(read.time, '2001-09-09T01:46:40.000Z');
    assert.ok(read.level === 'info' || read.level === 'warn');
    assert.notEqual(read.message, '');
  }
});

test('what clients send never reaches the log', () => {
  const note: Note = { kind: 'kernel', atUs: 0, fact: arrived, orders: [], tookUs: 1 };
  assert.deepEqual(linesOf([note]), []);
});

test('a journal line holds a fact as it was, with hashes that JSON can carry', () => {
  const { fact, atUs } = JSON.parse(journalLine(7, arrived)) as {
    atUs: number;
    fact: { request: { hashes: string[]; promptTokens: number } };
  };
  assert.equal(atUs, 7);
  assert.equal(fact.request.promptTokens, 40);
  assert.deepEqual(
    fact.request.hashes.map((hash) => BigInt(`0x${hash}`)),
    [...arrived.request.hashes],
  );
});

function linesOf(notes: readonly Note[]): string[] {
  const lines: string[] = [];
  const clock = { nowUs: () => 0, wallMs: () => 1_000_000_000_000, after: () => () => {} };
  const log = new Log({ clock, write: (line) => lines.push(line) });
  for (const note of notes) log.note(note);
  return lines;
}
