/** Prints and draws what a live run came to. */
import { writeFileSync } from 'node:fs';
import { reportPage } from '../bench/report-page.ts';
import { reportText } from '../bench/report-text.ts';
import type { Comparison } from '../model/comparison.ts';
import { VERSION } from './version.ts';

export interface ReportFlags {
  price?: number;
  page?: string | false;
  json?: boolean;
}

export function printReport(flags: ReportFlags, report: Comparison): void {
  if (typeof flags.page === 'string') {
    const page = reportPage(report, {
      title: `Stator: ${report.trace}`,
      command: `stator ${withoutKeys(process.argv.slice(2)).join(' ')}`,
      version: VERSION,
      pricePerHour: flags.price,
    });
    writeFileSync(flags.page, page);
    process.stderr.write(`The page with plots: ${flags.page}\n`);
  }
  process.stdout.write(`${flags.json ? JSON.stringify(report, null, 2) : reportText(report)}\n`);
}

/** A page is shown to others. */
function withoutKeys(words: readonly string[]): string[] {
  return words.map((word, i) => {
    if (/^--\S*key=/.test(word)) return word.replace(/=.*/s, '=…');
    return /^--\S*key$/.test(words[i - 1] ?? '') ? '…' : word;
  });
}
