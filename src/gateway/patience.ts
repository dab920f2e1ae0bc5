/**
 * What each client puts up with while it waits, and which refusal it tries again best: measured with
 * real clients against silence and injected faults, told apart by what they send as user-agent.
 *
 *   client        without headers  status  after a failed stream it tries again where it ends in
 *   Claude Code         356 s       529    an error
 *   Codex             > 545 s       503    an error that says when
 *   opencode            300 s       503    an error
 *   Qwen Code           120 s       503    an error
 *   Cline               297 s       503    a cut; an error is the end of the turn
 *   Node SDKs           300 s       503    neither
 *   LangChain           300 s       429    neither; of a 503 it does not read Retry-After
 *
 * Headers and an event that means nothing every 15 s keep all of them, so what is bounded is how long it
 * waits for a place. The Messages API has a status for busy engines that the others have not.
 */
import type { GatewayError } from '../model/error.ts';
import type { Headers } from '../wire/headers.ts';
import type { WireName } from '../wire/wire.ts';

/** How one request is treated while it waits and while it is answered. */
export interface Manners {
  /** Longest wait for a place. */
  patienceUs: number;
  /** After so long a stream begins, whether there is something to say or not. */
  holdUs: number;
  /** Silence in a stream before an event that means nothing. */
  keepAliveUs: number;
  /** A client that reads nothing for so long is sent no more. */
  readerUsMax: number;
  /** How a stream ends that failed. */
  lastWord: 'error' | 'cut';
}

export interface PatienceLimits {
  queueUsMax: number;
  streamQueueUsMax: number;
  holdUs: number;
  keepAliveUs: number;
  readerUsMax: number;
}

interface Client {
  agent: RegExp;
  /** Without response headers. */
  patienceS: number;
  busyStatus?: number;
  lastWord?: 'cut';
}

const CLIENTS: readonly Client[] = [
  { agent: /^claude-cli\//, patienceS: 356 },
  { agent: /^codex[_-]/, patienceS: 545 },
  { agent: /^opencode\//, patienceS: 300 },
  { agent: /^QwenCode\//, patienceS: 120 },
  // Cline and what else is built on the AI SDK's compatible provider, which gives up after both.
  { agent: /^ai-sdk\/openai-compatible\//, patienceS: 297, lastWord: 'cut' },
  { agent: /^(ai|ai-sdk|ai-sdk-[a-z-]+)\//, patienceS: 300 },
  { agent: /^(OpenAI|Anthropic)\/JS /, patienceS: 300 },
  { agent: /^langchainjs/, patienceS: 300, busyStatus: 429 },
];

export class Patience {
  #limits: PatienceLimits;

  constructor(limits: PatienceLimits) {
    this.#limits = limits;
  }

  /** For requests that come from now on. */
  bound(limits: PatienceLimits): void {
    this.#limits = limits;
  }

  of(headers: Headers, stream: boolean): Manners {
    const { queueUsMax, streamQueueUsMax, holdUs, keepAliveUs, readerUsMax } = this.#limits;
    const client = clientOf(headers);
    const known = Math.min(client?.patienceS ?? Number.POSITIVE_INFINITY, saidS(headers)) * 1e6;
    const longestUs = stream && client !== undefined ? streamQueueUsMax : queueUsMax;
    return {
      patienceUs: Math.min(longestUs, known),
      // Whoever waits for less is told in half that time.
      holdUs: Math.min(holdUs, Math.ceil(known / 2)),
      keepAliveUs,
      readerUsMax,
      lastWord: client?.lastWord ?? 'error',
    };
  }
}

/** The status of a refusal: where engines are busy, the one after which its client comes back. */
export function statusFor(error: GatewayError, headers: Headers, wire: WireName): number {
  if (error.status !== 503) return error.status;
  if (wire === 'anthropic-messages') return 529;
  return clientOf(headers)?.busyStatus ?? 503;
}

function clientOf(headers: Headers): Client | undefined {
  const agent = headers['user-agent'] ?? '';
  return CLIENTS.find((client) => client.agent.test(agent));
}

/** OpenAI's and Anthropic's SDKs say after how many seconds they give up. */
function saidS(headers: Headers): number {
  const seconds = Number(headers['x-stainless-timeout'] ?? 0);
  return seconds >= 1 ? Math.floor(seconds) : Number.POSITIVE_INFINITY;
}
