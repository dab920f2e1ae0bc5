/**
 * The last decisions: for each the places that were weighed and what each would have cost, by term, and
 * what became of its KV afterwards.
 */
import { byId, duration, element, stack, whole } from './dom.ts';

interface Receipt {
  id: string;
  at: string;
  thread: string | null;
  policy: string;
  promptTokens: number | null;
  worker: string | null;
  attempts: Attempt[];
  predicted: { cachedTokens: number; ttftUs: number } | null;
  actual: { status: string; cachedTokens: number | null; ttftUs: number | null };
  kvActions: KvAction[];
  regret: { us: number; worker: string | null } | null;
}

interface Attempt {
  worker: string;
  eligible: number;
  candidates: Candidate[];
}

interface Candidate {
  worker: string;
  matchedTokens: number;
  terms: Record<string, number>;
  totalUs: number;
}

interface KvAction {
  wish: string;
  worker: string;
  tier?: string;
  ttlUs?: number;
  answer: string | null;
  tokens: number;
  tookUs: number;
}

const SHOWN = 6;
const PLACES_SHOWN = 4;
/** In the order of the legend; other terms come last. */
const TERMS = ['waiting', 'prefill', 'fetch', 'decode', 'delay', 'crowding'];

/** Asks for the newest and draws them; where the page may not read them, nothing is shown. */
export async function drawReceipts(): Promise<void> {
  const response = await fetch(`/stator/v1/receipts?limit=${SHOWN}`).catch(() => undefined);
  if (response?.ok !== true) return;
  const { receipts } = (await response.json()) as { receipts: Receipt[] };
  byId('receipts-section').hidden = receipts.length === 0;
  byId('receipts').replaceChildren(...receipts.map(cardOf));
}

export function drawTermLegend(): void {
  byId('terms').replaceChildren(
    ...TERMS.flatMap((term) => [element('span', `term ${term}`), ` ${term} `]),
  );
}

function cardOf(receipt: Receipt): HTMLElement {
  const attempt = receipt.attempts[receipt.attempts.length - 1];
  const { actual, predicted, regret } = receipt;
  const time = new Date(receipt.at).toLocaleTimeString();
  const tokens = receipt.promptTokens === null ? 'text' : `${whole(receipt.promptTokens)} tokens`;
  const facts = [`${tokens} to ${receipt.worker ?? 'nobody'}`];
  if (predicted !== null && actual.cachedTokens !== null) {
    facts.push(`cached ${whole(actual.cachedTokens)}, predicted ${whole(predicted.cachedTokens)}`);
  }
  if (actual.ttftUs !== null && predicted !== null) {
    facts.push(`first token ${duration(actual.ttftUs)}, predicted ${duration(predicted.ttftUs)}`);
  }
  if (regret !== null && regret.us > 0) {
    facts.push(`${regret.worker} would have saved ${duration(regret.us)}`);
  }
  if (actual.status !== 'done') facts.push(actual.status);
  return element(
    'div',
    'receipt',
    element(
      'h3',
      'receipt-head',
      `${time} `,
      element('span', 'thread', receipt.thread ?? 'no thread'),
    ),
    element('p', 'note', facts.join(' · ')),
    ...(attempt === undefined ? [] : placesOf(attempt)),
    ...receipt.kvActions.map((action) => element('p', 'kv-action', wordsOf(action))),
  );
}

function placesOf(attempt: Attempt): HTMLElement[] {
  const shown = [...attempt.candidates]
    .sort((a, b) => Number(b.worker === attempt.worker) - Number(a.worker === attempt.worker))
    .slice(0, PLACES_SHOWN);
  const most = Math.max(1, ...shown.map(costOf));
  const rows = shown.map((candidate) => placeOf(candidate, attempt.worker, most));
  const places = element('div', 'places', ...rows);
  if (attempt.eligible <= shown.length) return [places];
  return [places, element('p', 'note', `of ${attempt.eligible} that could have served it`)];
}

/** What was wished of its KV between its turns, and what came of that. */
function wordsOf({ wish, worker, tier, ttlUs, answer, tokens, tookUs }: KvAction): string {
  const to = tier === undefined ? '' : ` to ${tier}`;
  const time = ttlUs === undefined ? '' : ` for ${duration(ttlUs)}`;
  const wished = `KV: ${wish}${to}${time} on ${worker}`;
  if (answer === null) return `${wished} · not carried out`;
  return `${wished} · ${answer}, ${whole(tokens)} tokens · ${duration(tookUs)}`;
}

function placeOf(candidate: Candidate, chosen: string, most: number): HTMLElement {
  const others = Object.keys(candidate.terms).filter((term) => !TERMS.includes(term));
  const parts = [...TERMS, ...others].map((term) => {
    const value = candidate.terms[term] ?? 0;
    return { kind: `term ${term}`, value, title: `${term} ${duration(value)}` };
  });
  return element(
    'div',
    candidate.worker === chosen ? 'place chosen' : 'place',
    element('span', 'who', candidate.worker),
    stack(parts, most),
    element('span', 'number', duration(candidate.totalUs)),
    element('span', 'number faint', `${whole(candidate.matchedTokens)} held`),
  );
}

/** A bar shows what costs, not what is taken off. */
function costOf({ terms }: Candidate): number {
  return Object.values(terms).reduce((total, us) => total + Math.max(0, us), 0);
}
