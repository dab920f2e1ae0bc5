/**
 * Computes what is known of a thread's next prompt before it is asked for: speculative prefill.
 *
 *   answer ─► known next (rendered as it will be) ─► ids, hashes ─► kernel: worth it, idle? ─► engine, one token
 *   next request ─► did it begin as foreseen, was it found in cache? ─► receipt, metrics
 *
 * No client sees any of it: no account, no receipt of its own, nothing in usage. A thread whose prompts do
 * not come as foreseen is only watched until one does.
 */
import type { Prng } from '../../base/prng.ts';
import { asGatewayError, GatewayError } from '../../model/error.ts';
import type { RequestId, WorkerId } from '../../model/ids.ts';
import type { Part } from '../../model/part.ts';
import type { Identity } from '../../model/session.ts';
import type { EncodedPrompt, Job, Sink } from '../../ports.ts';
import type { Parsing } from '../../wire/parsed.ts';
import type { Ask } from '../../wire/wire.ts';
import type { Account } from '../account.ts';
import type { Engines } from '../failover.ts';
import type { Host } from '../host.ts';
import type { ServedModel } from '../models.ts';
import { type Prompt, saltOf } from '../prompt.ts';
import { aheadArrival, aheadJob, heldTokens, type Spoken, spokenOf } from './ahead-request.ts';
import { type ForeseenPrompt, ForeseenPrompts } from './foreseen-prompts.ts';
import { HeardAnswer } from './heard-answer.ts';
import { knownNext, settledIds } from './known-next.ts';

export interface PrefillAheadParts {
  host: Host;
  engines: Engines;
  rng: Prng;
  sink: Sink;
  /** Whose next prompts are computed where a request does not say: all, none; `never`: none at all. */
  speculation: 'always' | 'hinted' | 'never';
}

/** A turn as it was understood. */
export interface TurnAsked {
  wire: string;
  /** As it was rendered. */
  ask: Ask;
  who: Identity;
  model: ServedModel;
  prompt: Pick<Prompt, 'job' | 'hashes' | 'blockTokens'>;
}

/** Hears a turn pass, then what its account says of it. */
export interface Hearing extends Pick<Parsing, 'push'> {
  over(account: Account): void;
}

/** Hashes of prompts that were foreseen, of all tenants. */
const FORESEEN_BYTES_MAX = 16 * 1024 * 1024;

export class PrefillAhead {
  readonly #parts: PrefillAheadParts;
  readonly #foreseen: ForeseenPrompts;
  #requests = 0;

  constructor(parts: PrefillAheadParts) {
    this.#parts = parts;
    this.#foreseen = new ForeseenPrompts({
      bytesMax: FORESEEN_BYTES_MAX,
      onLost: (blocks) => parts.sink.note({ kind: 'prefetched', blocks, usedBlocks: 0 }),
    });
  }

  /** A turn begins. */
  hearing(asked: TurnAsked, parsing: Parsing): Hearing {
    const spoken = this.#isOn(asked.ask) ? spokenOf(asked) : undefined;
    if (spoken === undefined) return { push: (part) => parsing.push(part), over: () => {} };
    const before = this.#foreseen.take(asked.who.tenant, spoken.thread);
    if (before?.reasoned) this.#sawReasoning(spoken);
    const heard = new HeardAnswer(parsing);
    return {
      push: (part) => heard.push(part),
      over: (account) => {
        if (before !== undefined) this.#settle(before, asked, account);
        if (account.receipt.actual.status !== 'done') return;
        this.#foresee(spoken, heard).catch((thrown) => this.#complain(thrown));
      },
    };
  }

  #isOn({ hints }: Ask): boolean {
    const { speculation } = this.#parts;
    return speculation !== 'never' && (hints.speculativePrefill ?? speculation === 'always');
  }

  /** The answer before reasoned: its history shows what its client does with that. */
  #sawReasoning({ asked, chat, thread }: Spoken): void {
    const answer = chat.messages.findLast(({ role }) => role === 'assistant');
    if (answer?.role !== 'assistant') return;
    const isSent = answer.reasoning !== undefined;
    this.#foreseen.sawReasoning(asked.who.tenant, { thread, wire: asked.wire, isSent });
  }

  #settle(before: ForeseenPrompt, { prompt }: TurnAsked, account: Account): void {
    const { hashes, blockTokens } = prompt;
    const outcome = this.#foreseen.settle(before, {
      hashes,
      blockTokens,
      receipt: account.receipt,
    });
    const { blocks, usedBlocks } = outcome;
    if (blocks === 0) return;
    this.#parts.sink.note({ kind: 'prefetched', blocks, usedBlocks });
    account.prefetched({ tokens: blocks * blockTokens, usedTokens: usedBlocks * blockTokens });
  }

  async #foresee(spoken: Spoken, { blocks, finish, ids }: HeardAnswer): Promise<void> {
    const { asked, chat, tokens, prompts, thread } = spoken;
    const { ask, who, wire } = asked;
    const { tenant } = who;
    const reasoned = blocks.some(({ kind }) => kind === 'reasoning');
    const own = this.#foreseen.open({ tenant, thread, reasoned });
    if (finish === undefined) return;
    const sendsReasoning = this.#foreseen.habit(tenant, { thread, wire });
    const text = knownNext(tokens, chat, { answer: { blocks, finish }, sendsReasoning });
    if (text === undefined) return;
    const root = tokens.hasher.root(saltOf(ask, who));
    const encoded = settledIds(await prompts.encode(text, { thread, root }), tokens);
    if (own.isOver || encoded.hashes.length === 0) return;
    this.#foreseen.rendered(own, encoded.hashes);
    if (!this.#foreseen.isTrusted(tenant, thread)) return;
    const held = heldTokens(encoded.ids, spoken.ids, ids);
    this.#offer(spoken, own, encoded, Math.floor(held / tokens.hasher.blockTokens));
  }

  /** The words of an error could hold a prompt. */
  #complain(thrown: unknown): void {
    const what = thrown instanceof Error ? thrown.name : 'something';
    const sentence = `A next prompt could not be foreseen: ${what} was thrown.`;
    this.#parts.sink.note({ kind: 'warning', sentence });
  }

  /** To the kernel, which says when and where, if at all. */
  #offer(spoken: Spoken, own: ForeseenPrompt, encoded: EncodedPrompt, heldBlocks: number): void {
    const { host, rng, sink } = this.#parts;
    const suffix = rng.uint32().toString(36).padStart(7, '0');
    const id = `ahead${(this.#requests++).toString(36)}-${suffix}` as RequestId;
    const { thread } = spoken;
    const request = aheadArrival(id, spoken, encoded);
    const leaving = new AbortController();
    const { blockTokens } = request;
    const on = { own, blockTokens, signal: leaving.signal };
    host.foresee(
      { kind: 'foreseen', request, thread, heldBlocks },
      {
        start: (worker) => void this.#compute(aheadJob(id, spoken, encoded.ids), worker, on),
        stop: (why) => {
          leaving.abort();
          sink.note({ kind: 'foreseen', came: why, blocks: 0 });
        },
      },
    );
  }

  async #compute(
    job: Job,
    worker: WorkerId,
    on: { own: ForeseenPrompt; blockTokens: number; signal: AbortSignal },
  ): Promise<void> {
    const { host, engines, sink } = this.#parts;
    const { own, blockTokens, signal } = on;
    const request = job.id;
    try {
      const { usage } = await this.#lastPart(job, worker, signal);
      const { outputTokens, cachedTokens, promptTokens } = usage;
      const fromBlock = Math.floor((cachedTokens ?? promptTokens) / blockTokens);
      const toBlock = Math.max(fromBlock, own.hashes.length);
      own.computed = { worker, fromBlock, toBlock };
      sink.note({ kind: 'foreseen', came: 'computed', blocks: toBlock - fromBlock });
      host.tell({ kind: 'finished', request, outputTokens, cachedTokens });
    } catch (thrown) {
      // Whoever stopped it knows.
      if (signal.aborted) return;
      const error = asGatewayError(thrown);
      if (error.code === 'engine_lost') engines.ended(worker, error);
      sink.note({ kind: 'foreseen', came: 'failed', blocks: 0 });
      host.tell({ kind: 'failed', request, worker, retry: false });
    }
  }

  async #lastPart(job: Job, worker: WorkerId, signal: AbortSignal) {
    const { host, engines } = this.#parts;
    let done: Extract<Part, { kind: 'done' }> | undefined;
    let isFirst = true;
    for await (const part of engines.engine(worker)?.generate(job, signal) ?? []) {
      if (part.kind === 'error') throw part.error;
      if (isFirst) host.tell({ kind: 'firstTokenSent', request: job.id });
      isFirst = false;
      if (part.kind === 'done') done = part;
    }
    if (done === undefined) throw new GatewayError('engine_lost', 'The engine gave no end.');
    return done;
  }
}
