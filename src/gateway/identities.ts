/**
 * Who asks, for which thread, and what for: what the client says (identify), and what it shows where it
 * does not say (lineage, purpose).
 */
import type { Prng } from '../base/prng.ts';
import type { SessionId, TenantId, ThreadId } from '../model/ids.ts';
import type { Identity } from '../model/session.ts';
import type { Headers } from '../wire/headers.ts';
import { SESSION_CONTROL } from '../wire/hints.ts';
import type { Ask } from '../wire/wire.ts';
import type { Caller } from './access.ts';
import { CACHE_KEY, identify } from './identify.ts';
import type { AnswerSketch } from './lineage/answer-sketch.ts';
import { Lineage } from './lineage/lineage.ts';
import { isAgentsOwn, purposeShown } from './purpose.ts';

/** Of a thread, where it belongs and whether it had a turn. */
export interface Kin {
  session: SessionId;
  parent: ThreadId | undefined;
  turns: number;
}

export class Identities {
  readonly #lineage: Lineage;
  readonly #kinOf: (tenant: TenantId, thread: ThreadId) => Kin | undefined;

  /**
   * `rng` draws names for threads that have none: they must not repeat after a restart; `kinOf`: what is
   * remembered of a thread with a name.
   */
  constructor({
    lineageBytesMax,
    rng,
    kinOf,
  }: {
    lineageBytesMax: number;
    rng: Prng;
    kinOf: (tenant: TenantId, thread: ThreadId) => Kin | undefined;
  }) {
    this.#kinOf = kinOf;
    let count = 0;
    const name = () => `line-${rng.uint32().toString(36)}${(count++).toString(36)}`;
    this.#lineage = new Lineage({ bytesMax: lineageBytesMax, name });
  }

  /** Of a request that will run; `ended` is told of each. Throws where an id is too long. */
  of({ tenant }: Caller, headers: Headers, ask: Ask): Identity {
    const { session: name, endsSession } = ask.hints;
    const names = name === undefined ? [] : [{ field: SESSION_CONTROL, value: name }];
    const said = identify(tenant, headers, [...names, ...ask.names]);
    const who = endsSession === undefined ? said : { ...said, isFinal: true };
    const { session, thread } = who;
    if (session === undefined || thread === undefined) return this.#attached(who, ask);
    if (who.knownBy === CACHE_KEY) return this.#keyed(who, { session, ask });
    return this.#named(who, { session, thread, headers, ask });
  }

  /** What became of it; `answer`: as far as it was given. */
  ended(who: Identity, outcome: { served: boolean; answer: AnswerSketch | undefined }): void {
    this.#lineage.ended(who, outcome);
  }

  #attached(who: Identity, ask: Ask): Identity {
    const found = this.#lineage.attach(saidOf(who, ask));
    if (found === undefined) return who;
    const { session, thread, parent, relation, hadTools } = found;
    const looks = { ...looksOf(ask), hadTools, isAgent: false };
    const purpose = purposeShown(looks) ?? who.purpose;
    return { ...who, session, thread, parent, relation, purpose, knownBy: 'lineage' };
  }

  /**
   * A key for caches is one for an agent and its sub-agents, or for all that an application asks: its
   * threads are told apart by what they say.
   */
  #keyed(who: Identity, { session, ask }: { session: SessionId; ask: Ask }): Identity {
    const { hints } = ask;
    const cacheSalt = JSON.stringify([session, hints.cacheSalt]);
    const found = this.#attached(who, { ...ask, hints: { ...hints, cacheSalt } });
    return found === who ? who : { ...found, session, knownBy: `${CACHE_KEY}, ${found.knownBy}` };
  }

  #named(
    who: Identity,
    given: {
      session: NonNullable<Identity['session']>;
      thread: ThreadId;
      headers: Headers;
      ask: Ask;
    },
  ): Identity {
    const { thread, headers, ask } = given;
    // A fork is named by its own name alone.
    const kin = this.#kinOf(who.tenant, thread);
    const isFork = kin?.parent !== undefined && who.parent === undefined;
    const session = isFork ? kin.session : this.#rootOf(who, given.session);
    const parent = isFork ? kin.parent : who.parent;
    const hadTools = this.#lineage.hadTools(who.tenant, thread) ?? false;
    const looks = { ...looksOf(ask), hadTools, isAgent: isAgentsOwn(headers) };
    const purpose =
      who.purpose.by === 'nothing' ? (purposeShown(looks) ?? who.purpose) : who.purpose;
    const own = purpose.kind === 'side' ? sideOf(who, thread) : { thread, parent };
    const followed = this.#lineage.follow(saidOf(who, ask), { ...own, session, purpose });
    const relation = isFork && kin.turns === 0 ? 'forks' : followed;
    return { ...who, session, ...own, purpose, relation };
  }

  /** Where each sub-agent names a session of its own and its parent's, all are one session: the first's. */
  #rootOf({ tenant, thread, parent }: Identity, session: SessionId): SessionId {
    const isOwn = (session as string) === thread;
    if (!isOwn || parent === undefined) return session;
    const known = this.#lineage.sessionOf(tenant, parent) ?? this.#kinOf(tenant, parent)?.session;
    return known ?? (parent as string as SessionId);
  }
}

/** Of a call that is no turn of the thread it names, and shares nothing with it. */
export function beside(who: Identity): Identity {
  if (who.thread === undefined) return who;
  return { ...who, ...sideOf(who, who.thread), purpose: { kind: 'side', by: 'the route' } };
}

/** A call beside a thread shares its session and nothing else; Codex gives it a thread of its own. */
function sideOf(who: Identity, thread: ThreadId): Pick<Identity, 'parent'> & { thread: ThreadId } {
  if (who.knownBy === 'thread-id' && who.purpose.kind === 'side')
    return { thread, parent: who.parent };
  return { thread: `${thread}/side` as ThreadId, parent: thread };
}

function saidOf({ tenant }: Identity, { prompt, model, hints }: Ask) {
  return { tenant, salt: hints.cacheSalt ?? '', model, prompt };
}

/** What is no conversation has no tools to leave out. */
function looksOf({ prompt, shape }: Ask): { tools: number; isFormatted: boolean } {
  const { format } = shape;
  return {
    tools: prompt.kind === 'chat' ? prompt.chat.tools.length : Number.POSITIVE_INFINITY,
    isFormatted: format?.kind === 'json' || format?.kind === 'schema',
  };
}
