/** What a gateway remembers of those who asked before. */
import type { Prng } from '../base/prng.ts';
import type { Host } from '../gateway/host.ts';
import { Identities } from '../gateway/identities.ts';
import type { Roster } from '../gateway/roster.ts';
import { Keeping } from '../gateway/sessions/keeping.ts';
import { Sessions } from '../gateway/sessions/sessions.ts';
import type { Config } from '../model/config.ts';
import type { Clock, Sink } from '../ports.ts';

export interface Remembered {
  identities: Identities;
  sessions: Sessions;
}

export function remember(
  { lineageBytesMax, sessionsBytesMax }: Config['limits'],
  parts: { clock: Clock; host: Host; roster: Roster; rng: Prng; sink: Sink },
): Remembered {
  const { clock, host, roster, rng, sink } = parts;
  const keeping = new Keeping({ kvOf: (worker) => roster.engine(worker)?.kv, sink });
  return {
    identities: new Identities({ lineageBytesMax, rng: rng.fork('lineage') }),
    sessions: new Sessions({ clock, host, keeping, sessionsBytesMax }),
  };
}
