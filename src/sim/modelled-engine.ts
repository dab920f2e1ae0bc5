/**
 * One engine in virtual time: continuous batching with chunked prefill, first come, first served, over
 * a `ChainCache`, each step as long as the profile says. A sequence is admitted when prompt and answer
 * fit the device beside those that run. Where sequences are due at other times, the one due first goes
 * first, and one that is due sets those aside that are not: their KV may leave the device, and what they
 * said stays said.
 *
 *   submit ─► waiting ─► running: [fetch from host or another engine] ─► prefill in chunks ─► first token ─► decode ─► ended
 *
 * Steps that only decode are taken together up to the first that changes anything (an answer ends, a
 * fetch arrives, a request comes in): k steps of b sequences are a quadratic in k, so a span costs as
 * much as one step and ends on the same microsecond as k steps would.
 */
import { assert, must } from '../base/assert.ts';
import type { ChainCache } from './chain-cache.ts';
import { decodeTimeUs, type Profile, stepTimeUs } from './profile.ts';
import { compareTurns, dueOf, type Sequence } from './sequence.ts';

export interface EngineSettings {
  profile: Profile;
  blockTokens: number;
  /** Device blocks all running sequences may take; less than the cache's where several engines share it. */
  runningBlocksMax: number;
  /** Microseconds to bring one token's KV from another engine. */
  transferPerTokenUs: number;
  /** Whether what lies in cache is used: a stack without reuse computes every prompt in full. */
  reuses: boolean;
}

export interface EngineListener<T> {
  firstToken(of: T, atUs: number, cachedTokens: number): void;
  ended(of: T, atUs: number): void;
}

interface Waiting<T> {
  readonly sequence: Sequence<T>;
  /** Before it was set aside. */
  producedTokens: number;
  /** Of its prompt, found or brought when it was admitted first; undefined: it was not yet. */
  readonly cachedTokens: number | undefined;
  /**
   * Its leading tokens whose KV it had then, beyond whole blocks of its path: the answer's went to host
   * memory with it, which is not counted there, for it is little beside its prompt.
   */
  readonly savedTokens: number;
}

interface Running<T> extends Waiting<T> {
  /** Device blocks it takes, prompt and answer. */
  readonly blocks: number;
  readonly cachedTokens: number;
  /** Its KV is on the device from then on. */
  readonly readyUs: number;
  computedTokens: number;
  /** Leading blocks that are in cache: found or computed. */
  keptBlocks: number;
  /** All before its next token is computed. */
  isDecoding: boolean;
}

/** What is being computed. */
type Span<T> =
  | { kind: 'mixed'; endUs: number; chunks: { running: Running<T>; tokens: number }[] }
  | { kind: 'decode'; endUs: number; steps: number }
  | { kind: 'fetch'; endUs: number };

/** Since this instant the same sequences decode, so that steps add up the same however they are cut. */
interface Anchor {
  atUs: number;
  decodes: number;
  decodeContext: number;
  stepsDone: number;
}

export class ModelledEngine<T> {
  readonly #cache: ChainCache;
  readonly #settings: EngineSettings;
  readonly #listener: EngineListener<T>;
  /** Those due first come first. */
  #waiting: Waiting<T>[] = [];
  #running: Running<T>[] = [];
  #runningBlocks = 0;
  #span: Span<T> | undefined;
  #anchor: Anchor | undefined;
  /** Fetches come one after the other. */
  #linkFreeUs = 0;

  constructor(cache: ChainCache, settings: EngineSettings, listener: EngineListener<T>) {
    this.#cache = cache;
    this.#settings = settings;
    this.#listener = listener;
  }

  /** When `advance` is due; undefined while there is nothing to do. */
  get nextUs(): number | undefined {
    return this.#span?.endUs;
  }

  submit(nowUs: number, sequence: Sequence<T>): void {
    const isFirst = this.#enqueue({
      sequence,
      producedTokens: 0,
      cachedTokens: undefined,
      savedTokens: 0,
    });
    if (this.#span === undefined) this.#begin(nowUs);
    // Behind others that wait for room it could not begin sooner.
    else if (isFirst || this.#settings.profile.waitsForPrefix) this.#cut(nowUs);
  }

  /** Ends the step or span that is due now, and begins the next. */
  advance(nowUs: number): void {
    const span = must(this.#span, 'an engine advances when it is due');
    assert(span.endUs === nowUs, 'an engine advances when it is due');
    this.#span = undefined;
    if (span.kind === 'mixed') this.#endMixed(span.chunks, nowUs);
    else if (span.kind === 'decode') this.#endDecode(span.steps, nowUs);
    this.#begin(nowUs);
  }

  #begin(nowUs: number): void {
    this.#admit(nowUs);
    const prompts: Running<T>[] = [];
    let decodes = 0;
    let decodeContext = 0;
    let readyUs = Number.POSITIVE_INFINITY;
    for (const running of this.#active()) {
      if (running.isDecoding) {
        decodes++;
        decodeContext += running.sequence.promptTokens + running.producedTokens;
      } else if (running.readyUs <= nowUs) prompts.push(running);
      else readyUs = Math.min(readyUs, running.readyUs);
    }
    if (prompts.length > 0) this.#beginMixed(nowUs, prompts, { decodes, decodeContext });
    else if (decodes > 0) this.#beginDecode(nowUs, readyUs, { decodes, decodeContext });
    else if (readyUs < Number.POSITIVE_INFINITY) this.#span = { kind: 'fetch', endUs: readyUs };
  }

  /** All that run; without those that nobody waits for, where there are others. */
  #active(): readonly Running<T>[] {
    const running = this.#running;
    // Those due first come first.
    const isMixed = running.length > 1 && dueOf(running[0]) < dueOf(running[running.length - 1]);
    return isMixed ? running.filter((one) => dueOf(one) < Number.POSITIVE_INFINITY) : running;
  }

  #admit(nowUs: number): void {
    const { blockTokens, profile, runningBlocksMax, reuses } = this.#settings;
    const taken = new Set<Waiting<T>>();
    for (const waiting of [...this.#waiting]) {
      const { sequence, producedTokens } = waiting;
      if (this.#running.length >= profile.sequencesMax) break;
      if (profile.waitsForPrefix && reuses && this.#willFindMore(sequence)) continue;
      const { path, promptTokens, outputTokens } = sequence;
      const blocks = Math.ceil((promptTokens + outputTokens) / blockTokens);
      if (this.#runningBlocks + blocks > runningBlocksMax) break;
      // The last token is always computed: somebody has to make its logits.
      const known = Math.floor((promptTokens + producedTokens - 1) / blockTokens);
      const usable = reuses ? Math.min(path.length, known) : 0;
      let match = this.#cache.match(path, usable);
      if (this.#makeWay(nowUs, sequence, { matched: match.blocks, blocks })) {
        match = this.#cache.match(path, usable);
      }
      if (!this.#cache.admit(path, match.blocks, blocks - match.blocks)) break;
      taken.add(waiting);
      this.#runningBlocks += blocks;
      const brought = Math.max(0, Math.min(usable, sequence.broughtBlocks ?? 0) - match.blocks);
      const pathTokens = (match.blocks + brought) * blockTokens;
      // With all its whole blocks found, what it saved goes on from there.
      const isWhole = match.blocks === Math.min(usable, path.length);
      const foundTokens = isWhole ? Math.max(pathTokens, waiting.savedTokens) : pathTokens;
      const savedUs = (foundTokens - pathTokens) * profile.hostFetchPerTokenUs;
      const fetchUs = this.#fetchUs(match.hostBlocks, brought) + Math.round(savedUs);
      const readyUs = fetchUs > 0 ? Math.max(nowUs, this.#linkFreeUs) + fetchUs : nowUs;
      if (fetchUs > 0) this.#linkFreeUs = readyUs;
      this.#running.push({
        sequence,
        blocks,
        cachedTokens: waiting.cachedTokens ?? pathTokens,
        savedTokens: 0,
        readyUs,
        computedTokens: foundTokens,
        keptBlocks: match.blocks,
        producedTokens,
        isDecoding: false,
      });
    }
    if (taken.size === 0) return;
    this.#waiting = this.#waiting.filter((one) => !taken.has(one));
    this.#running.sort(compareTurns);
  }

  /** Whether it is the first of those that wait now. */
  #enqueue(waiting: Waiting<T>): boolean {
    let at = this.#waiting.length;
    while (at > 0 && compareTurns(this.#waiting[at - 1], waiting) > 0) at--;
    this.#waiting.splice(at, 0, waiting);
    return at === 0;
  }

  /** Sets aside what is not due for what is, the last first, where that is enough; whether it did. */
  #makeWay(
    nowUs: number,
    sequence: Sequence<T>,
    { matched, blocks }: { matched: number; blocks: number },
  ): boolean {
    if (sequence.dueUs !== undefined && sequence.dueUs > nowUs) return false;
    let missing = this.#cache.missing(sequence.path, matched, blocks - matched);
    if (missing <= 0) return false;
    const aside: Running<T>[] = [];
    for (const running of this.#running.toReversed()) {
      if (missing <= 0 || dueOf(running) <= nowUs) break;
      aside.push(running);
      missing -= running.blocks;
    }
    if (missing > 0) return false;
    this.#anchor = undefined;
    this.#running = this.#running.filter((running) => !aside.includes(running));
    for (const running of aside) {
      const { sequence, producedTokens, cachedTokens } = running;
      this.#leave(nowUs, running);
      const savedTokens = this.#cache.hasHost ? running.computedTokens : 0;
      this.#enqueue({ sequence, producedTokens, cachedTokens, savedTokens });
    }
    return true;
  }

  /** Brings blocks up ahead of whoever needs them: when they are there. */
  fetches(nowUs: number, hostBlocks: number): number {
    this.#linkFreeUs = Math.max(nowUs, this.#linkFreeUs) + this.#fetchUs(hostBlocks, 0);
    return this.#linkFreeUs;
  }

  #fetchUs(hostBlocks: number, brought: number): number {
    const { blockTokens, profile, transferPerTokenUs } = this.#settings;
    const perBlockUs = hostBlocks * profile.hostFetchPerTokenUs + brought * transferPerTokenUs;
    return Math.round(perBlockUs * blockTokens);
  }

  /** Its next block is being computed by somebody. */
  #willFindMore({ path }: Sequence<T>): boolean {
    return this.#running.some(({ isDecoding, keptBlocks, sequence }) => {
      const isPrompt = !isDecoding && keptBlocks < path.length;
      return isPrompt && sequence.path[keptBlocks] === path[keptBlocks];
    });
  }

  #beginMixed(
    nowUs: number,
    prompts: Running<T>[],
    beside: { decodes: number; decodeContext: number },
  ): void {
    const { curve, batchedTokensMax } = this.#settings.profile;
    let left = Math.max(1, batchedTokensMax - beside.decodes);
    let promptTokens = 0;
    let tokenContext = 0;
    const chunks: { running: Running<T>; tokens: number }[] = [];
    for (const running of prompts) {
      const { computedTokens } = running;
      const tokens = Math.min(left, neededTokens(running) - computedTokens);
      chunks.push({ running, tokens });
      promptTokens += tokens;
      tokenContext += tokens * (computedTokens + tokens / 2);
      left -= tokens;
      if (left === 0) break;
    }
    const stepUs = stepTimeUs(curve, { promptTokens, tokenContext, ...beside });
    this.#anchor = undefined;
    this.#span = { kind: 'mixed', endUs: nowUs + Math.max(1, Math.round(stepUs)), chunks };
  }

  #beginDecode(
    nowUs: number,
    readyUs: number,
    load: { decodes: number; decodeContext: number },
  ): void {
    this.#anchor ??= { atUs: nowUs, ...load, stepsDone: 0 };
    let steps = Number.POSITIVE_INFINITY;
    for (const { sequence, producedTokens, isDecoding } of this.#active()) {
      if (isDecoding) steps = Math.min(steps, sequence.outputTokens - producedTokens);
    }
    if (readyUs < Number.POSITIVE_INFINITY) steps = Math.min(steps, this.#stepsUntil(readyUs));
    this.#span = { kind: 'decode', endUs: this.#endOfStep(steps), steps };
  }

  /** Somebody may be admitted at the end of the step that is under way. */
  #cut(nowUs: number): void {
    const span = this.#span;
    if (span?.kind === 'fetch') this.#begin(nowUs);
    if (span?.kind !== 'decode') return;
    const steps = Math.min(span.steps, this.#stepsUntil(nowUs));
    this.#span = { kind: 'decode', endUs: this.#endOfStep(steps), steps };
  }

  /** Further steps until one ends at `atUs` or after; at least 1. */
  #stepsUntil(atUs: number): number {
    const anchor = must(this.#anchor, 'who decodes has an anchor');
    const { curve } = this.#settings.profile;
    const first = decodeTimeUs(curve, { ...anchor, steps: 1 });
    const growth = curve.perContextUs * anchor.decodes;
    const b = first - growth / 2;
    const us = atUs - anchor.atUs;
    const root = growth > 0 ? (Math.sqrt(b * b + 2 * growth * us) - b) / growth : us / first;
    let steps = Math.max(1, Math.floor(root) - anchor.stepsDone);
    // The root is within a step of the truth: rounding to whole microseconds decides.
    while (steps > 1 && this.#endOfStep(steps - 1) >= atUs) steps--;
    while (this.#endOfStep(steps) < atUs) steps++;
    return steps;
  }

  #endOfStep(further: number): number {
    const anchor = must(this.#anchor, 'who decodes has an anchor');
    const steps = anchor.stepsDone + further;
    // A step takes a microsecond at least, or time would stand still.
    const us = decodeTimeUs(this.#settings.profile.curve, { ...anchor, steps });
    return anchor.atUs + Math.max(steps, Math.round(us));
  }

  #endMixed(chunks: readonly { running: Running<T>; tokens: number }[], nowUs: number): void {
    const begun: Running<T>[] = [];
    for (const running of this.#active()) if (running.isDecoding) running.producedTokens++;
    for (const { running, tokens } of chunks) {
      running.computedTokens += tokens;
      this.#keep(running);
      if (running.computedTokens < neededTokens(running)) continue;
      running.isDecoding = true;
      // Who was set aside said its first token before.
      if (running.producedTokens++ === 0) begun.push(running);
    }
    for (const { sequence, cachedTokens } of begun) {
      this.#listener.firstToken(sequence.of, nowUs, cachedTokens);
    }
    this.#endFinished(nowUs);
  }

  #endDecode(steps: number, nowUs: number): void {
    const anchor = must(this.#anchor, 'who decodes has an anchor');
    anchor.stepsDone += steps;
    for (const running of this.#active()) {
      if (running.isDecoding) running.producedTokens += steps;
    }
    this.#endFinished(nowUs);
  }

  #endFinished(nowUs: number): void {
    const ended = this.#running.filter((one) => one.producedTokens >= one.sequence.outputTokens);
    if (ended.length === 0) return;
    this.#anchor = undefined;
    this.#running = this.#running.filter((one) => !ended.includes(one));
    for (const running of ended) {
      this.#leave(nowUs, running);
      this.#listener.ended(running.sequence.of, nowUs);
    }
  }

  #leave(nowUs: number, running: Running<T>): void {
    // What was said is as good as what was asked; nothing computed the last token.
    if (running.isDecoding) running.computedTokens = neededTokens(running) - 1;
    this.#keep(running);
    const { sequence, blocks, keptBlocks } = running;
    this.#runningBlocks -= blocks;
    const unused = blocks - keptBlocks;
    this.#cache.release(nowUs, sequence.path, { kept: keptBlocks, unused });
  }

  #keep(running: Running<T>): void {
    if (!this.#settings.reuses) return;
    const { path } = running.sequence;
    const whole = Math.floor(running.computedTokens / this.#settings.blockTokens);
    const kept = Math.min(path.length, whole);
    if (kept <= running.keptBlocks) return;
    this.#cache.computed(path, running.keptBlocks, kept);
    running.keptBlocks = kept;
  }
}

/** Tokens whose KV it needs before its next one. */
function neededTokens({ sequence, producedTokens }: Waiting<unknown>): number {
  return sequence.promptTokens + producedTokens;
}
