/** What a gateway remembers of those who asked before, and does about their KV. */
import { join } from 'node:path';
import type { Prng } from '../base/prng.ts';
import type { Host } from '../gateway/host.ts';
import { Identities } from '../gateway/identities.ts';
import { KvWishes } from '../gateway/kv-wishes.ts';
import type { Receipts } from '../gateway/receipts.ts';
import { FileShelf, MemoryShelf } from '../gateway/responses/shelf.ts';
import type { Roster } from '../gateway/roster.ts';
import { Runaway } from '../gateway/runaway.ts';
import { Keeping } from '../gateway/sessions/keeping.ts';
import { Parking } from '../gateway/sessions/parking.ts';
import { SessionStore } from '../gateway/sessions/session-store.ts';
import { Sessions } from '../gateway/sessions/sessions.ts';
import type { Config } from '../model/config.ts';
import type { Clock, Sink } from '../ports.ts';
import { stateHere } from './state-here.ts';

export interface Remembered {
  identities: Identities;
  sessions: Sessions;
  keeping: Keeping;
  parking: Parking;
  wishes: KvWishes;
  runaway: Runaway;
  /** What was kept of sessions is known again. */
  restored: Promise<void>;
  /** When no call runs any more. */
  forget(): Promise<void>;
}

const DAY_MS = 24 * 3600 * 1000;
/** Between a turn and the writing of what is known of its session. */
const FLUSH_US = 3_000_000;
/** For a worker to write or read a session's files, and one that starts to tell what it has. */
const PARK_US_MAX = 10_000_000;

export function remember(
  { limits, store: { sessions: settings }, runaway: bounds }: Config,
  parts: { clock: Clock; host: Host; receipts: Receipts; roster: Roster; rng: Prng; sink: Sink },
): Remembered {
  const { clock, host, receipts, roster, rng, sink } = parts;
  const { lineageBytesMax, sessionsBytesMax } = limits;
  const keeping = new Keeping({ kvOf: (worker) => roster.engine(worker)?.kv, sink });
  const { folder = join(stateHere(), 'sessions') } = settings;
  const store = new SessionStore({
    shelf: settings.mode === 'files' ? new FileShelf(folder) : new MemoryShelf(),
    clock,
    keepMs: settings.keepDays * DAY_MS,
    flushUs: FLUSH_US,
    complain: (sentence) => sink.note({ kind: 'warning', sentence }),
  });
  const sessions = new Sessions({
    ...{ clock, host, keeping, sessionsBytesMax },
    changed: (tenant, session) => store.changed(tenant, session),
  });
  const restored = store.open(
    (tenant, session) => sessions.saved(tenant, session),
    (saved) => sessions.restore(saved),
  );
  const wishes = new KvWishes({
    ...{ clock, keeping },
    recordOf: (tenant, thread) => sessions.record(tenant, thread),
    noted: (receipt, action) => receipts.acted(receipt, action),
    tell: (fact) => host.tell(fact),
  });
  const written = () => store.written();
  const places = { clock, host, keeping, sessions, written, waitUsMax: PARK_US_MAX };
  return {
    identities: new Identities({
      lineageBytesMax,
      rng: rng.fork('lineage'),
      kinOf: (tenant, thread) => sessions.record(tenant, thread),
    }),
    ...{ sessions, keeping, wishes, restored },
    parking: new Parking(places),
    runaway: new Runaway({ bounds, spentOf: (who) => sessions.spentTokens(who), sink }),
    async forget() {
      wishes.close();
      await store.close();
    },
  };
}
