/**
 * What becomes of a request's KV after it, told with the request, for engines that take such hints and no
 * wishes. vLLM carries them to its scheduler in `kv_hints` (vllm-project/vllm#53423, RFC #53421; SGLang's
 * RFC #36224 has the same envelope), where a cache manager may act on them; whoever does not know an
 * action leaves it. The names follow Dynamo's `kv.fetch`.
 */
import type { KvOutlook } from '../model/kv-control.ts';

export interface KvHints {
  protocol_version: string;
  message_id: string;
  actions: KvHintAction[];
}

interface KvHintAction {
  action_id: string;
  action_type: 'kv.retain' | 'kv.release';
  action_version: string;
  payload: Record<string, unknown>;
}

/** How long KV will be of use after a request; undefined: as everybody's. */
export type Outlook = { kind: 'retain'; us: number } | { kind: 'release' };

const PROTOCOL_VERSION = '0.1';
const ACTION_VERSION = '1.0';

/** `thread`: whose next request begins like this one. */
export function kvHints(of: { id: string; thread: string }, outlook: KvOutlook): KvHints {
  const { id, thread } = of;
  const ttl = outlook.kind === 'retain' ? { ttl_seconds: Math.ceil(outlook.us / 1e6) } : {};
  return {
    protocol_version: PROTOCOL_VERSION,
    message_id: id,
    actions: [
      {
        action_id: `${id}-${outlook.kind}`,
        action_type: `kv.${outlook.kind}`,
        action_version: ACTION_VERSION,
        payload: { session_id: thread, ...ttl },
      },
    ],
  };
}
