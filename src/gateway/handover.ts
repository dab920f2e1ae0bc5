/**
 * A request in two stages: its prompt is computed on one worker and answered on another.
 *
 *   stage prefill   the prompt alone ─► `prefilled` ─► the kernel says who answers
 *                   meanwhile its KV follows, block by block, to who would answer it best by then
 *   stage decode    what is still missing there is brought ─► the answer
 *
 * Engines with a way of their own to hand KV over (`Engine.handoff`) give a ticket, which goes with the job to
 * whoever answers. KV of all others is moved from here. What cannot be brought in time is computed
 * where the answer is made: nothing fails because a transfer did.
 */
import type { BlockHashes } from '../model/block.ts';
import type { RequestId, WorkerId } from '../model/ids.ts';
import type { DecodeStage, PrefillStage } from '../model/kernel-io.ts';
import type { KvChain, KvOutcome } from '../model/kv-control.ts';
import type { Part } from '../model/part.ts';
import { FREE, GREEDY } from '../model/request.ts';
import type { Ticket } from '../model/ticket.ts';
import type { Handoff, Job, KvControl, Sink } from '../ports.ts';
import { Answered } from './answered.ts';
import { Attempt } from './attempt.ts';
import type { Given } from './failover.ts';
import type { Placement } from './host.ts';

export interface HandoverParts {
  /** Copies KV of a chain from one engine to another. */
  move: (
    chain: KvChain,
    between: { from: KvControl; to: KvControl },
    signal: AbortSignal,
  ) => Promise<KvOutcome>;
  sink: Sink;
}

/** KV on its way to a worker. */
interface Move {
  from: WorkerId;
  to: WorkerId;
  leaving: AbortController;
  /** Never rejects. */
  ended: Promise<Ended>;
}

/** Leading tokens that are there, or one sentence why none are. */
type Ended = number | string;

const LATE = 'it took longer than computing it takes';

/** Of one request, from its arrival to the end of its answer. */
export class Handover {
  readonly #parts: HandoverParts;
  readonly #of: Given;
  #given: { by: WorkerId; ticket: Ticket; leaving: AbortController } | undefined;
  #ahead: Move | undefined;
  #cachedTokens: number | undefined;

  constructor(parts: HandoverParts, of: Given) {
    this.#parts = parts;
    this.#of = of;
  }

  /** The attempt at a prompt alone; undefined where the placement's worker is to be asked for the answer. */
  async begin({ worker, decision }: Placement): Promise<Attempt | undefined> {
    const { stage } = decision;
    const { job } = this.#of;
    job.ticket = undefined;
    if (stage?.kind === 'prefill') return this.#prefill(worker, stage);
    if (stage !== undefined && this.#given?.by === stage.from) {
      job.ticket = this.#given.ticket;
      return undefined;
    }
    const chosen = decision.candidates.find((one) => one.worker === worker);
    if (stage !== undefined) await this.#bring(worker, stage, chosen?.broughtTokens ?? 0);
    this.close();
    return undefined;
  }

  /** The prompt is computed; resolves to where it is answered. */
  async prefilled(): Promise<Placement> {
    const { host, account, job, signal } = this.#of;
    account.prefilled(this.#cachedTokens);
    return await host.prefilled(job.id as RequestId, this.#cachedTokens, signal);
  }

  /** Nothing is on its way any more. */
  close(): void {
    this.#given?.leaving.abort();
    this.#given = undefined;
    this.#ahead?.leaving.abort();
    this.#ahead = undefined;
  }

  /** One token of an answer that nobody reads is the least that an engine makes. */
  #prefill(worker: WorkerId, { next }: PrefillStage): Attempt {
    this.close();
    this.#cachedTokens = undefined;
    const { stop, forcedOutput, thread, said, extras, ...rest } = this.#of.job;
    const alone = { stop: [], forcedOutput: undefined, sampling: GREEDY, shape: FREE };
    const job: Job = { ...rest, ...alone, outputTokensMax: 1 };
    const ask: Given['ask'] = (engine, prompt, signal) => {
      if (engine.handoff !== undefined) return this.#ticketed(engine.handoff, worker, signal);
      const skip = Math.floor(next.heldTokens / this.#of.account.arrival.blockTokens);
      this.#ahead = this.#move({ from: worker, to: next.worker }, { skip, follow: true });
      return engine.generate(prompt, signal);
    };
    const take = (part: Part) => {
      if (part.kind === 'done') this.#cachedTokens = part.usage.cachedTokens;
      return undefined;
    };
    return new Attempt({ ...this.#of, job, ask }, { worker, answered: new Answered(job), take });
  }

  async *#ticketed(handoff: Handoff, by: WorkerId, signal: AbortSignal): AsyncGenerator<Part> {
    // It may go on while the answer is made.
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    this.#of.signal.addEventListener('abort', leave, { once: true });
    signal.addEventListener('abort', leave, { once: true });
    try {
      const { ticket, usage, done } = await handoff.prefill(this.#of.job, leaving.signal);
      done.catch((error) => this.#warn(by, sentenceOf(error)));
      this.#given = { by, ticket, leaving };
      yield { kind: 'done', finish: { kind: 'length' }, usage };
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /** Comes back when it is there, or would come too late. */
  async #bring(to: WorkerId, { from, usMax }: DecodeStage, missingTokens: number): Promise<void> {
    if (missingTokens === 0) return;
    const { clock, account } = this.#of;
    const untilUs = clock.nowUs() + usMax;
    const ahead = this.#ahead;
    const isUnderWay = ahead?.to === to && ahead.from === from;
    let ended = isUnderWay ? await this.#endOf(ahead, untilUs) : undefined;
    if (typeof ended !== 'number' && clock.nowUs() < untilUs) {
      const { blockTokens } = account.arrival;
      const skip = Math.max(0, this.#usable.length - Math.ceil(missingTokens / blockTokens));
      const move = this.#move({ from, to }, { skip, follow: false });
      ended = await this.#endOf(move, untilUs);
      move.leaving.abort();
    }
    const tokens = typeof ended === 'number' ? ended : 0;
    const tookUs = clock.nowUs() + usMax - untilUs;
    this.#parts.sink.note({ kind: 'handedOver', from, to, tokens, tookUs });
    if (tokens === 0) this.#warn(from, typeof ended === 'string' ? ended : LATE);
  }

  /** Undefined where it has not come by then, or nobody waits any more. */
  async #endOf(move: Move, untilUs: number): Promise<Ended | undefined> {
    const { clock, signal } = this.#of;
    let stop = () => {};
    const late = new Promise<undefined>((resolve) => {
      stop = () => resolve(undefined);
    });
    const cancel = clock.after(Math.max(0, untilUs - clock.nowUs()), stop);
    signal.addEventListener('abort', stop, { once: true });
    const ended = await Promise.race([move.ended, late]);
    cancel();
    signal.removeEventListener('abort', stop);
    return ended;
  }

  /** Leading blocks that can be found in a cache: the last token is computed where the answer is made. */
  get #usable(): BlockHashes {
    const { hashes, promptTokens, blockTokens } = this.#of.account.arrival;
    return hashes.subarray(0, Math.max(0, Math.floor((promptTokens - 1) / blockTokens)));
  }

  #move(
    { from, to }: { from: WorkerId; to: WorkerId },
    part: { skip: number; follow: boolean },
  ): Move {
    const { engines } = this.#of;
    const leaving = new AbortController();
    const between = { from: engines.engine(from)?.kv, to: engines.engine(to)?.kv };
    const moved = async () => {
      if (between.from === undefined || between.to === undefined) return GONE;
      const chain = { kind: 'blocks' as const, hashes: this.#usable, ...part };
      const ends = { from: between.from, to: between.to };
      const { tokens, sentence, answer } = await this.#parts.move(chain, ends, leaving.signal);
      return tokens > 0 ? tokens : (sentence ?? answer);
    };
    return { from, to, leaving, ended: moved().catch(sentenceOf) };
  }

  #warn(from: WorkerId, why: string): void {
    if (this.#of.signal.aborted) return;
    const sentence = `The KV of a prompt that ${from} computed was not brought: ${why}`;
    this.#parts.sink.note({ kind: 'warning', sentence });
  }
}

const GONE = 'one of them is gone, or moves no KV';

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
