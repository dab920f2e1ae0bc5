import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RequestId, SessionId, TenantId, ThreadId } from '../../model/ids.ts';
import type { Arrival } from '../../model/kernel-io.ts';
import { Threads } from '../session/threads.ts';
import { type Program, Programs, slowdownOf } from './programs.ts';

const S = 1_000_000;
const LIMITS = { tenantsMax: 2, threadsMax: 3 };

test('slowdown: waiting counts, tools and the work itself do not', () => {
  const desk = new Desk();
  const program = desk.arrived(0, 'main', 10 * S);
  assert.equal(slowdownOf(0, program), 1);
  // After 20 s in line, with 10 s of work before it: 30 s for what takes 10.
  assert.equal(slowdownOf(20 * S, program), 3);
  desk.programs.placed(program);
  desk.programs.ended(30 * S, program, 10 * S);
  assert.equal(slowdownOf(30 * S, program), 3);
  // Its tool runs for 10 s on any fleet: 40 s for 20.
  assert.equal(slowdownOf(40 * S, program), 2);
  desk.arrived(40 * S, 'main', 5 * S);
  assert.equal(slowdownOf(40 * S, program), 45 / 25);
});

test('sub-agents side by side are no quicker than the time that went by', () => {
  const desk = new Desk();
  const program = desk.arrived(0, 'main', 5 * S);
  assert.equal(desk.arrived(0, 'child', 5 * S), program);
  desk.programs.placed(program);
  desk.programs.placed(program);
  desk.programs.ended(6 * S, program, 5 * S);
  desk.programs.ended(8 * S, program, 5 * S);
  assert.equal(slowdownOf(8 * S, program), 1);
});

test('a refused client that tries again has waited, and one that was away for long begins anew', () => {
  const desk = new Desk();
  const program = desk.arrived(0, 'main', 10 * S);
  desk.programs.left(0, program);
  desk.arrived(20 * S, 'main', 10 * S);
  assert.equal(slowdownOf(20 * S, program), 3);
  desk.programs.placed(program);
  desk.programs.ended(30 * S, program, 10 * S);
  desk.arrived(30 * S + desk.lapseUs + 1, 'main', 10 * S);
  assert.equal(slowdownOf(30 * S + desk.lapseUs + 1, program), 1);
});

test('a thread of no session is a program of its own, and names do not mix', () => {
  const desk = new Desk();
  const bySession = desk.arrived(0, 'main', S);
  assert.notEqual(desk.arrived(0, 'session', S, undefined), bySession);
  assert.equal(desk.arrived(0, 'other', S), bySession);
});

test('whatever happens, nobody is faster than alone, and who waits slows down', () => {
  const step = fc.record({
    kind: fc.constantFrom('arrived', 'placed', 'ended', 'left', 'retried'),
    passUs: fc.nat(100 * S),
    workUs: fc.integer({ min: 1, max: 50 * S }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const desk = new Desk();
      let nowUs = 0;
      let program: Program | undefined;
      for (const { kind, passUs, workUs } of steps) {
        if (program !== undefined && program.waiting + program.running > 0) {
          assert.ok(slowdownOf(nowUs + passUs, program) >= slowdownOf(nowUs, program));
        }
        nowUs += passUs;
        if (kind === 'arrived') program = desk.arrived(nowUs, 'main', workUs);
        else if (program === undefined) continue;
        else if (kind === 'placed' && program.waiting > 0) desk.programs.placed(program);
        else if (kind === 'left' && program.waiting > 0) desk.programs.left(nowUs, program);
        else if (program.running === 0) continue;
        else if (kind === 'ended') desk.programs.ended(nowUs, program, workUs);
        else if (kind === 'retried') desk.programs.retried(program);
        if (program !== undefined) assert.ok(slowdownOf(nowUs, program) >= 1);
      }
    }),
    { numRuns: 100 },
  );
});

class Desk {
  readonly programs = new Programs(LIMITS);
  readonly lapseUs = 1000 * S;
  readonly #threads = new Threads(LIMITS);
  #next = 0;

  arrived(nowUs: number, name: string, aloneUs: number, session: string | undefined = 'session') {
    const tenant = 't' as TenantId;
    const request: Arrival = {
      id: `r${this.#next++}` as RequestId,
      tenant,
      model: 'm',
      thread: name as ThreadId,
      session: (name === 'session' ? undefined : session) as SessionId | undefined,
      promptTokens: 100,
      hashes: new BigUint64Array(0),
      blockTokens: 16,
      outputTokensMax: 100,
      priority: 0,
    };
    const thread = this.#threads.arrived(nowUs, tenant, name as ThreadId);
    return this.programs.arrived(nowUs, request, { thread, aloneUs, lapseUs: this.lapseUs });
  }
}
