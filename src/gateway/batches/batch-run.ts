/**
 * One batch, from its file to its results. What it asks waits in the kernel until nothing else is to do;
 * here only so much is in flight that there is always something to choose from.
 *
 *   validating ─► in_progress ─► finalizing ─► completed
 *       └─► failed      ├─► cancelling ─► cancelled
 *                       └─► expired
 *
 * Each result is a line that is written as it comes. A run that was stopped goes on from the lines that
 * are there: what was in flight then is asked again.
 */
import { open } from 'node:fs/promises';
import type { Call } from '../../http/call.ts';
import { asGatewayError } from '../../model/error.ts';
import type { Clock } from '../../ports.ts';
import type { Json } from '../../wire/fields.ts';
import { entryOf, linesOf, type PlannedRequest, type Problem, planOf } from './batch-plan.ts';
import type { Cabinet } from './cabinet.ts';
import { type Answer, ownCall } from './own-call.ts';
import { type BatchRecord, type FileObject, isOver } from './records.ts';

export interface BatchLimits {
  requestsMax: number;
  /** Of one batch in flight. */
  inFlightMax: number;
  /** Results are kept for so long. */
  keepMs: number;
}

export interface RunParts {
  cabinet: Cabinet;
  clock: Clock;
  limits: BatchLimits;
  /** Answers any call to the gateway. */
  handler: (call: Call) => Promise<void>;
}

/** After a refusal that says no time, and at most. */
const RETRY_US = 1_000_000;
const RETRY_US_MAX = 60_000_000;
/** Engines that fail, or answers that break off; a full queue is waited for as long as it takes. */
const ATTEMPTS_MAX = 3;
/** A worker that loads a large model is up by then. */
const START_US = 300_000_000;
const QUEUE_STATUSES: ReadonlySet<number> = new Set([429, 503, 529]);

interface Result {
  isGood: boolean;
  line: string;
}

export class BatchRun {
  readonly record: BatchRecord;
  readonly #parts: RunParts;
  /** What is in flight. */
  readonly #asking = new Set<AbortController>();
  #why: 'cancelled' | 'expired' | 'stopped' | undefined;
  /** Those that wait until they may try again. */
  readonly #pauses = new Set<() => void>();
  /** Lines are written one after the other. */
  #written: Promise<void> = Promise.resolve();

  /** Until then workers may still be starting. */
  readonly #startUsMax: number;

  /** `how` it comes: from its client, or from before the gateway started. */
  constructor(record: BatchRecord, parts: RunParts, how: 'new' | 'resumed') {
    this.record = record;
    this.#parts = parts;
    this.#startUsMax = how === 'new' ? 0 : parts.clock.nowUs() + START_US;
  }

  /** Resolves when it is over, or was stopped; what goes wrong with the disk is its failure. */
  async run(): Promise<void> {
    const { clock } = this.#parts;
    const { batch } = this.record;
    const leftMs = batch.expires_at * 1000 - clock.wallMs();
    const cancelExpiry = clock.after(Math.max(0, leftMs) * 1000, () => this.#end('expired'));
    try {
      await this.#work();
    } catch (thrown) {
      const { message } = asGatewayError(thrown);
      await this.#fail([{ code: 'batch_failed', line: null, message, param: null }]);
    } finally {
      cancelExpiry();
    }
  }

  async cancel(): Promise<void> {
    const { batch } = this.record;
    if (isOver(batch) || batch.status === 'cancelling') return;
    batch.status = 'cancelling';
    batch.cancelling_at = this.#nowS();
    await this.#save();
    this.#end('cancelled');
  }

  /** It goes on when the gateway starts again. */
  stop(): void {
    this.#end('stopped');
  }

  async #work(): Promise<void> {
    const { cabinet, limits } = this.#parts;
    const { tenant, batch } = this.record;
    const { endpoint } = batch;
    const path = cabinet.pathOf(tenant, batch.input_file_id);
    const plan = await planOf(path, { endpoint, requestsMax: limits.requestsMax });
    if (plan.problems.length > 0) return this.#fail(plan.problems);
    const done = await this.#doneBefore();
    const left = plan.requests.filter(({ customId }) => !done.has(customId));
    batch.request_counts.total = plan.requests.length;
    if (batch.status === 'cancelling') this.#end('cancelled');
    if (batch.status === 'validating') {
      batch.status = 'in_progress';
      batch.in_progress_at = this.#nowS();
    }
    await this.#save();
    const unanswered = await this.#askAll(path, left);
    if (this.#why === 'stopped') return;
    await this.#settle(unanswered);
  }

  /** Returns those that it did not come to. */
  async #askAll(path: string, requests: readonly PlannedRequest[]): Promise<PlannedRequest[]> {
    const unanswered: PlannedRequest[] = [];
    const input = await open(path, 'r');
    let next = 0;
    const askOn = async () => {
      while (next < requests.length) {
        const request = requests[next++];
        const result = this.#why === undefined ? await this.#ask(input, request) : undefined;
        if (result === undefined) unanswered.push(request);
        else await this.#keep(result);
      }
    };
    try {
      const count = Math.min(requests.length, this.#parts.limits.inFlightMax);
      const outcomes = await Promise.allSettled(Array.from({ length: count }, askOn));
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    } finally {
      await input.close();
    }
    return unanswered;
  }

  /** Undefined where the batch ended before there was an answer. */
  async #ask(
    input: Awaited<ReturnType<typeof open>>,
    request: PlannedRequest,
  ): Promise<Result | undefined> {
    const { offset, length, customId } = request;
    const bytes = Buffer.alloc(length);
    await input.read(bytes, 0, length, offset);
    const entry = entryOf(bytes.toString('utf8'));
    const { batch, tenant } = this.record;
    const requestId = `batch_req_${batch.id.slice(-12)}_${offset.toString(36)}`;
    for (let attempt = 1; ; ) {
      const asking = new AbortController();
      this.#asking.add(asking);
      const answer = await ownCall(this.#parts.handler, {
        path: batch.endpoint,
        body: bodyOf((entry?.body ?? {}) as Json),
        tenant,
        requestId,
        // One thread: each prompt begins like the one before it, and only what is new is encoded.
        headers: { 'x-stator-session-id': batch.id },
        signal: asking.signal,
      });
      this.#asking.delete(asking);
      if (this.#why !== undefined) return undefined;
      const isFull = QUEUE_STATUSES.has(answer.status) || this.#isTooEarly(answer);
      const isLost = answer.status === 0 || answer.status === 502 || answer.status === 504;
      if (!isFull && !(isLost && attempt < ATTEMPTS_MAX)) return resultOf(customId, answer);
      if (isLost) attempt++;
      await this.#pause(answer.retryAfterS);
      if (this.#why !== undefined) return undefined;
    }
  }

  /** Nobody serves its model yet. */
  #isTooEarly({ status, text }: Answer): boolean {
    if (status !== 404 || this.#parts.clock.nowUs() >= this.#startUsMax) return false;
    const error = entryOf(text)?.error as Json | undefined;
    return error?.code === 'model_not_found';
  }

  #pause(afterS: number | undefined): Promise<void> {
    const us = Math.min(RETRY_US_MAX, afterS === undefined ? RETRY_US : afterS * 1_000_000);
    return new Promise((resolve) => {
      const go = () => {
        cancel();
        this.#pauses.delete(go);
        resolve();
      };
      const cancel = this.#parts.clock.after(us, go);
      this.#pauses.add(go);
    });
  }

  #end(why: 'cancelled' | 'expired' | 'stopped'): void {
    this.#why ??= why;
    for (const asking of this.#asking) asking.abort();
    for (const go of [...this.#pauses]) go();
  }

  #keep({ isGood, line }: Result): Promise<void> {
    const { record } = this;
    const { request_counts: counts } = record.batch;
    this.#written = this.#written.then(async () => {
      const id = isGood ? record.outputId : record.errorId;
      await this.#parts.cabinet.append(record.tenant, id, line);
      if (isGood) counts.completed++;
      else counts.failed++;
    });
    return this.#written;
  }

  /** Custom ids of all that has its line already; a torn last line is cut off. */
  async #doneBefore(): Promise<Set<string>> {
    const { cabinet } = this.#parts;
    const { tenant, batch, outputId, errorId } = this.record;
    const done = new Set<string>();
    const counts = [0, 0];
    for (const [i, id] of [outputId, errorId].entries()) {
      const size = await cabinet.sizeOf(tenant, id);
      if (size === 0) continue;
      let whole = 0;
      for await (const { text, offset, length } of linesOf(cabinet.pathOf(tenant, id))) {
        const customId = entryOf(text)?.custom_id;
        if (typeof customId !== 'string' || offset + length >= size) break;
        whole = offset + length + 1;
        done.add(customId);
        counts[i]++;
      }
      await cabinet.truncate(tenant, id, whole);
    }
    [batch.request_counts.completed, batch.request_counts.failed] = counts;
    return done;
  }

  async #settle(unanswered: readonly PlannedRequest[]): Promise<void> {
    const { batch } = this.record;
    if (this.#why === 'expired') {
      for (const { customId } of unanswered) await this.#keep(expiredResult(customId));
    } else if (this.#why === undefined) {
      batch.status = 'finalizing';
      batch.finalizing_at = this.#nowS();
      await this.#save();
    }
    await this.#publish();
    if (this.#why === 'expired') {
      batch.status = 'expired';
      batch.expired_at = this.#nowS();
    } else if (this.#why === 'cancelled') {
      batch.status = 'cancelled';
      batch.cancelled_at = this.#nowS();
    } else {
      batch.status = 'completed';
      batch.completed_at = this.#nowS();
    }
    await this.#save();
  }

  async #fail(data: Problem[]): Promise<void> {
    const { batch } = this.record;
    if (this.#why === 'stopped') return;
    this.#end('cancelled');
    await this.#publish();
    batch.errors = { object: 'list', data };
    batch.status = 'failed';
    batch.failed_at = this.#nowS();
    await this.#save();
  }

  /** Results are files from now on. */
  async #publish(): Promise<void> {
    const { cabinet, limits } = this.#parts;
    const { tenant, batch, outputId, errorId } = this.record;
    await this.#written.catch(() => {});
    for (const [id, word] of [
      [outputId, 'output'],
      [errorId, 'error'],
    ] as const) {
      const bytes = await cabinet.sizeOf(tenant, id);
      if (bytes === 0) continue;
      const createdS = this.#nowS();
      const file: FileObject = {
        ...{ id, object: 'file', bytes, created_at: createdS },
        expires_at: createdS + Math.floor(limits.keepMs / 1000),
        ...{ filename: `${batch.id}_${word}.jsonl`, purpose: 'batch_output', status: 'processed' },
      };
      await cabinet.saveFile({ tenant, file });
      if (word === 'output') batch.output_file_id = id;
      else batch.error_file_id = id;
    }
  }

  #save(): Promise<void> {
    return this.#parts.cabinet.saveBatch(this.record);
  }

  #nowS(): number {
    return Math.floor(this.#parts.clock.wallMs() / 1000);
  }
}

/** Nobody reads it as it comes, and nobody waits for it. */
function bodyOf(body: Json): Json {
  const { stream: _stream, stream_options: _options, background: _background, ...asked } = body;
  return { ...asked, service_tier: 'batch' };
}

function resultOf(customId: string, { status, requestId, text }: Answer): Result {
  const isGood = status >= 200 && status < 300;
  const response =
    status === 0 ? null : { status_code: status, request_id: requestId, body: entryOf(text) ?? {} };
  const error =
    status === 0 ? { code: 'engine_failed', message: 'The answer broke off; ask again.' } : null;
  const line = JSON.stringify({ id: requestId, custom_id: customId, response, error });
  return { isGood, line };
}

function expiredResult(customId: string): Result {
  const message = 'This request was not served within the completion window.';
  const error = { code: 'batch_expired', message };
  const line = JSON.stringify({
    id: 'batch_req_expired',
    custom_id: customId,
    response: null,
    error,
  });
  return { isGood: false, line };
}
