/** Files and batches, as the configuration wants them kept. */
import { join } from 'node:path';
import type { Access } from '../gateway/access.ts';
import { Batches } from '../gateway/batches/batches.ts';
import { Cabinet } from '../gateway/batches/cabinet.ts';
import { noted } from '../gateway/responses/noted.ts';
import type { Handler, Route } from '../http/router.ts';
import type { Config } from '../model/config.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Clock, Sink } from '../ports.ts';
import { stateHere } from './state-here.ts';

export interface KeptBatches {
  routes: Map<string, Route>;
  /** Sets what they are now. */
  gauges(metrics: Metrics): void;
  /** While calls can still be answered: what runs is to be asked again. */
  close(): Promise<void>;
}

const DAY_MS = 24 * 3600 * 1000;

export function buildBatches(
  { store: { batches: settings } }: Config,
  parts: { access: Access; clock: Clock; sink: Sink; handler: Handler },
): KeptBatches {
  if (settings.mode === 'off') {
    return { routes: new Map(), gauges: () => {}, close: async () => {} };
  }
  const { folder = join(stateHere(), 'batches'), requestsMax, inFlightMax, keepDays } = settings;
  const cabinet = new Cabinet({ folder, limits: settings });
  const { runningMax, tenantBatchesMax } = settings;
  const batches = new Batches({
    ...{ ...parts, cabinet, runningMax, tenantBatchesMax },
    limits: { requestsMax, inFlightMax, keepMs: keepDays * DAY_MS },
    complain: (sentence) => parts.sink.note({ kind: 'warning', sentence }),
  });
  const routes = [...batches.routes()];
  return {
    routes: new Map(routes.map(([pattern, route]) => [pattern, noted(parts.sink, route)])),
    gauges(metrics) {
      metrics.set('stator_open_batches', {}, batches.openCount);
      metrics.set('stator_stored_file_bytes', {}, cabinet.totalBytes);
    },
    close: () => batches.close(),
  };
}
