/**
 * Threads of clients that send no id, told by what they say: a request belongs to the thread whose last
 * prompt it extends, the longest where there are several.
 *
 *   [s u]                      a thread begins
 *   [s u a t]                  it goes on: all of its last prompt, and more
 *   [s u a t] again            the same, where it was not served (a client tries again); else another
 *                              thread, for nobody asks the same twice within one
 *   [s u a' t']  a' ≠ a        another thread: edited, drawn anew, or somebody who began alike
 *   [s u'], [s]                another one: a system prompt in common is not a session
 *
 * Two that began alike are told apart by what they were answered. Measured over 326 recorded follow-ups
 * of nine clients: all but the first after a compaction extend a prompt strictly (agent-clients.md).
 *
 * Of threads with names it only says how a prompt stands to the one before.
 */
import { randomBytes } from 'node:crypto';
import { FairLru } from '../../base/fair-lru.ts';
import type { SessionId, TenantId, ThreadId } from '../../model/ids.ts';
import type { Identity, Purpose, Relation } from '../../model/session.ts';
import type { Prompt } from '../../wire/wire.ts';
import { type AnswerSketch, DIFFERENT } from './answer-sketch.ts';
import { type Chain, type End, type Place, rootOf } from './chain.ts';
import { ChatChain } from './chat-chain.ts';
import { bytesOf, type Line, type Mark, tipOf } from './line.ts';
import { PieceChain } from './piece-chain.ts';

/** A request, as far as lineage reads it. */
export interface Said {
  tenant: TenantId;
  /** Nothing is shared across salts. */
  salt: string;
  model: string;
  prompt: Prompt;
}

/** Where a request belongs. */
export interface Belongs {
  session: SessionId;
  thread: ThreadId;
  /** Of a thread that goes on apart from another: that other one. */
  parent: ThreadId | undefined;
  relation: Relation;
  /** A turn of the thread with tools was served before. */
  hadTools: boolean;
}

/** Ends of prompts remembered of one thread: further back nobody forks. */
const MARKS_MAX = 64;
/** So many threads that began alike are told apart; of more, the oldest is forgotten. */
const ALIKE_MAX = 32;

export class Lineage {
  readonly #lines: FairLru<TenantId, ThreadId, Line>;
  /** By tenant, then by digest; newest last. */
  readonly #ends = new Map<TenantId, Map<string, Mark[]>>();
  readonly #secret = randomBytes(16);
  readonly #name: () => string;

  /** `name` makes names that do not repeat. */
  constructor(given: { bytesMax: number; name: () => string }) {
    this.#name = given.name;
    this.#lines = new FairLru({
      bytesMax: given.bytesMax,
      onEvict: (tenant, _thread, line) => this.#forgetMarks(tenant, line),
    });
  }

  /** For a request without a name; undefined where it says too little to be told from others. */
  attach(said: Said): Belongs | undefined {
    const { tenant, model } = said;
    const chain = this.#chainOf(said, undefined);
    if (chain.end === undefined) return undefined;
    const { found, shared } = this.#search(tenant, chain, model);
    if (found !== undefined) {
      const { line } = found;
      const { hadTools, session, thread } = line;
      const relation: Relation = found.isWhole ? 'repeats' : 'extends';
      // Whoever asks for a summary, without tools, goes on from where it was, if at all.
      const isSummary = hadTools && toolsOf(said.prompt) === 0;
      if (!isSummary) {
        line.hasTools = toolsOf(said.prompt) > 0;
        this.#wentOn(line, { tenant, model, end: chain.end, relation });
      }
      this.#keep(tenant, line);
      return { session, thread, parent: undefined, relation, hadTools };
    }
    const thread = this.#name() as ThreadId;
    // Without an answer in common they only began alike.
    const origin = shared?.isPast === true ? shared.line : undefined;
    const session = origin?.session ?? (thread as string as SessionId);
    const line = newLine({ thread, session, model, hasTools: toolsOf(said.prompt) > 0 });
    this.#mark(tenant, line, chain.end);
    this.#keep(tenant, line);
    const relation = origin === undefined ? 'begins' : 'forks';
    return { session, thread, parent: origin?.thread, relation, hadTools: false };
  }

  /** Whether a turn with tools was served to a thread with a name; undefined where it is not known. */
  hadTools(tenant: TenantId, thread: ThreadId): boolean | undefined {
    return this.#lines.peek(tenant, thread)?.hadTools;
  }

  /** Of a thread with a name; undefined where it is not known. */
  sessionOf(tenant: TenantId, thread: ThreadId): SessionId | undefined {
    return this.#lines.peek(tenant, thread)?.session;
  }

  /** How a prompt stands to the last one of a thread with a name, which goes on from it unless it is an aside. */
  follow(
    said: Said,
    { thread, session, purpose }: { thread: ThreadId; session: SessionId; purpose: Purpose },
  ): Relation {
    const { tenant, model } = said;
    const known = this.#lines.get(tenant, thread);
    const tip = known === undefined ? undefined : tipOf(known);
    const chain = this.#chainOf(said, tip?.at ?? 0);
    const line = known ?? newLine({ thread, session, model, hasTools: false });
    const relation = relationTo(chain, tip);
    if (!isAside(purpose) && chain.end !== undefined) {
      // Nobody looks it up by what it says.
      line.marks.length = 0;
      line.marks.push({ ...chain.end, line });
      line.state = 'running';
      line.hasTools = toolsOf(said.prompt) > 0;
    }
    this.#keep(tenant, line);
    return relation;
  }

  /** What became of a request; asides leave no trace. */
  ended(
    { tenant, thread, purpose }: Identity,
    outcome: { served: boolean; answer: AnswerSketch | undefined },
  ): void {
    const line = thread === undefined ? undefined : this.#lines.peek(tenant, thread);
    if (line === undefined || isAside(purpose)) return;
    line.state = outcome.served ? 'served' : 'unserved';
    line.hadTools ||= outcome.served && line.hasTools;
    line.answer = outcome.answer;
  }

  get bytes(): number {
    return this.#lines.bytes;
  }

  check(): void {
    this.#lines.check();
  }

  #chainOf({ tenant, salt, prompt }: Said, wanted: number | undefined): Chain {
    const root = rootOf(this.#secret, [tenant, salt]);
    switch (prompt.kind) {
      case 'chat':
        return new ChatChain(prompt.chat, root, wanted);
      case 'text':
        return new PieceChain(prompt.text, root);
      case 'tokens':
        return new PieceChain(prompt.ids, root);
    }
  }

  /** The thread that is continued, and the last one that shares something where none is. */
  #search(tenant: TenantId, chain: Chain, model: string) {
    const ends = this.#ends.get(tenant);
    let shared: { line: Line; isPast: boolean } | undefined;
    for (const place of ends === undefined ? [] : chain.places.toReversed()) {
      for (const { length, marks } of byLength(ends?.get(place.digest) ?? [], chain, place)) {
        const tips = marks.filter((mark) => tipOf(mark.line) === mark);
        if (length === lengthOf(chain.end)) {
          const again = tips.findLast(({ line }) => line.state === 'unserved');
          if (again !== undefined) return { found: { line: again.line, isWhole: true }, shared };
        } else {
          const line = likeliest(tips, { chain, place, model });
          if (line !== undefined) return { found: { line, isWhole: false }, shared };
        }
        const last = marks[marks.length - 1];
        const isPast = place.isAnswered || last !== last.line.marks[0];
        shared ??= { line: last.line, isPast };
      }
    }
    return { found: undefined, shared };
  }

  #wentOn(
    line: Line,
    given: { tenant: TenantId; model: string; end: End; relation: Relation },
  ): void {
    line.model = given.model;
    line.state = 'running';
    if (given.relation === 'repeats') return;
    line.answer = undefined;
    this.#mark(given.tenant, line, given.end);
  }

  #mark(tenant: TenantId, line: Line, end: End): void {
    let ends = this.#ends.get(tenant);
    if (ends === undefined) this.#ends.set(tenant, (ends = new Map()));
    const mark = { ...end, line };
    line.marks.push(mark);
    const alike = ends.get(end.digest);
    if (alike === undefined) ends.set(end.digest, [mark]);
    else alike.push(mark);
    if (line.marks.length > MARKS_MAX) this.#unmark(tenant, line.marks[0]);
    if (alike === undefined || alike.length <= ALIKE_MAX) return;
    const [oldest] = alike;
    this.#lines.delete(tenant, oldest.line.thread);
    this.#forgetMarks(tenant, oldest.line);
  }

  #keep(tenant: TenantId, line: Line): void {
    this.#lines.set(tenant, line.thread, { value: line, bytes: bytesOf(line) });
  }

  #unmark(tenant: TenantId, mark: Mark): void {
    const { marks } = mark.line;
    marks.splice(marks.indexOf(mark), 1);
    const ends = this.#ends.get(tenant);
    const alike = ends?.get(mark.digest);
    if (ends === undefined || alike === undefined) return;
    const at = alike.indexOf(mark);
    if (at < 0) return; // Of a thread with a name: nobody looks it up by what it says.
    alike.splice(at, 1);
    if (alike.length === 0) ends.delete(mark.digest);
    if (ends.size === 0) this.#ends.delete(tenant);
  }

  #forgetMarks(tenant: TenantId, line: Line): void {
    for (const mark of [...line.marks]) this.#unmark(tenant, mark);
  }
}

function newLine(given: Pick<Line, 'thread' | 'session' | 'model' | 'hasTools'>): Line {
  return { ...given, marks: [], hadTools: false, state: 'running', answer: undefined };
}

/** Nobody goes on from what it says. */
export function isAside({ kind }: Purpose): boolean {
  return kind === 'side' || kind === 'compaction';
}

function toolsOf(prompt: Prompt): number {
  return prompt.kind === 'chat' ? prompt.chat.tools.length : 0;
}

function lengthOf(end: End | undefined): number {
  return end === undefined ? 0 : end.at + end.rest;
}

/** Those that really ended there, the longest first, and together where they are equally long. */
function byLength(
  marks: readonly Mark[],
  chain: Chain,
  place: Place,
): { length: number; marks: Mark[] }[] {
  const groups = new Map<number, Mark[]>();
  for (const mark of marks) {
    const group = groups.get(mark.rest);
    if (group?.[0].restDigest === mark.restDigest) group.push(mark);
    else if (group === undefined && chain.meets(place, mark)) groups.set(mark.rest, [mark]);
  }
  return [...groups.entries()]
    .sort(([a], [b]) => b - a)
    .map(([rest, group]) => ({ length: place.at + rest, marks: group }));
}

/** By the answer it got, then by its model, then the newest; undefined where each got another answer. */
function likeliest(
  tips: readonly Mark[],
  { chain, place, model }: { chain: Chain; place: Place; model: string },
): Line | undefined {
  let best: { line: Line; likeness: number } | undefined;
  for (const { line, ...end } of tips) {
    const answer = chain.answerTo(place, end);
    const known = answer === undefined ? undefined : line.answer?.likeness(answer);
    const likeness = (known ?? 0) + (line.model === model ? 0.5 : 0);
    if (known !== undefined && known <= DIFFERENT) continue;
    if (best === undefined || likeness >= best.likeness) best = { line, likeness };
  }
  return best?.line;
}

function relationTo(chain: Chain, tip: End | undefined): Relation {
  if (tip === undefined) return 'begins';
  const place = chain.places.find(({ at, digest }) => at === tip.at && digest === tip.digest);
  if (place === undefined || !chain.meets(place, tip)) return 'diverges';
  return lengthOf(chain.end) === lengthOf(tip) ? 'repeats' : 'extends';
}
