/** What is on and what is missing at a vLLM server, what that costs, and the flag that mends it. */
import type { Finding } from '../model/worker.ts';
import { tokenizerFinding } from './introduction.ts';
import type { TokenComparison } from './upstream-given.ts';

/** What is known of a vLLM server: as it told, and as a short prompt showed. */
export interface VllmCard {
  version: string;
  /** Its own name of the model, and ours. */
  model: string;
  servedAs: string;
  /** Undefined where its metrics do not say. */
  blockTokens: number | undefined;
  blocks: number | undefined;
  contextTokens: number | undefined;
  /** Only in development mode it says. */
  slots: number | undefined;
  /** Data-parallel ranks behind its one address. */
  ranks: number;
  prefixCaching: boolean;
  reportsCachedTokens: boolean;
  takesPriority: boolean;
  /** Whether requests may say what becomes of their KV. */
  takesKvHints: boolean;
  /** Undefined where it does not say. */
  policy: string | undefined;
  /**
   * `untold`: it is too old to say where they are, and the configuration does not. `connecting`: it was
   * given an address without `*`, to which it connects, and where nobody listens.
   */
  events: 'told' | 'configured' | 'off' | 'untold' | 'connecting';
  replays: boolean;
  /** Tokens of a block as prompts of the model are hashed here; undefined without a tokenizer. */
  expectedBlockTokens: number | undefined;
  /** Undefined where there is no tokenizer of the model here. */
  tokens: TokenComparison | undefined;
}

export const EVENTS_FLAG = `--kv-events-config '{"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://*:5557","replay_endpoint":"tcp://*:5558"}'`;

export function examineVllm(card: VllmCard): Finding[] {
  return [
    { check: 'version', well: true, says: `vLLM ${card.version || 'of an unknown version'}` },
    tokenizerFinding(card.tokens, card.servedAs),
    prefixCaching(card),
    blockSize(card),
    kvEvents(card),
    replay(card),
    cachedTokens(card),
    priority(card),
  ].filter((finding) => finding !== undefined);
}

function prefixCaching({ prefixCaching: isOn }: VllmCard): Finding {
  const check = 'prefix caching';
  if (isOn) return { check, well: true, says: 'on' };
  const says =
    'off: every prompt is computed from its first token; add --enable-prefix-caching (or leave out --no-enable-prefix-caching)';
  return { check, well: false, says };
}

function blockSize({ blockTokens, expectedBlockTokens: expected }: VllmCard): Finding | undefined {
  if (expected === undefined) return undefined;
  const check = 'block size';
  if (blockTokens === undefined) {
    return { check, well: true, says: `not told; ${expected} tokens are expected` };
  }
  if (blockTokens === expected) return { check, well: true, says: `${expected} tokens` };
  const says = `its blocks have ${blockTokens} tokens, but ${expected} are expected, so its events cannot be used; set blockTokens: ${blockTokens} for the model, or start it with --block-size ${expected}`;
  return { check, well: false, says };
}

function kvEvents({ events, ranks }: VllmCard): Finding {
  const check = 'event source';
  if (ranks > 1 && events !== 'configured') {
    const says = `${ranks} data-parallel ranks behind one address: which of them gets a request is not ours to say, so their caches are only guessed; start each rank as a server of its own (--data-parallel-external-lb) and name each as a worker`;
    return { check, well: false, says };
  }
  switch (events) {
    case 'told':
      return { check, well: true, says: 'on, where it says they are' };
    case 'configured':
      return { check, well: true, says: 'on, where the configuration says they are' };
    case 'off':
      return {
        check,
        well: false,
        says: `off: its cache is guessed from what was sent there, and what it drops is not known; add ${EVENTS_FLAG}`,
      };
    case 'connecting':
      return {
        check,
        well: false,
        says: `their address has no *, so it connects there instead of listening, and nobody hears them; write "endpoint":"tcp://*:5557" in --kv-events-config`,
      };
    case 'untold':
      return {
        check,
        well: false,
        says: `it does not say where they are, so its cache is guessed; start it with ${EVENTS_FLAG}, and name both addresses under events: and replay: of this worker`,
      };
  }
}

function replay({ events, replays, ranks }: VllmCard): Finding | undefined {
  const isHeard = events === 'configured' || (events === 'told' && ranks === 1);
  if (!isHeard) return undefined;
  const check = 'event replay';
  if (replays) return { check, well: true, says: 'on' };
  const says =
    'off: after a lost event, or a restart of this gateway, its cache is only guessed until it is emptied; add "replay_endpoint":"tcp://*:5558" to --kv-events-config';
  return { check, well: false, says };
}

function cachedTokens({ reportsCachedTokens: isTold, prefixCaching }: VllmCard): Finding {
  const check = 'usage';
  if (isTold) return { check, well: true, says: 'cached tokens are told' };
  if (!prefixCaching) return { check, well: true, says: 'nothing is cached that could be told' };
  const says =
    'answers do not say how many tokens were cached, so no prediction is ever confirmed and clients see none; add --enable-prompt-tokens-details';
  return { check, well: false, says };
}

function priority({ policy, takesPriority }: VllmCard): Finding {
  const check = 'priority';
  if (policy === 'priority') return { check, well: true, says: 'scheduled by it' };
  if (policy !== undefined || !takesPriority) {
    const says = `it schedules ${policy ?? 'first come, first served'}: urgent turns wait inside it behind others; add --scheduling-policy priority`;
    return { check, well: false, says };
  }
  const says =
    'it does not say how it schedules (it would with VLLM_SERVER_DEV_MODE=1); --scheduling-policy priority lets urgent turns pass';
  return { check, well: true, says };
}
