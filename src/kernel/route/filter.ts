/** Who may serve a request at all. */
import type { Arrival } from '../../model/kernel-io.ts';
import type { WorkerState } from '../workers.ts';

/** Workers that have the model, are well, and have room for the prompt in their context. */
export function eligible(request: Arrival, workers: Iterable<WorkerState>): WorkerState[] {
  const found: WorkerState[] = [];
  for (const state of workers) {
    const { worker, healthy } = state;
    if (!healthy || !worker.models.includes(request.model)) continue;
    if (request.promptTokens < worker.contextTokens) found.push(state);
  }
  return found;
}
