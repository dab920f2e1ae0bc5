/** Policies side by side, each for the models that are given to it; the first is everybody else's. */
import { type Policy, type Seen, seenAs } from '../policy.ts';

export function byModel(base: Policy, others: ReadonlyMap<string, Policy>): Policy {
  const all = new Set([base, ...others.values()]);
  const of = (model: string) => others.get(model) ?? base;
  return {
    name: base.name,
    // Each is shown what its own view lets through of it.
    view: 'price',
    choose(request, seen, rng) {
      const policy = of(request.model);
      return policy.choose(request, seen.map(shownTo(policy)), rng);
    },
    placed: (request, worker) => of(request.model).placed?.(request, worker),
    gate: base.gate,
    keepsKv: base.keepsKv,
    movesKv: base.movesKv,
    hears(nowUs, fact) {
      for (const policy of all) policy.hears?.(nowUs, fact);
    },
  };
}

function shownTo(policy: Policy): (one: Seen) => Seen {
  return ({ about, requests, price }) => seenAs(policy, about, { requests, candidate: price });
}
