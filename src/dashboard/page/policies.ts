/** The live policy beside its shadows: what each computes, finds in cache, and makes people wait. */
import { byId, duration, element, percent, stack, whole } from './dom.ts';

export interface PolicyRow {
  policy: string;
  role: 'live' | 'shadow' | 'former';
  wouldBe: Figures;
  actual: Figures | null;
}

interface Figures {
  requests: number;
  refused: number;
  promptTokens: number;
  cachedTokens: number;
  computedTokens: number;
  hitRatio: number | null;
  ttftUsMean: number | null;
  regretUs: number;
}

const HEADS = ['policy', 'prompt tokens', 'cached', 'computed', 'to first token', 'regret'];

export function drawPolicies(rows: readonly PolicyRow[]): void {
  const isShadowed = rows.some(({ role }) => role === 'shadow');
  byId('policies-section').hidden = !isShadowed;
  if (!isShadowed) return;
  const most = Math.max(1, ...rows.map(({ wouldBe }) => wouldBe.promptTokens));
  const slowest = Math.max(1, ...rows.map(({ wouldBe }) => wouldBe.ttftUsMean ?? 0));
  const head = element('tr', '', ...HEADS.map((text) => element('th', '', text)));
  const body = rows.map((row) => rowOf(row, most, slowest));
  byId('policies').replaceChildren(element('thead', '', head), element('tbody', '', ...body));
  const live = rows.find(({ role }) => role === 'live');
  byId('policies-actual').textContent = actually(live);
}

function rowOf({ policy, role, wouldBe }: PolicyRow, most: number, slowest: number): HTMLElement {
  const { cachedTokens, computedTokens, hitRatio, ttftUsMean, regretUs, refused } = wouldBe;
  const tokens = stack(
    [
      { kind: 'cached', value: cachedTokens, title: `${whole(cachedTokens)} from cache` },
      { kind: 'computed', value: computedTokens, title: `${whole(computedTokens)} computed` },
    ],
    most,
  );
  const wait = ttftUsMean ?? 0;
  const waits = stack([{ kind: 'waits', value: wait, title: duration(wait) }], slowest);
  const name = element('td', 'name', policy);
  if (role === 'live') name.append(element('span', 'badge', 'live'));
  if (role === 'former') name.append(element('span', 'badge faint', 'before'));
  if (refused > 0) name.append(element('span', 'badge bad', `${whole(refused)} refused`));
  return element(
    'tr',
    role,
    name,
    element('td', 'bar', tokens),
    element('td', 'number', hitRatio === null ? '–' : percent(hitRatio)),
    element('td', 'number', whole(computedTokens)),
    element('td', 'bar figure-bar', waits, ttftUsMean === null ? '–' : duration(ttftUsMean)),
    element('td', 'number', duration(regretUs)),
  );
}

/** The model's row beside what happened: how far the rest is to be believed. */
function actually(live: PolicyRow | undefined): string {
  const actual = live?.actual;
  if (live === undefined || !actual || actual.hitRatio === null || actual.ttftUsMean === null) {
    return 'Every row is the same model of what would have been, over the last day.';
  }
  const cached = `${percent(actual.hitRatio)} of prompt tokens cached`;
  return (
    `Every row is the same model of what would have been, over the last day. What really came of ` +
    `${live.policy}: ${cached}, ${duration(actual.ttftUsMean)} to the first token, regret ${duration(actual.regretUs)}.`
  );
}
