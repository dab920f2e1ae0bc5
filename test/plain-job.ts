/** A job with nothing special about it, for tests to which one thing of it matters. */
import type { RequestId, TenantId } from '../src/model/ids.ts';
import { FREE, GREEDY } from '../src/model/request.ts';
import type { Job } from '../src/ports.ts';

export function plainJob(changes: Partial<Job>): Job {
  return {
    id: 'r' as RequestId,
    tenant: '' as TenantId,
    model: 'm',
    prompt: { kind: 'text', text: '' },
    sampling: GREEDY,
    outputTokensMax: undefined,
    stop: [],
    shape: FREE,
    cacheSalt: '',
    priority: 0,
    forcedOutput: undefined,
    engineData: false,
    ...changes,
  };
}
