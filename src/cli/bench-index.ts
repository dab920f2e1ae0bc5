/** `stator bench index`: a million blocks, and the recorded samples where they are. */
import type { BenchReport } from '../bench/figure.ts';
import { benchIndex } from '../bench/index-bench.ts';
import { Config } from '../model/config.ts';
import { samples } from './samples.ts';

export async function indexBench(onProgress: (text: string) => void): Promise<BenchReport> {
  const { indexBytesMax } = Config.parse({}).limits;
  return benchIndex({ indexBytesMax, traces: await samples(onProgress), onProgress });
}
