/**
 * How far the kernel believes what it knows of a worker's cache, measured: what was promised for each
 * request against the cached tokens its engine then reports.
 *
 *            few promises kept                few promises kept
 *   exact ───────────────────────► predicted ───────────────────────► loadOnly
 *     ▲   ◄──────────────────────     ▲      ◄──────────────────────
 *     │      the lower rungs keep being asked what they would have promised,
 *     └───── and a worker climbs when that comes true for long enough
 *
 * A feed of events that is lost is a second, lower ceiling: no evidence lifts a worker above it.
 */
import { assert } from '../base/assert.ts';
import type { BlockHashes } from '../model/block.ts';
import type { RequestId, WorkerId } from '../model/ids.ts';
import type { Arrival, Candidate } from '../model/kernel-io.ts';
import type { WorkerMode } from '../model/worker.ts';
import type { ExactIndex } from './index/exact.ts';
import { overlapOf } from './index/overlap.ts';
import type { PredictedIndex } from './index/predicted.ts';

/** Leading prompt tokens that each way of knowing says are cached; undefined: it was not asked. */
export interface Promises {
  exact: number | undefined;
  predicted: number | undefined;
}

/** A request whose engine has not reported yet. */
interface Open {
  worker: WorkerId;
  hashes: BlockHashes;
  promises: Promises;
  /** Tokens by which a promise may be off and still be kept: one block. */
  slack: number;
}

/** Where promises come from. */
interface Indexes {
  exact: ExactIndex;
  predicted: PredictedIndex;
}

/** What there is to show of one worker. */
export interface Evidence {
  /** Mean share of promises kept, lately, by the way that is believed now; undefined before any. */
  agreement: number | undefined;
  /** Promises judged since the mode last changed. */
  observations: number;
  /** Answers whose engine did not say what it had cached. */
  unreported: number;
}

export interface ModeChange {
  worker: WorkerId;
  from: WorkerMode;
  to: WorkerMode;
  sentence: string;
}

/** A mode is left when fewer promises than this are kept, and entered when more than this are. */
const KEPT_LOW = 0.25;
const KEPT_HIGH = 0.9;
/** Older promises fade: the mean is over about so many. */
const MEMORY = 50;
/** Each fall makes the next climb need twice the evidence, up to so many times … */
const PATIENCE_MAX = 16;
/** … until it has stood for so many times the evidence a fall needs. */
const FORGIVEN = 20;

export class Confidence {
  readonly #observationsMin: number;
  readonly #indexes: Indexes;
  readonly #states = new Map<WorkerId, Trust>();
  readonly #open = new Map<RequestId, Open>();

  constructor(settings: { confidenceObservationsMin: number }, indexes: Indexes) {
    this.#observationsMin = settings.confidenceObservationsMin;
    this.#indexes = indexes;
  }

  /** `feed`: the best its events allow. Returns the mode it starts in. */
  joined(worker: WorkerId, feed: 'exact' | 'predicted'): WorkerMode {
    const trust = new Trust(feed);
    this.#states.set(worker, trust);
    return trust.mode;
  }

  left(worker: WorkerId): void {
    this.#states.delete(worker);
  }

  /** Its events were lost, or are whole again. Returns the mode it is in now. */
  feed(worker: WorkerId, feed: 'exact' | 'predicted'): WorkerMode {
    const trust = this.#states.get(worker);
    if (trust === undefined) return feed;
    trust.feedIs(feed);
    return trust.mode;
  }

  /** Whether its events are whole, whatever is believed of them. */
  isHeard(worker: WorkerId): boolean {
    return this.#states.get(worker)?.feed === 'exact';
  }

  /** The request goes to `chosen`: what is cached there, as each way of knowing says. */
  placed(nowUs: number, request: Arrival, chosen: Candidate): void {
    const { worker, mode } = chosen;
    const trust = this.#states.get(worker);
    if (trust === undefined || request.hashes.length === 0) return;
    let promises: Promises = { exact: chosen.matchedTokens, predicted: undefined };
    // Only what is not believed in full is asked in both ways: it is one more walk.
    if (mode !== 'exact') {
      const overlap = overlapOf(nowUs, request.hashes, this.#indexes);
      const tokens = (way: WorkerMode) => {
        const blocks = overlap.blocks(worker, way);
        return Math.min(blocks * request.blockTokens, request.promptTokens - 1);
      };
      const exact = trust.feed === 'exact' ? tokens('exact') : undefined;
      promises = { exact, predicted: tokens('predicted') };
    }
    const { hashes, blockTokens } = request;
    this.#open.set(request.id, { worker, hashes, promises, slack: blockTokens });
  }

  /** The request ended without an answer to judge by. */
  dropped(request: RequestId): void {
    this.#open.delete(request);
  }

  /** Its engine said what was cached, or did not. Returns what that changed. */
  reported(request: RequestId, cachedTokens: number | undefined): ModeChange | undefined {
    const open = this.#open.get(request);
    this.#open.delete(request);
    const trust = open && this.#states.get(open.worker);
    if (open === undefined || trust === undefined) return undefined;
    if (cachedTokens === undefined) {
      trust.unreported++;
      return undefined;
    }
    this.#correct(open, cachedTokens);
    const from = trust.mode;
    trust.judge(open.promises, cachedTokens, open.slack);
    const to = trust.move(this.#observationsMin);
    if (to === from) return undefined;
    return { worker: open.worker, from, to, sentence: sentenceOf(open.worker, from, to) };
  }

  evidence(worker: WorkerId): Evidence {
    const trust = this.#states.get(worker);
    if (trust === undefined) return { agreement: undefined, observations: 0, unreported: 0 };
    const { share, count } = trust.mode === 'exact' ? trust.exact : trust.predicted;
    return {
      agreement: count === 0 ? undefined : share,
      observations: count,
      unreported: trust.unreported,
    };
  }

  /** `running`: requests that are placed now; no other promise may be open. */
  check(running: number): void {
    assert(this.#open.size <= running, 'a promise is judged or dropped with its request');
    for (const { mode, feed } of this.#states.values()) {
      assert(mode !== 'exact' || feed === 'exact', 'no mode is above what its events allow');
    }
  }

  /** What it had dropped is not believed any more, nor what was used before that. */
  #correct({ worker, hashes, promises, slack }: Open, cachedTokens: number): void {
    const { predicted } = promises;
    if (predicted === undefined || predicted - cachedTokens <= slack) return;
    this.#indexes.predicted.confirm(worker, hashes, {
      believed: Math.ceil(predicted / slack),
      reported: Math.floor(cachedTokens / slack),
    });
  }
}

/** One worker's record. */
class Trust {
  mode: WorkerMode;
  unreported = 0;
  readonly exact = new Kept();
  readonly predicted = new Kept();
  #feed: 'exact' | 'predicted';
  #patience = 1;

  constructor(feed: 'exact' | 'predicted') {
    this.#feed = feed;
    this.mode = feed;
  }

  get feed(): 'exact' | 'predicted' {
    return this.#feed;
  }

  feedIs(feed: 'exact' | 'predicted'): void {
    if (feed === this.#feed) return;
    this.#feed = feed;
    this.exact.reset();
    // What was fallen out of by its own record is climbed back to by evidence alone.
    const fell = this.#patience > 1;
    if (feed === 'predicted' && this.mode === 'exact') this.mode = 'predicted';
    else if (feed === 'exact' && !fell) this.mode = 'exact';
  }

  judge(promises: Promises, cachedTokens: number, slack: number): void {
    const { exact, predicted } = promises;
    // Events tell everything: what they did not tell counts against them as much as what is not there.
    if (exact !== undefined) {
      const least = Math.min(exact, cachedTokens);
      this.exact.add(Math.max(exact, cachedTokens), least, slack);
    }
    // Own placements know neither answers nor other gateways: more than promised is no broken promise.
    if (predicted !== undefined) {
      this.predicted.add(predicted, Math.min(predicted, cachedTokens), slack);
    }
  }

  move(observationsMin: number): WorkerMode {
    const believed = this.mode === 'exact' ? this.exact : this.predicted;
    if (believed.isKept(observationsMin * FORGIVEN)) this.#patience = 1;
    const enough = observationsMin * this.#patience;
    if (this.mode !== 'exact' && this.#feed === 'exact' && this.exact.isKept(enough)) {
      this.#enter('exact');
    } else if (this.mode === 'loadOnly') {
      if (this.predicted.isKept(enough)) this.#enter('predicted');
    } else if (believed.isBroken(observationsMin)) {
      this.#patience = Math.min(PATIENCE_MAX, this.#patience * 2);
      this.#enter(this.mode === 'exact' ? 'predicted' : 'loadOnly');
    }
    return this.mode;
  }

  #enter(mode: WorkerMode): void {
    this.mode = mode;
    this.exact.reset();
    this.predicted.reset();
  }
}

/** Decaying mean of how much of each promise was kept. */
class Kept {
  share = 0;
  count = 0;

  /** A promise of next to nothing says nothing. */
  add(promised: number, kept: number, slack: number): void {
    if (promised <= slack) return;
    this.count++;
    const share = promised - kept <= slack ? 1 : kept / promised;
    this.share += (share - this.share) / Math.min(this.count, MEMORY);
  }

  reset(): void {
    this.share = 0;
    this.count = 0;
  }

  isKept(observations: number): boolean {
    return this.count >= observations && this.share >= KEPT_HIGH;
  }

  isBroken(observations: number): boolean {
    return this.count >= observations && this.share <= KEPT_LOW;
  }
}

function sentenceOf(worker: WorkerId, from: WorkerMode, to: WorkerMode): string {
  if (to === 'predicted' && from === 'exact') {
    return `${worker} rarely has cached what its KV events say; its own reports and our placements are believed instead`;
  }
  if (to === 'loadOnly') {
    return `${worker} rarely has cached what it was sent before; only its load counts until that changes (is prefix caching on there?)`;
  }
  return `${worker} has cached again what is expected of it; it is ${to} now`;
}
