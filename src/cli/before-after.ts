/** `stator compare --before URL --after URL`: the same sessions to two servers that run already. */
import { AFTER, BEFORE } from '../bench/before-after.ts';
import { type Contender, compareLive, type Measured } from '../bench/compare.ts';
import { type Endpoint, resetCache, workersBehind } from '../bench/endpoint.ts';
import type { Target } from '../bench/replayed.ts';
import type { Comparison } from '../model/comparison.ts';
import type { Given } from './compare.ts';
import { inWords, met } from './server.ts';
import { manner } from './workload.ts';

export interface BeforeAfterFlags {
  before?: string;
  after?: string;
  beforeKey?: string;
  afterKey?: string;
  /** Undefined: as many as a Stator there says, else one. */
  beforeWorkers?: number;
  afterWorkers?: number;
  /** Undefined: the first that each names. */
  model?: string;
  /** False: caches are left as they are. */
  reset: boolean;
}

export async function compareServers(
  flags: BeforeAfterFlags & { before: string; after: string },
  { workload, ...given }: Given,
): Promise<Comparison> {
  const { model, reset } = flags;
  given.onProgress('asking both servers what they take');
  const before = await met(flags.before, { key: flags.beforeKey, model });
  const after = await met(flags.after, { key: flags.afterKey, model });
  const target = whatBothTake(before, after);
  const contenders = [
    await contenderOf(BEFORE, before, { reset, workers: flags.beforeWorkers }),
    await contenderOf(AFTER, after, { reset, workers: flags.afterWorkers }),
  ];
  const sessions = workload.scripts(target);
  const measured = await inWords(() => compareLive({ ...given, sessions, contenders }));
  const [workersBefore, workersAfter] = contenders.map(({ workers }) => workers ?? 1);
  return {
    ...measured,
    trace: workload.name,
    workers: workersAfter,
    engine: 'servers that ran already',
    profile: null,
    settings: {
      before: before.url,
      after: after.url,
      'model before': before.model,
      'model after': after.model,
      'workers before': workersBefore,
      'workers after': workersAfter,
      'sessions live at once': given.load.live,
      'caches emptied before each run': reset,
    },
    notes: [...manner(workload, target), ...untold(measured), ...measured.notes],
  };
}

/** Both are asked the same, in the way that both understand. */
function whatBothTake(before: Endpoint, after: Endpoint): Target {
  const sameIds = String(before.ids) === String(after.ids);
  return {
    model: before.model,
    ids: sameIds ? before.ids : undefined,
    forced: before.forced && after.forced,
    ignoresEos: before.ignoresEos && after.ignoresEos,
    tokens: undefined,
  };
}

async function contenderOf(
  name: string,
  endpoint: Endpoint,
  given: { reset: boolean; workers: number | undefined },
): Promise<Contender> {
  const { url, headers, model } = endpoint;
  return {
    name,
    view: url,
    workers: given.workers ?? (await workersBehind(endpoint)) ?? 1,
    url,
    headers,
    prepare: async () => {
      if (given.reset) await resetCache(endpoint);
    },
    cpuS: async () => null,
    overlay: () => ({ model }),
  };
}

function untold({ policies }: Measured): string[] {
  return policies
    .filter(({ cachedNotReported }) => cachedNotReported)
    .map(
      ({ policy }) =>
        `The server ${policy} told of no cached token, so what it computed is not known; vLLM tells them with --enable-prompt-tokens-details.`,
    );
}
