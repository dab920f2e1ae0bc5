/** A prompt through the engine, and the same number of tokens through the bare loop right after it. */
import type { BareLoop } from './bare-loop.ts';
import { type Runs, runsOf } from './figure.ts';
import type { RunnerWatch } from './runner-watch.ts';
import type { Took } from './stopwatch.ts';

export class PrefillComparison {
  readonly #bare: BareLoop;
  readonly #chunkTokensMax: number;
  readonly #watch: RunnerWatch;
  readonly #tooks: Record<'engine' | 'sameChunks' | 'fullChunks', Took[]> = {
    engine: [],
    sameChunks: [],
    fullChunks: [],
  };
  #chunks: number[] = [];

  constructor(given: { bare: BareLoop; chunkTokensMax: number }, watch: RunnerWatch) {
    this.#bare = given.bare;
    this.#chunkTokensMax = given.chunkTokensMax;
    this.#watch = watch;
  }

  /** The chunks are those since the last call. */
  async beside(isCompared: boolean, took: Took): Promise<void> {
    const chunks = this.#watch.chunks.splice(0);
    if (!isCompared) return;
    const tokens = chunks.reduce((sum, count) => sum + count, 0);
    this.#tooks.engine.push(took);
    this.#chunks = chunks;
    this.#tooks.sameChunks.push(await this.#bare.prefill(chunks));
    this.#tooks.fullChunks.push(
      await this.#bare.prefill(wholeChunks(tokens, this.#chunkTokensMax)),
    );
  }

  /** Tokens a second, ours over theirs, by CPU time; null where no length was compared. */
  ratio(): number | null {
    const { engine, sameChunks } = this.#tooks;
    if (engine.length === 0) return null;
    return Number((cpuOf(sameChunks).bestMs / cpuOf(engine).bestMs).toFixed(4));
  }

  report(): object {
    const { engine, sameChunks, fullChunks } = this.#tooks;
    if (engine.length === 0) return { reason: 'no length was compared' };
    const of = (tooks: Took[]) => ({ wall: wallOf(tooks), cpu: cpuOf(tooks) });
    return {
      tokens: this.#chunks.reduce((sum, count) => sum + count, 0),
      chunks: this.#chunks,
      engine: of(engine),
      llamaCppSameChunks: of(sameChunks),
      llamaCppFullChunks: of(fullChunks),
    };
  }
}

function wallOf(tooks: readonly Took[]): Runs {
  return runsOf(tooks.map(({ wallMs }) => wallMs));
}

function cpuOf(tooks: readonly Took[]): Runs {
  return runsOf(tooks.map(({ cpuMs }) => cpuMs));
}

function wholeChunks(tokens: number, size: number): number[] {
  const chunks = new Array<number>(Math.floor(tokens / size)).fill(size);
  return tokens % size > 0 ? [...chunks, tokens % size] : chunks;
}
