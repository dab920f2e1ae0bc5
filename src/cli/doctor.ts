/** `stator doctor`: looks at a running gateway and says, line by line, what is well and what to mend. */
import { table } from '../base/text.ts';
import type { FeedReport } from '../gateway/feed/account.ts';
import type { Snapshot, WorkerSnapshot } from '../gateway/state.ts';
import type { Finding } from '../model/worker.ts';
import { WorkerCard } from '../model/worker-card.ts';
import { Complaint } from './complaint.ts';

interface Found extends Finding {
  about: string;
}

export async function doctor(flags: { url: string; key?: string; json?: boolean }): Promise<void> {
  const snapshot = await fetchSnapshot(flags.url, flags.key);
  const findings = examine(snapshot);
  if (flags.json) {
    process.stdout.write(`${JSON.stringify({ findings }, null, 2)}\n`);
  } else {
    const rows = findings.map(({ about, check, well, says }) => [
      well ? '✓' : '✗',
      about,
      check,
      says,
    ]);
    process.stdout.write(`${table([['', 'of', 'check', 'finding'], ...rows])}\n`);
  }
  const wrong = findings.filter(({ well }) => !well).length;
  if (wrong > 0)
    throw new Complaint(`${wrong} of ${findings.length} checks found something to mend.`);
}

async function fetchSnapshot(url: string, key: string | undefined): Promise<Snapshot> {
  const headers: Record<string, string> =
    key === undefined ? {} : { authorization: `Bearer ${key}` };
  let response: Response;
  try {
    response = await fetch(new URL('/stator/v1/snapshot', url), { headers });
  } catch {
    throw new Complaint(`Nothing answers at ${url}; start it with npx stator up, or pass --url.`);
  }
  if (response.ok) return (await response.json()) as Snapshot;
  throw new Complaint(`${url} answered ${response.status}; pass an admin key with --key.`);
}

function examine(snapshot: Snapshot): Found[] {
  const gateway = {
    about: 'gateway',
    check: 'engines',
    well: snapshot.workers.length > 0,
    says: `${snapshot.workers.length} up, policy ${snapshot.policy}`,
  };
  const unmet = snapshot.missing.filter(({ worker }) => worker === undefined);
  const strangers = unmet.map(({ url, says }) => {
    return { about: url, check: 'reachable', well: false, says: `was never met: ${says}` };
  });
  const silences = new Map(snapshot.missing.map(({ worker, says }) => [worker, says]));
  const known = snapshot.workers.flatMap((one) => examineWorker(one, silences.get(one.id)));
  return [gateway, ...strangers, ...known];
}

/** `silence`: why it could not be asked who it is, where it could not. */
function examineWorker(worker: WorkerSnapshot, silence: string | undefined): Found[] {
  const { id, healthy, mode, engine } = worker;
  const parsed = WorkerCard.safeParse(worker.about.card);
  const findings: Found[] = [
    {
      about: id,
      check: 'reachable',
      // Engines of other makes need not tell what they do.
      well: healthy && (engine !== null || worker.about.findings !== undefined),
      says: healthy ? 'answers' : `gets nothing: ${silence ?? 'it does not answer; see its log'}`,
    },
    ...answering(worker),
    indexed(worker),
    confirmed(worker),
  ];
  if (worker.feed !== null) findings.push(feedFinding(id, worker.feed));
  for (const finding of worker.about.findings ?? []) findings.push({ about: id, ...finding });
  if (!parsed.success) return findings;
  const { tokens, cache } = parsed.data;
  findings.push({
    about: id,
    check: 'tokenizer',
    well: tokens.mode === 'exact',
    says:
      tokens.mode === 'exact'
        ? `${tokens.slicesChecked} slices, ${tokens.slicesDiffering} differ from the engine's`
        : tokens.reason,
  });
  findings.push({
    about: id,
    check: 'block store',
    well: cache.selfTest !== 'failed',
    says:
      cache.selfTest === 'failed'
        ? 'its self-test failed: what leaves a slot is computed again'
        : `self-test ${cache.selfTest}, ${cache.hostBlocks} blocks`,
  });
  if (mode === 'exact' && engine !== null) {
    const held = engine.cachedBlocks;
    findings.push({
      about: id,
      check: 'index',
      // Running prompts add blocks between the two readings.
      well: Math.abs(held - worker.indexedBlocks) <= Math.max(64, held / 10) || worker.requests > 0,
      says: `engine holds ${held} blocks, index knows ${worker.indexedBlocks}`,
    });
  }
  return findings;
}

/** What came of its last requests, where they did not go as they should. */
function answering({ id, fitness, trouble, heldBack }: WorkerSnapshot): Found[] {
  const found: Found[] = [];
  if (fitness === 'unfit') {
    const why = trouble ?? 'it is far slower than its like';
    const says = `it gets none for now: ${why}`;
    found.push({ about: id, check: 'requests', well: false, says });
  } else if (trouble !== null) {
    const says = `the last one that ended there failed: ${trouble}`;
    found.push({ about: id, check: 'requests', well: false, says });
  }
  if (heldBack) {
    const says =
      'its answers come in one piece: something between it and the gateway holds streams back; switch buffering off there (nginx: proxy_buffering off)';
    found.push({ about: id, check: 'streams', well: false, says });
  }
  return found;
}

/** What its events made of the index; an engine that tells none said why, where it could. */
function indexed({ id, mode, blockTokens, indexedBlocks, feed, about }: WorkerSnapshot): Found {
  const check = 'KV events';
  if (mode === 'exact') {
    return {
      ...{ about: id, check, well: true },
      says: `${indexedBlocks} blocks of ${blockTokens} tokens indexed`,
    };
  }
  if (feed === null && about.findings !== undefined) {
    const says = 'it tells no events: what it holds is guessed from what was sent there';
    return { about: id, check, well: true, says };
  }
  if (feed !== null && feed.unfit !== null) {
    const says = `none that can be used, so its cache is ${mode}: guessed from what was sent there`;
    return { about: id, check, well: false, says };
  }
  if (feed?.complete) {
    const says = `all its events came, and it rarely has what they say, so its cache is ${mode}: are they its own? Compare where it publishes them with events: of this worker, and both with those of the others`;
    return { about: id, check, well: false, says };
  }
  const says = `its cache is ${mode}; empty it (POST /reset_prefix_cache) to start over`;
  return { about: id, check, well: false, says };
}

/** Fewer predictions than this confirm nothing. */
const PREDICTIONS_MIN = 10;
const CONFIRMED_MIN = 0.9;

/** Whether its engine had cached what was predicted. */
function confirmed({ id, mode, confidence, about }: WorkerSnapshot): Found {
  const { agreement, observations, unreported } = confidence;
  const check = 'cached tokens';
  if (about.tokensMode === 'passThrough' && observations === 0) {
    return { about: id, check, well: true, says: 'prompts pass through, so none are predicted' };
  }
  if (agreement === undefined || observations < PREDICTIONS_MIN) {
    const silent = unreported > 0 && observations === 0;
    const says = silent
      ? `the engine reports none (${unreported} answers), so its cache is only guessed; vLLM: --enable-prompt-tokens-details, SGLang: --enable-cache-report`
      : `${observations} predictions were compared so far`;
    return { about: id, check, well: !silent, says };
  }
  const share = `${(agreement * 100).toFixed(1)} % of ${observations} predictions confirmed`;
  const mend = mode === 'loadOnly' ? '; only its load counts: is prefix caching on there?' : '';
  const well = agreement >= CONFIRMED_MIN && mode !== 'loadOnly';
  return { about: id, check, well, says: `${share}, cache ${mode}${mend}` };
}

/** What came of its events: whatever was lost, doubled or not understood is said. */
function feedFinding(id: string, { complete, unfit, counts, lagMs }: FeedReport): Found {
  if (unfit !== null) return { about: id, check: 'KV feed', well: false, says: unfit };
  const odd = ODD_COUNTS.filter((count) => counts[count] > 0).map(
    (count) => `${counts[count]} ${count}`,
  );
  const lag = lagMs === undefined ? 'none came yet' : ageOf(lagMs);
  const told = `${counts.batches} batches, ${lag}`;
  const known = complete
    ? 'all it holds is known'
    : 'not all it holds is known; it is asked for again';
  return {
    about: id,
    check: 'KV feed',
    well: complete && counts.decodeErrors + counts.unknownMedium + counts.malformed === 0,
    says: [told, known, ...odd].join('; '),
  };
}

/** Nothing is decided by it: it only says how late events are, where both clocks agree. */
function ageOf(lagMs: number): string {
  if (lagMs < SKEW_MS_MIN) return `the last ${Math.round(lagMs)} ms old`;
  return `the last ${Math.round(lagMs / 1000)} s old by its own clock, which is behind ours unless they come late`;
}

const SKEW_MS_MIN = 10_000;

const ODD_COUNTS = [
  'gaps',
  'lost',
  'resyncs',
  'restarts',
  'duplicates',
  'overflowed',
  'orphans',
  'unknownRemoved',
  'unknownMedium',
  'malformed',
  'decodeErrors',
  'otherRank',
] as const;
