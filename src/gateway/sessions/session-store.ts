/**
 * Sessions in files, so that they are there again after a restart. What changes is written a moment
 * later, all of a session at once; whoever must be sure waits for `written`.
 */
import type { SessionId, TenantId } from '../../model/ids.ts';
import type { Cancel, Clock } from '../../ports.ts';
import { placeOf } from '../place.ts';
import type { Found, Shelf } from '../responses/shelf.ts';
import { decodeSession, encodeSession, type SavedSession } from './saved-session.ts';

export interface SessionStoreParts {
  shelf: Shelf;
  clock: Clock;
  /** After its last turn. */
  keepMs: number;
  /** Between a change and its writing. */
  flushUs: number;
  /** Hears, once until it works again, that sessions cannot be kept. */
  complain: (sentence: string) => void;
}

/** What a session is now; undefined: there is none any more. */
type Current = (tenant: TenantId, session: SessionId) => SavedSession | undefined;

interface Changed {
  tenant: TenantId;
  session: SessionId;
}

export class SessionStore {
  readonly #parts: SessionStoreParts;
  readonly #changed = new Map<string, Changed>();
  #current: Current = () => undefined;
  #cancel: Cancel | undefined;
  /** The writing under way, and what waits for it. */
  #writing: Promise<void> = Promise.resolve();
  #complained = false;

  constructor(parts: SessionStoreParts) {
    this.#parts = parts;
  }

  /** Hands over all that are kept, the one used longest ago first; `current` is asked from then on. */
  async open(current: Current, restore: (saved: SavedSession) => void): Promise<void> {
    this.#current = current;
    const { clock, keepMs, shelf } = this.#parts;
    try {
      const found = await shelf.list();
      for (const one of found.sort((a, b) => a.writtenMs - b.writtenMs)) {
        const saved = await this.#read(one, clock.wallMs() - keepMs);
        if (saved !== undefined) restore(saved);
      }
    } catch (error) {
      this.#complain('read', error);
    }
  }

  changed(tenant: TenantId, session: SessionId): void {
    this.#changed.set(JSON.stringify([tenant, session]), { tenant, session });
    const { clock, flushUs } = this.#parts;
    this.#cancel ??= clock.after(flushUs, () => void this.written());
  }

  /** Resolves when all that has changed so far is in its file, or cannot be. */
  written(): Promise<void> {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  close(): Promise<void> {
    return this.written();
  }

  async #read(found: Found, oldestMs: number): Promise<SavedSession | undefined> {
    const { shelf } = this.#parts;
    const bytes = found.writtenMs < oldestMs ? undefined : await shelf.read(found);
    const saved = bytes && decodeSession(bytes);
    // Under another name it would be found by nobody, and never be written again.
    const place = saved && placeOf(saved.tenant, saved.session);
    if (place?.file === found.file && place.folder === found.folder) return saved;
    await shelf.remove(found);
    return undefined;
  }

  async #write(): Promise<void> {
    const { shelf, clock } = this.#parts;
    const changed = [...this.#changed.values()];
    this.#changed.clear();
    for (const { tenant, session } of changed) {
      const saved = this.#current(tenant, session);
      const place = placeOf(tenant, session);
      try {
        if (saved === undefined) await shelf.remove(place);
        else await shelf.replace(place, { bytes: encodeSession(saved), atMs: clock.wallMs() });
        this.#complained = false;
      } catch (error) {
        this.#complain('kept', error);
      }
    }
  }

  #complain(what: string, error: unknown): void {
    if (this.#complained) return;
    this.#complained = true;
    const why = (error as NodeJS.ErrnoException).code ?? String(error);
    this.#parts.complain(`Sessions cannot be ${what} (${why}): a restart forgets them.`);
  }
}
