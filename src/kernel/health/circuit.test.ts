import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Circuit } from './circuit.ts';

const S = 1_000_000;

test('it opens where most fail, is asked once after a while, and one answer closes it', () => {
  const circuit = new Circuit();
  for (const at of [0, 1]) circuit.failed(at);
  assert.equal(circuit.state, 'closed', 'two failures say nothing');
  circuit.failed(2);
  assert.equal(circuit.state, 'open');
  assert.equal(circuit.isDue(S), false);
  assert.equal(circuit.isDue(2 + S), true);
  assert.equal(circuit.isDue(2 + S), false, 'it is asked once');
  circuit.probed(2 + S, true);
  assert.equal(circuit.state, 'halfOpen');
  circuit.answered();
  assert.equal(circuit.state, 'closed');
});

test('some failures among many answers open nothing', () => {
  const circuit = new Circuit();
  for (let i = 0; i < 300; i++) {
    if (i % 3 === 2) circuit.failed(i);
    else circuit.answered();
    assert.equal(circuit.state, 'closed', `after ${i}`);
  }
});

test('each time it opens again it stays so for longer, up to a minute, until it has done well for long', () => {
  const circuit = new Circuit();
  const opensFor = (nowUs: number) => (circuit.nextUs ?? 0) - nowUs;
  for (let i = 0; i < 3; i++) circuit.failed(0);
  const waits: number[] = [];
  let nowUs = 0;
  for (let i = 0; i < 9; i++) {
    waits.push(opensFor(nowUs) / S);
    nowUs = circuit.nextUs ?? 0;
    assert.ok(circuit.isDue(nowUs));
    circuit.probed(nowUs, i % 2 === 0);
    // What answers one token and fails its first request is as bad as what does not answer.
    if (i % 2 === 0) circuit.failed(nowUs);
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
  nowUs = circuit.nextUs ?? 0;
  circuit.isDue(nowUs);
  circuit.probed(nowUs, true);
  for (let i = 0; i < 20; i++) circuit.answered();
  for (let i = 0; i < 30 && circuit.state === 'closed'; i++) circuit.failed(nowUs);
  assert.equal(opensFor(nowUs), S);
});

test('whatever comes in whatever order, an open circuit is asked some time, and only then half open', () => {
  const act = fc.constantFrom('failed', 'answered', 'due', 'well', 'unwell');
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const circuit = new Circuit();
      let nowUs = 0;
      for (const one of acts) {
        const before = circuit.state;
        nowUs += S;
        if (one === 'failed') circuit.failed(nowUs);
        else if (one === 'answered') circuit.answered();
        else if (one === 'due') circuit.isDue(nowUs);
        else circuit.probed(nowUs, one === 'well');
        if (circuit.state === 'halfOpen' && before !== 'halfOpen') assert.equal(before, 'asked');
        assert.equal(circuit.nextUs !== undefined, circuit.state === 'open');
        assert.ok((circuit.nextUs ?? 0) <= nowUs + 60 * S);
      }
    }),
  );
});
