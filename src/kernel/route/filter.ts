/** Who may serve a request at all, and why nobody may. */
import type { Arrival } from '../../model/kernel-io.ts';
import type { WorkerState } from '../workers.ts';

/** Why a worker may not serve a request; undefined where it may. Room is not asked here: it comes back. */
export function obstacle(
  request: Arrival,
  state: Pick<WorkerState, 'worker' | 'healthy' | 'draining' | 'standsIn' | 'fitness'> & {
    load?: Pick<WorkerState['load'], 'requests'>;
  },
): Obstacle | undefined {
  const { worker, healthy, draining } = state;
  if (request.deniedBy?.includes(worker.id)) return 'denied';
  if (!healthy || state.fitness === 'unfit') return 'unwell';
  if (state.fitness === 'trial' && (state.load?.requests ?? 0) > 0) return 'unwell';
  if (draining) return 'draining';
  if (request.promptTokens >= worker.contextTokens) return 'context';
  const { rules } = worker;
  const { wants } = request;
  if (rules === undefined && wants === undefined) return undefined;
  if (wants?.worker !== undefined && wants.worker !== worker.id) return 'pin';
  if (wants?.adapter !== undefined && rules?.adapters.includes(wants.adapter) !== true) {
    return 'adapter';
  }
  // Whoever answers computes prompts as well; whoever computes prompts answers where nobody else can.
  const role = rules?.role ?? 'both';
  const phase = wants?.role ?? 'decode';
  if (role !== 'both' && role !== phase && state.standsIn !== true) return 'role';
  if (rules === undefined) return wants?.labels.length === 0 ? undefined : 'labels';
  if (rules.tenants.length > 0 && !rules.tenants.includes(request.tenant)) return 'tenant';
  if (rules.taints.some((taint) => wants?.tolerations.includes(taint) !== true)) return 'taint';
  if (wants?.labels.some(([name, value]) => rules.labels[name] !== value)) return 'labels';
  return undefined;
}

export type Obstacle = keyof typeof REASONS;

/** What each obstacle means, after a number of engines. */
const REASONS = {
  denied: 'turning this gateway away',
  unwell: 'not well',
  draining: 'being drained',
  context: 'too small for this prompt',
  pin: 'not the engine the request names',
  adapter: 'without the adapter it asks for',
  role: 'for another phase only',
  tenant: 'kept for other tenants',
  taint: 'tainted, which it does not tolerate',
  labels: 'without the labels it asks for',
} as const;

/** Whether waiting mends nothing: each worker of the model, and there is one, is not meant for the request. */
export function isHopeless(request: Arrival, states: readonly WorkerState[]): boolean {
  return states.length > 0 && states.every((state) => isLasting(obstacle(request, state)));
}

/** Health and drains pass by themselves; room is no obstacle. */
function isLasting(found: Obstacle | undefined): boolean {
  return found !== undefined && found !== 'unwell' && found !== 'draining';
}

/** One sentence; undefined where somebody of the model's workers could serve it, given room. */
export function whyNobody(request: Arrival, states: readonly WorkerState[]): string | undefined {
  if (states.length === 0) return 'No engine that serves this model is up; try again later.';
  const counts = new Map<Obstacle, number>();
  for (const state of states) {
    const found = obstacle(request, state);
    if (found === undefined) return undefined;
    counts.set(found, (counts.get(found) ?? 0) + 1);
  }
  const reasons = [...counts].map(
    ([found, count]) => `${count} ${count === 1 ? 'is' : 'are'} ${REASONS[found]}`,
  );
  const engines = states.length === 1 ? 'The one engine' : `None of the ${states.length} engines`;
  const may = states.length === 1 ? 'may not' : 'may';
  return `${engines} of this model ${may} serve this request: ${reasons.join(', ')}.`;
}
