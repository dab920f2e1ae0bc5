/**
 * Preble's E2, exploit or explore (arXiv 2407.00023, ICLR '25; AIBrix ports it as prefix-cache-preble):
 *
 *   cached > missing tokens → exploit: the worker that matches longest, of equals the least loaded
 *   otherwise               → explore: the least of L + M + P
 *      L  prefill and decode seconds given to the worker in the last three minutes
 *      M  seconds to compute again what this prompt pushes out there, times the worker's hit ratio
 *      P  seconds to prefill what of this prompt is missing there
 *   the chosen one's L > 2 × the least L → rebalance: whoever has that least
 *
 * Decode seconds are those of a mean answer so far. Its replication of hot prefixes and its order
 * inside an engine are left out.
 */
import type { Prng } from '../../../base/prng.ts';
import type { WorkerId } from '../../../model/ids.ts';
import type { Arrival, Fact } from '../../../model/kernel-io.ts';
import type { Policy, Seen } from '../../policy.ts';
import { prefill } from '../cost.ts';
import { leastOf } from './least.ts';
import { Placements } from './placements.ts';

const WINDOW_US = 180_000_000;
const IMBALANCE_MAX = 2;
/** New answers count this much in the mean length. */
const NEWS_SHARE = 0.02;
const OUTPUT_TOKENS_FIRST = 200;

interface Given {
  atUs: number;
  us: number;
  promptTokens: number;
  matchedTokens: number;
}

export const preble = (): Policy => new Preble();

/** A worker and what of the prompt at hand it is believed to hold. */
interface Option {
  one: Seen;
  matched: number;
}

class Preble implements Policy {
  readonly name = 'preble';
  readonly view = 'placements';
  readonly #placements = new Placements();
  readonly #history = new Map<WorkerId, Given[]>();
  #nowUs = 0;
  #outputTokens = OUTPUT_TOKENS_FIRST;
  /** Of the choice that `placed` follows. */
  #options: Option[] = [];

  choose(request: Arrival, seen: readonly Seen[], rng: Prng): WorkerId {
    const options = seen.map((one) => {
      return { one, matched: this.#placements.matchedTokens(request, one.worker) };
    });
    this.#options = options;
    const best = Math.max(...options.map(({ matched }) => matched));
    const load = ({ one }: Option) => this.#givenUs(one.worker);
    const price = (option: Option) =>
      load(option) + this.#pushedOutUs(request, option) + missingUs(request, option);
    const exploits = best > request.promptTokens - best;
    const chosen = exploits
      ? leastOf(
          options.filter(({ matched }) => matched === best),
          load,
          rng,
        )
      : leastOf(options, price, rng);
    const idlest = leastOf(options, load, rng);
    const isImbalanced = load(idlest) > 0 && load(chosen) > IMBALANCE_MAX * load(idlest);
    return (isImbalanced ? idlest : chosen).one.worker;
  }

  placed(request: Arrival, worker: WorkerId): void {
    const option = this.#options.find(({ one }) => one.worker === worker);
    if (option === undefined) return;
    const { about, requests } = option.one;
    const { stepUs, perSequenceUs } = about.decode;
    const decodeUs = this.#outputTokens * (stepUs + perSequenceUs * (requests + 1));
    const given = this.#history.get(worker) ?? [];
    this.#history.set(worker, given);
    given.push({
      atUs: this.#nowUs,
      us: missingUs(request, option) + decodeUs,
      promptTokens: request.promptTokens,
      matchedTokens: option.matched,
    });
    this.#placements.placed(request, worker, about.cacheTokens);
  }

  hears(nowUs: number, fact: Fact): void {
    this.#nowUs = nowUs;
    if (fact.kind === 'finished') {
      this.#outputTokens += NEWS_SHARE * (fact.outputTokens - this.#outputTokens);
    }
    if (fact.kind !== 'workerLeft') return;
    this.#placements.forget(fact.worker);
    this.#history.delete(fact.worker);
  }

  /** Over the window that ends now. */
  #lately(worker: WorkerId): Given[] {
    const given = this.#history.get(worker) ?? [];
    while (given.length > 0 && given[0].atUs < this.#nowUs - WINDOW_US) given.shift();
    return given;
  }

  #givenUs(worker: WorkerId): number {
    return this.#lately(worker).reduce((sum, { us }) => sum + us, 0);
  }

  #pushedOutUs(request: Arrival, { one: { worker, about }, matched }: Option): number {
    const held = this.#placements.heldTokens(worker, request.blockTokens);
    const over = held + request.promptTokens - matched - about.cacheTokens;
    const given = this.#lately(worker);
    const prompts = given.reduce((sum, one) => sum + one.promptTokens, 0);
    if (over <= 0 || prompts === 0) return 0;
    const hits = given.reduce((sum, one) => sum + one.matchedTokens, 0) / prompts;
    return prefill(about.prefill, over, over) * hits;
  }
}

function missingUs({ promptTokens }: Arrival, { one, matched }: Option): number {
  return prefill(one.about.prefill, promptTokens - matched, promptTokens);
}
