import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EngineReport } from '../ports.ts';
import { SimClock } from '../sim/clock.ts';
import { Stillness } from './stillness.ts';

const S = 1_000_000;

test('an answer is lost when its engine says for long that it runs nothing, and not before', async () => {
  const cases: [string, Load, boolean][] = [
    ['it runs something', () => ({ running: 1, waiting: 0 }), false],
    ['something waits there', () => ({ running: 0, waiting: 1 }), false],
    ['it does not tell', () => undefined, false],
    ['it runs something now and then', (asked) => ({ running: asked % 3, waiting: 0 }), false],
    ['it counts some only', () => ({ running: 0, waiting: 0, countsAll: undefined }), false],
    ['it runs nothing', () => IDLE, true],
  ];
  for (const [what, load, isLost] of cases) {
    const rig = new Rig(load);
    assert.equal(await rig.watch(120 * S), isLost ? 95 * S : undefined, what);
  }
});

test('what an engine said long ago of others says nothing of now', async () => {
  const rig = new Rig(() => IDLE);
  assert.equal(await rig.watch(93 * S), undefined);
  await rig.pass(3600 * S);
  const lostUs = (await rig.watch(120 * S)) ?? assert.fail('it is lost at last');
  assert.ok(lostUs >= 95 * S, 'it was asked anew');
});

test('who cannot be asked may run it', async () => {
  const rig = new Rig(() => {
    throw new Error('it does not answer');
  });
  assert.equal(await rig.watch(120 * S), undefined);
});

const IDLE = { running: 0, waiting: 0 };

type Load = (asked: number) => Partial<EngineReport> | undefined;

class Rig {
  readonly #clock = new SimClock();
  readonly #stillness: Stillness;
  #asked = 0;

  constructor(load: Load) {
    const report = async () => {
      const told = load(++this.#asked);
      return told && ({ countsAll: true, ...told } as EngineReport);
    };
    this.#stillness = new Stillness({ report }, this.#clock);
  }

  /** After how much silence an answer was lost, looked at every second; undefined: it was not. */
  async watch(us: number): Promise<number | undefined> {
    for (let silentUs = S; silentUs <= us; silentUs += S) {
      await this.pass(S);
      if (this.#stillness.isLost(silentUs)) return silentUs;
    }
    return undefined;
  }

  async pass(us: number): Promise<void> {
    this.#clock.after(us, () => {});
    this.#clock.step();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
