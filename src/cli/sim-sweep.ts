/** `stator sim --sweep workers=1..8 host-tokens=0,350000`: which fleet this traffic needs. */
import { writeFileSync } from 'node:fs';
import { sweepPage, sweepText } from '../bench/sweep-report.ts';
import type { Simulation } from '../sim/simulate.ts';
import { type Axis, parseAxis, type Sweep, sweep } from '../sim/sweep.ts';
import { Complaint } from './complaint.ts';
import { ProgressLine } from './progress.ts';
import { VERSION } from './version.ts';

export interface SweepFlags {
  sweep?: string[];
  attain: number;
  page?: string;
  json?: boolean;
}

/** Of the first policy. Throws a `Complaint` where the axes or the trace do not allow it. */
export function simSweep(flags: SweepFlags, simulation: Simulation): void {
  const axes = axesOf(flags.sweep ?? []);
  const line = new ProgressLine();
  let report: Sweep;
  try {
    const given = { simulation: { ...simulation, policies: simulation.policies.slice(0, 1) } };
    report = sweep({ ...given, axes, attain: flags.attain }, ({ points, pointCount }) =>
      line.show(`${points} of ${pointCount} points`),
    );
  } catch (error) {
    if (error instanceof RangeError) throw new Complaint(error.message);
    throw error;
  } finally {
    line.end();
  }
  if (flags.page !== undefined) {
    const command = `stator ${process.argv.slice(2).join(' ')}`;
    const title = `Stator: a fleet for ${report.trace}`;
    writeFileSync(flags.page, sweepPage(report, { title, command, version: VERSION }));
    process.stderr.write(`The page with plots: ${flags.page}\n`);
  }
  process.stdout.write(`${flags.json ? JSON.stringify(report, null, 2) : sweepText(report)}\n`);
}

function axesOf(texts: readonly string[]): Axis[] {
  try {
    return texts.map(parseAxis);
  } catch (error) {
    throw new Complaint((error as Error).message, 2);
  }
}
