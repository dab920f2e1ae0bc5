/**
 * NVIDIA Dynamo's KV router: blocks still to prefill, less a credit for those that overlap, plus blocks
 * the worker would hold while decoding; the least wins (lib/kv-router, scheduling/selector; router-design
 * and router-presets of its documentation):
 *
 *   credit = overlapCredit · decay · device overlap + 0.75 · host overlap + 0.25 · disk overlap
 *   decay  = 1 / (1 + creditDecay · excess)
 *   excess = (active prefill tokens − the least of all workers) / block tokens / blocks of the request
 *   cost   = prefillScale · max(0, (active prefill tokens + prompt tokens) / block tokens − credit)
 *          + potential decode blocks + activeRequestWeight · active requests
 *
 * Blocks of active requests that share a prefix count once; output tokens are not tracked; ties go to
 * one at random: all by default there.
 */
import type { WorkerId } from '../../../model/ids.ts';
import type { Arrival } from '../../../model/kernel-io.ts';
import type { Policy, Seen } from '../../policy.ts';
import { chainOf, type PromptChain } from '../../shadow/prompt-cache.ts';
import { ActiveBlocks } from './active-blocks.ts';
import { leastOf } from './least.ts';
import { Ledger } from './ledger.ts';

export interface DynamoWeights {
  overlapCredit: number;
  creditDecay: number;
  prefillScale: number;
  activeRequestWeight: number;
}

const HOST_CREDIT = 0.75;
const DISK_CREDIT = 0.25;

const DEFAULTS: DynamoWeights = {
  overlapCredit: 1,
  creditDecay: 0,
  prefillScale: 1,
  activeRequestWeight: 0,
};

export const dynamo = () => withWeights('dynamo', DEFAULTS);

/** The weight of the overlap score that its guides raise for long contexts. */
export const dynamoW8 = () => withWeights('dynamo-w8', { ...DEFAULTS, prefillScale: 8 });

/** With the decay of credits, which is off by default, at one. */
export const dynamoDecay = () => withWeights('dynamo-decay', { ...DEFAULTS, creditDecay: 1 });

/** `--agentic`: an experimental preset, validated there with blocks of 16 tokens only. */
export const dynamoAgentic = () =>
  withWeights('dynamo-agentic', {
    overlapCredit: 2,
    creditDecay: 0,
    prefillScale: 4,
    activeRequestWeight: 64,
  });

function withWeights(name: string, weights: DynamoWeights): Policy {
  const ledger = new Ledger();
  const active = new Map<WorkerId, ActiveBlocks>();
  /** Of the choice that `placed` follows. */
  let matched = new Map<WorkerId, number>();
  let chain: PromptChain = new Uint32Array();
  return {
    name,
    view: 'events',
    choose(request, seen, rng) {
      chain = chainOf(request.hashes);
      matched = new Map(seen.map((one) => [one.worker, one.matchedTokens]));
      const least = Math.min(...seen.map(({ worker }) => ledger.of(worker).prefillWork));
      return leastOf(seen, (one) => cost(request, one, least), rng).worker;
    },
    placed(request, worker) {
      ledger.placed(request, worker, request.promptTokens - (matched.get(worker) ?? 0));
      let blocks = active.get(worker);
      if (blocks === undefined) active.set(worker, (blocks = new ActiveBlocks()));
      blocks.add(request.id, chain, tailOf(request, chain));
    },
    hears(_nowUs, fact) {
      const closed = ledger.hears(fact);
      if (closed !== undefined) active.get(closed.worker)?.remove(closed.request);
      if (fact.kind === 'workerLeft') active.delete(fact.worker);
    },
  };

  function cost(request: Arrival, seen: Seen, least: number): number {
    const { worker, matchedTokens, hostTokens, diskTokens } = seen;
    const { blockTokens, promptTokens } = request;
    const { prefillWork, requests } = ledger.of(worker);
    const requestBlocks = Math.max(1, Math.ceil(promptTokens / blockTokens));
    const excess = (prefillWork - least) / blockTokens / requestBlocks;
    const decay = 1 / (1 + weights.creditDecay * excess);
    const deviceTokens = matchedTokens - hostTokens - diskTokens;
    const lower = HOST_CREDIT * hostTokens + DISK_CREDIT * diskTokens;
    const credit = (weights.overlapCredit * decay * deviceTokens + lower) / blockTokens;
    const prefillBlocks = Math.max(0, (prefillWork + promptTokens) / blockTokens - credit);
    const tail = tailOf(request, chain);
    const decodeBlocks = active.get(worker)?.with(chain, tail) ?? chain.length + tail;
    return (
      weights.prefillScale * prefillBlocks + decodeBlocks + weights.activeRequestWeight * requests
    );
  }
}

/** Blocks of the prompt beyond the full ones. */
function tailOf({ promptTokens, blockTokens }: Arrival, chain: PromptChain): number {
  return Math.max(0, Math.ceil(promptTokens / blockTokens) - chain.length);
}
