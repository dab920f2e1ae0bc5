import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Turnover } from './turnover.ts';

test('only gaps between ends in which somebody waited all the time count', () => {
  const step = fc.record({
    kind: fc.constantFrom('join', 'join', 'leave', 'end', 'end'),
    model: fc.constantFrom('m', 'n'),
    passUs: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const turnover = new Turnover();
      const twin = { m: new Twin(), n: new Twin() };
      let nowUs = 5;
      for (const { kind, model, passUs } of steps) {
        nowUs += passUs;
        const of = twin[model as 'm' | 'n'];
        if (kind === 'join') {
          of.waiting++;
          turnover.joined(model);
        } else if (kind === 'leave' && of.waiting > 0) {
          of.left();
          turnover.left(model);
        } else if (kind === 'end') {
          of.ended(nowUs);
          turnover.ended(nowUs, model);
        }
        assert.equal(turnover.waiting(model), of.waiting);
        const gapUs = turnover.gapUs(model, 700);
        const least = Math.min(700, ...of.gaps);
        const most = Math.max(700, ...of.gaps);
        assert.ok(gapUs >= least - 1e-6 && gapUs <= most + 1e-6, `${gapUs} of ${least} to ${most}`);
        if (of.gaps.length === 0) assert.equal(gapUs, 700);
      }
    }),
    { numRuns: 200 },
  );
});

test('it finds the gap of ends that come evenly or in batches, whatever was thought before', () => {
  for (const together of [1, 4]) {
    for (const priorUs of [20, 50_000]) {
      const turnover = new Turnover();
      turnover.joined('m');
      for (let i = 1; i <= 300; i++) turnover.ended(Math.ceil(i / together) * together * 1000, 'm');
      const gapUs = turnover.gapUs('m', priorUs);
      assert.ok(gapUs > 850 && gapUs < 1200, `${gapUs} by ${together}, from ${priorUs}`);
    }
  }
});

test('many that come before the first end change nothing: what is thought stays what it was', () => {
  const turnover = new Turnover();
  for (let i = 0; i < 2000; i++) turnover.joined('m');
  turnover.ended(5_000_000, 'm');
  assert.equal(turnover.gapUs('m', 30), 30);
});

class Twin {
  waiting = 0;
  gaps: number[] = [];
  #lastUs: number | undefined;

  left(): void {
    if (--this.waiting === 0) this.#lastUs = undefined;
  }

  ended(nowUs: number): void {
    if (this.waiting === 0) return;
    if (this.#lastUs !== undefined) this.gaps.push(nowUs - this.#lastUs);
    this.#lastUs = nowUs;
  }
}
