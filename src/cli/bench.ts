/** `stator bench NAME`: figures with their baseline beside them, in one run. */
import { table } from '../base/text.ts';
import type { BenchReport } from '../bench/figure.ts';
import { disaggregationBench } from './bench-disaggregation.ts';
import { engineBench } from './bench-engine.ts';
import { indexBench } from './bench-index.ts';
import { routeBench } from './bench-route.ts';
import { gatewayBench, proxyBench } from './bench-streams.ts';
import { tokensBench } from './bench-tokens.ts';
import { Complaint } from './complaint.ts';
import { ProgressLine } from './progress.ts';

type Bench = (show: (text: string) => void, flags: { model?: string }) => Promise<BenchReport>;

const BENCHES: Record<string, Bench> = {
  disaggregation: disaggregationBench,
  engine: engineBench,
  gateway: gatewayBench,
  index: indexBench,
  proxy: proxyBench,
  route: routeBench,
  tokens: tokensBench,
};

export async function bench(
  name: string,
  flags: { json?: boolean; model?: string },
): Promise<void> {
  if (!Object.hasOwn(BENCHES, name)) {
    const known = Object.keys(BENCHES).join(', ');
    throw new Complaint(`There is no bench '${name}'; choose among ${known}.`, 2);
  }
  const line = new ProgressLine();
  const report = await BENCHES[name]((text) => line.show(`${name}: ${text}`), flags);
  line.end();
  process.stdout.write(`${flags.json ? JSON.stringify(report, null, 2) : text(report)}\n`);
}

function text({ settings, figures, beside }: BenchReport): string {
  const rows = Object.entries(figures).map(([name, value]) => [name, value ?? 'not compared']);
  const lines = Object.entries({ ...settings, ...beside }).map(
    ([name, value]) => `${name}: ${typeof value === 'object' ? JSON.stringify(value) : value}`,
  );
  return `${table([['figure', 'value'], ...rows])}\n\n${lines.join('\n')}`;
}
