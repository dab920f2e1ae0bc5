/** The page: draws each snapshot that /stator/v1/events sends. */
import { byId, element, percent, rect, sum, whole } from './dom.ts';
import { drawPolicies, type PolicyRow } from './policies.ts';
import { drawReceipts, drawTermLegend } from './receipts.ts';

interface Snapshot {
  version: string;
  policy: string;
  waiting: number;
  running: number;
  liveThreads: number;
  models: { name: string; demo: boolean; tokens: string }[];
  workers: Worker[];
  policies: PolicyRow[];
  history: Moment[];
}

interface Worker {
  id: string;
  about: { engine: string; model: string; card: { cache?: { kvTokens: number } } };
  healthy: boolean;
  mode: string;
  confidence: { agreement?: number; observations: number; unreported: number };
  requests: number;
  indexedBlocks: number;
  liveThreads: number;
  blockTokens: number;
  engine: {
    running: number;
    waiting: number;
    slots: { busy: boolean; tokens: number }[];
    cachedBlocks: number;
    hostBlocks: number;
    promptTokensTotal: number;
    cachedTokensTotal: number;
  } | null;
}

interface Moment {
  atMs: number;
  requests: number;
  promptTokens: number;
  cachedTokens: number;
  ttftMs: number | null;
}

const SPAN_MS = 600_000;
const BUCKET_MS = 2_000;
const WIDTH = 600;
const HEIGHT = 140;

const status = byId('status');
drawTermLegend();
const events = new EventSource('/stator/v1/events');
events.addEventListener('snapshot', (event) => {
  const snapshot = JSON.parse((event as MessageEvent<string>).data) as Snapshot;
  status.classList.remove('lost');
  draw(snapshot);
  void drawReceipts();
});
events.addEventListener('error', () => {
  status.classList.add('lost');
  status.textContent = 'the gateway does not answer; trying again …';
});

function draw(snapshot: Snapshot): void {
  const names = snapshot.models.map(({ name }) => name).join(', ') || 'no model yet';
  status.textContent = `${names} · policy ${snapshot.policy} · ${snapshot.version}`;
  const demo = snapshot.models.some((model) => model.demo);
  const warning = byId('warning');
  warning.hidden = !demo;
  warning.textContent =
    'This is the demo model: its weights are random, so its text is noise. Speed, KV and reuse are real.';
  drawFigures(snapshot);
  drawPolicies(snapshot.policies);
  drawChart(snapshot.history);
  byId('workers').replaceChildren(...snapshot.workers.map(workerCard));
}

function drawFigures(snapshot: Snapshot): void {
  const since = Date.now() - 60_000;
  const recent = snapshot.history.filter(({ atMs }) => atMs >= since);
  const prompt = sum(snapshot.history.map((moment) => moment.promptTokens));
  const cached = sum(snapshot.history.map((moment) => moment.cachedTokens));
  const requests = sum(recent.map((moment) => moment.requests));
  const waits = recent.filter(({ ttftMs }) => ttftMs !== null);
  const ttft = sum(waits.map(({ ttftMs, requests: count }) => (ttftMs ?? 0) * count));
  const answered = sum(waits.map(({ requests: count }) => count));
  const figures: [string, string][] = [
    [prompt === 0 ? '–' : percent(cached / prompt), 'prompt tokens from cache'],
    [whole(cached), 'tokens not computed again'],
    [String(snapshot.liveThreads), 'live sessions'],
    [`${snapshot.running} / ${snapshot.waiting}`, 'running / waiting'],
    [String(requests), 'answers in the last minute'],
    [answered === 0 ? '–' : `${(ttft / answered).toFixed(0)} ms`, 'to first token, mean'],
  ];
  byId('figures').replaceChildren(
    ...figures.map(([value, label]) =>
      element('div', 'figure', element('b', '', value), element('span', '', label)),
    ),
  );
}

/** Stacked bars: what came from cache below, what was computed above. */
function drawChart(history: readonly Moment[]): void {
  const now = Date.now();
  const start = now - SPAN_MS;
  const shown = history.filter(({ atMs }) => atMs >= start);
  const most = Math.max(1, ...shown.map(({ promptTokens }) => promptTokens));
  const width = (WIDTH * BUCKET_MS) / SPAN_MS;
  const bars = shown.flatMap(({ atMs, promptTokens, cachedTokens }) => {
    const x = ((atMs - start) / SPAN_MS) * WIDTH;
    const cached = (cachedTokens / most) * HEIGHT;
    const computed = ((promptTokens - cachedTokens) / most) * HEIGHT;
    return [
      rect('cached', { x, y: HEIGHT - cached, width, height: cached }),
      rect('computed', { x, y: HEIGHT - cached - computed, width, height: computed }),
    ];
  });
  byId('chart').replaceChildren(...bars);
  byId('from').textContent = new Date(start).toLocaleTimeString();
  byId('to').textContent =
    `${new Date(now).toLocaleTimeString()} · top ${whole(most)} tokens in 2 s`;
}

function workerCard(worker: Worker): HTMLElement {
  const { engine } = worker;
  const kept = worker.about.card.cache?.kvTokens ?? 0;
  const held = (engine?.cachedBlocks ?? worker.indexedBlocks) * worker.blockTokens;
  const card = element(
    'div',
    worker.healthy ? 'worker' : 'worker ill',
    element('h3', '', `${worker.id}${worker.healthy ? '' : ' does not answer'}`),
    element(
      'p',
      'note',
      `${worker.about.engine} · ${worker.requests} requests · ${worker.liveThreads} live sessions`,
    ),
    beliefOf(worker),
  );
  if (engine === null) return card;
  card.append(
    element(
      'div',
      'slots',
      ...engine.slots.map(({ busy, tokens }) => {
        const kind = busy ? 'slot busy' : tokens > 0 ? 'slot holds' : 'slot';
        return element(
          'div',
          kind,
          busy ? `running ${whole(tokens)}` : tokens > 0 ? `holds ${whole(tokens)}` : 'empty',
        );
      }),
    ),
  );
  const meter = document.createElement('meter');
  meter.max = Math.max(1, kept);
  meter.value = held;
  meter.title = `${whole(held)} of ${whole(kept)} tokens kept`;
  const host = whole(engine.hostBlocks * worker.blockTokens);
  card.append(
    meter,
    element(
      'p',
      'note',
      `keeps ${whole(held)} of ${whole(kept)} tokens; ${host} in the host store`,
    ),
  );
  return card;
}

const MODES: Record<string, string> = {
  exact: 'known from its KV events',
  predicted: 'guessed from what it was sent',
  loadOnly: 'not believed: only its load counts',
};

/** How its cache is known, and how often that came true. */
function beliefOf({ mode, confidence }: Worker): HTMLElement {
  const { agreement, observations, unreported } = confidence;
  const line = element('p', 'belief', element('span', `badge mode-${mode}`, mode), ' cache ');
  line.append(MODES[mode] ?? '');
  if (agreement !== undefined) {
    line.append(` · ${percent(agreement)} of ${whole(observations)} predictions confirmed`);
  } else if (unreported > 0) {
    line.append(' · its engine reports no cached tokens, so nothing confirms it');
  }
  return line;
}
