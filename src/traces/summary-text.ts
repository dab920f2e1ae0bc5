/** A summary as text for terminals, with small plots. */
import { table, thousands } from '../base/text.ts';
import { QUANTILES, type Spread } from './spread.ts';
import type { SpreadName, TraceSummary } from './trace-summary.ts';

const SPREAD_LABELS: Record<SpreadName, string> = {
  turnsPerThread: 'turns per thread',
  promptTokens: 'prompt tokens',
  uncachedTokens: 'uncached tokens',
  laterUncachedTokens: 'uncached, after the first',
  growthTokens: 'growth per turn, tokens',
  outputTokens: 'output tokens',
  thinkS: 'think time, s',
  serviceS: 'service time, s',
  firstPromptTokens: 'first prompt, tokens',
  lastPromptTokens: 'last prompt, tokens',
};

const COLUMNS = ['mean', ...Object.keys(QUANTILES), 'max'] as (keyof Spread)[];
const BAR_CELLS = 40;
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** What others published of the same kind of traffic, to stand below each line. */
export type Beside = Partial<Record<SpreadName, Partial<Spread>>> & {
  source: string;
  hitTokens: number;
  resets: number;
};

export function summaryText(summary: TraceSummary, beside?: Beside): string {
  return [
    ...head(summary),
    '',
    table([['', ...COLUMNS], ...spreadRows(summary, beside)]),
    '',
    ...hits(summary, beside),
    '',
    ...lruPlot(summary),
    ...growthPlot(summary),
    ...remarks(summary),
  ].join('\n');
}

/** Share of the widest, in eighths of a cell. */
function bar(share: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * BAR_CELLS * 8);
  return '█'.repeat(eighths >> 3) + EIGHTHS[eighths & 7];
}

function head({ about, ...rest }: TraceSummary): string[] {
  const { sessions, threads, subAgents, turns, closedLoop, spanS } = rest;
  const when =
    closedLoop === undefined
      ? `Turns come by the trace's clock, over ${thousands(spanS ?? 0)} s.`
      : `${closedLoop.live} sessions run at once, each turn after its recorded gap, of at most ${closedLoop.thinkCapS} s.`;
  return [
    `${about.format}: ${thousands(sessions)} sessions, ${thousands(threads)} threads (${thousands(subAgents)} of sub-agents), ${thousands(turns)} turns, blocks of ${about.blockTokens} tokens.`,
    when,
  ];
}

function spreadRows({ spreads }: TraceSummary, beside: Beside | undefined): string[][] {
  const rows: string[][] = [];
  for (const [name, label] of Object.entries(SPREAD_LABELS) as [SpreadName, string][]) {
    const spread = spreads[name];
    if (spread === undefined) continue;
    rows.push([label, ...COLUMNS.map((column) => figure(spread[column]))]);
    const published = beside?.[name];
    if (published === undefined) continue;
    rows.push(['  published', ...COLUMNS.map((column) => figure(published[column]))]);
  }
  return rows;
}

function figure(value: number | undefined): string {
  if (value === undefined) return '';
  return value >= 100 || Number.isInteger(value) ? thousands(value) : value.toFixed(1);
}

function hits(
  { hit, blocks, resets, ...rest }: TraceSummary,
  beside: Beside | undefined,
): string[] {
  const { reuseTokens, cacheTokensFor95 } = rest;
  const published = (value: number | undefined) =>
    value === undefined ? '' : ` (published: ${percent(value)})`;
  const lines = [
    `Ideal hit ratio (infinite cache): ${percent(hit.tokens)} of prompt tokens${published(beside?.hitTokens)}, ${percent(hit.blocks)} of blocks; within sessions alone ${percent(hit.ownTokens)} of tokens.`,
    `Distinct blocks: ${thousands(blocks.distinct)} (${thousands(blocks.tokens)} tokens); ${percent(blocks.sharedShare)} are shared by sessions, ${percent(blocks.onceShare)} used once.`,
    `Turns that keep less than 80 % of the prompt before: ${percent(resets)}${published(beside?.resets)}.`,
  ];
  if (reuseTokens === undefined) return [...lines, 'No block is used twice.'];
  const quantiles = Object.entries(reuseTokens).map(([q, tokens]) => `${q} ${thousands(tokens)}`);
  lines.push(`Reuse distance, distinct tokens between two uses: ${quantiles.join(', ')}.`);
  if (cacheTokensFor95 !== undefined) {
    lines.push(`95 % of the ideal needs ${thousands(cacheTokensFor95)} tokens of LRU cache.`);
  }
  return lines;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function lruPlot({ lru }: TraceSummary): string[] {
  if (lru.length === 0) return [];
  const rows = lru
    .filter((_, i) => (lru.length - 1 - i) % 2 === 0)
    .map(({ cacheTokens, hit }) => [thousands(cacheTokens), percent(hit), bar(hit)]);
  return [table([['LRU cache, tokens', 'hit', ''], ...rows]), ''];
}

function growthPlot({ growth }: TraceSummary): string[] {
  if (growth.length < 2) return [];
  const most = Math.max(...growth.map(({ p50 }) => p50));
  const rows = growth.map(({ turn, p50, p10, p90, threads }) => [
    thousands(turn),
    thousands(p50),
    `${thousands(p10)} – ${thousands(p90)}`,
    thousands(threads),
    bar(p50 / most),
  ]);
  return [table([['turn', 'prompt p50', 'p10 – p90', 'threads', ''], ...rows]), ''];
}

function remarks({ about, leftOut }: TraceSummary): string[] {
  const lines = [...about.notes];
  const { longTurns, circularTurns } = leftOut;
  if (longTurns > 0) {
    lines.push(`${thousands(longTurns)} turns are left out: their context is too long.`);
  }
  if (circularTurns > 0) {
    lines.push(`${thousands(circularTurns)} turns wait for each other in a circle and never come.`);
  }
  const { count, first } = about.malformed;
  if (count > 0) lines.push(`${thousands(count)} rows could not be used:`);
  return [...lines, ...first.map(({ line, sentence }) => `  line ${line}: ${sentence}`)];
}
