/**
 * Keeps the shadow policies: they hear what the kernel heard and ordered, a moment later, so that no
 * request waits for what is only a comparison. What really came of requests is counted beside.
 */
import type { Shadows } from '../kernel/shadow/shadow.ts';
import { Tally } from '../kernel/shadow/tally.ts';
import type { PolicyReport } from '../model/policy-report.ts';
import type { Receipt } from '../model/receipt.ts';
import type { Clock, Note, Sink } from '../ports.ts';

type Heard = Extract<Note, { kind: 'kernel' }>;

/** Facts that shadows have no use for, and that come in thousands. */
const PASSED_OVER: ReadonlySet<string> = new Set([
  'blocksStored',
  'blocksRemoved',
  'blocksCleared',
  'feedLost',
  'progressed',
]);
/** What waits to be heard; more is a process that gets no breath, where comparisons come last. */
const WAITING_MAX = 10_000;

export class Shadowing implements Sink {
  readonly #shadows: Shadows;
  readonly #clock: Clock;
  readonly #tallies = new Map<string, Tally>();
  #waiting: Heard[] = [];

  constructor(given: { shadows: Shadows; clock: Clock }) {
    this.#shadows = given.shadows;
    this.#clock = given.clock;
  }

  note(note: Note): void {
    if (note.kind === 'request') this.#count(note.receipt);
    if (note.kind !== 'kernel') return;
    const dispatches = note.orders.some(({ kind }) => kind !== 'wake');
    if (PASSED_OVER.has(note.fact.kind) && !dispatches) return;
    if (this.#waiting.length === WAITING_MAX) return;
    if (this.#waiting.length === 0) this.#clock.after(0, () => this.#hear());
    this.#waiting.push(note);
  }

  report(): PolicyReport[] {
    this.#hear();
    const nowUs = this.#clock.nowUs();
    return this.#shadows.report(nowUs).map((row) => {
      const tally = row.role === 'shadow' ? undefined : this.#tallies.get(row.policy);
      return { ...row, actual: tally?.report(nowUs) ?? null };
    });
  }

  #hear(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { atUs, fact, orders } of waiting) this.#shadows.handle(atUs, fact, orders);
  }

  #count({ policy, promptTokens, actual, regret }: Receipt): void {
    if (actual.status !== 'done' || actual.ttftUs === null) return;
    let tally = this.#tallies.get(policy);
    if (tally === undefined) this.#tallies.set(policy, (tally = new Tally()));
    tally.count(this.#clock.nowUs(), {
      promptTokens: actual.cachedTokens === null ? 0 : (promptTokens ?? 0),
      cachedTokens: actual.cachedTokens ?? 0,
      ttftUs: actual.ttftUs,
      regretUs: regret?.us ?? 0,
    });
  }
}
