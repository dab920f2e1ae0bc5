/** `stator doctor`: looks at a running gateway and says, line by line, what is well and what to mend. */
import { table } from '../base/text.ts';
import type { Snapshot, WorkerSnapshot } from '../gateway/state.ts';
import { WorkerCard } from '../model/worker-card.ts';
import { Complaint } from './complaint.ts';

interface Finding {
  about: string;
  check: string;
  well: boolean;
  says: string;
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

function examine(snapshot: Snapshot): Finding[] {
  const gateway = {
    about: 'gateway',
    check: 'engines',
    well: snapshot.workers.length > 0,
    says: `${snapshot.workers.length} up, policy ${snapshot.policy}`,
  };
  return [gateway, ...snapshot.workers.flatMap(examineWorker)];
}

function examineWorker(worker: WorkerSnapshot): Finding[] {
  const { id, healthy, mode, engine, blockTokens } = worker;
  const parsed = WorkerCard.safeParse(worker.about.card);
  const findings: Finding[] = [
    {
      about: id,
      check: 'reachable',
      well: healthy && engine !== null,
      says: healthy ? 'answers' : 'does not answer; see its log',
    },
    {
      about: id,
      check: 'KV events',
      well: mode === 'exact',
      says:
        mode === 'exact'
          ? `${worker.indexedBlocks} blocks of ${blockTokens} tokens indexed`
          : `its cache is ${mode}; empty it (POST /reset_prefix_cache) to start over`,
    },
  ];
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
