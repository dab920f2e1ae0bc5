/**
 * Responses that nobody has to wait for: they run on when the client has gone, and whoever asks by their
 * id hears how far they are, with the events from the start or from where it was cut off.
 *
 *   queued ─► in_progress ─► completed | incomplete | failed | cancelled
 */
import { must } from '../../base/assert.ts';
import type { Call, Reply } from '../../http/call.ts';
import { GatewayError } from '../../model/error.ts';
import type { ResponseObject } from '../../wire/responses-items.ts';

export interface BackgroundLimits {
  /** That run. */
  jobsMax: number;
  /** Events that are kept, of those that run and those that ended. */
  eventBytesMax: number;
}

export class Background {
  readonly #limits: BackgroundLimits;
  /** By response id; the one that began first is first. */
  readonly #jobs = new Map<string, Job>();
  #bytes = 0;

  constructor(limits: BackgroundLimits) {
    this.#limits = limits;
  }

  /** Throws `queue_full` where too many run. */
  begin(tenant: string, id: string): Job {
    const running = [...this.#jobs.values()].filter((job) => !job.isOver);
    if (running.length >= this.#limits.jobsMax) {
      throw new GatewayError(
        'queue_full',
        `${running.length} responses are running in the background; try again when some have ended.`,
      );
    }
    const job = new Job(tenant, (bytes) => this.#grew(bytes));
    this.#jobs.set(id, job);
    return job;
  }

  find(tenant: string, id: string): Job | undefined {
    const job = this.#jobs.get(id);
    return job?.tenant === tenant ? job : undefined;
  }

  forget(id: string): void {
    this.#bytes -= this.#jobs.get(id)?.bytes ?? 0;
    this.#jobs.delete(id);
  }

  /** Resolves when all that runs has ended. */
  async close(): Promise<void> {
    await Promise.all([...this.#jobs.values()].map((job) => job.over));
  }

  #grew(bytes: number): void {
    this.#bytes += bytes;
    for (const [id, job] of this.#jobs) {
      if (this.#bytes <= this.#limits.eventBytesMax) return;
      if (job.isOver) this.forget(id);
      else this.#bytes -= job.forgetEvents();
    }
  }
}

/** One of them. It takes its answer as a client would. */
export class Job implements Reply {
  readonly tenant: string;
  /** Aborted to cancel it. */
  readonly stopping = new AbortController();
  /** Resolves when nothing more will come. */
  readonly over: Promise<void>;
  /** As it is known now; undefined until it was understood. */
  response: ResponseObject | undefined;
  /** Where it was refused before anything was answered. */
  refusal: { status: number; headers: Record<string, string>; body: string } | undefined;
  bytes = 0;
  readonly #grew: (bytes: number) => void;
  readonly #events: { number: number; text: string }[] = [];
  #hasAllEvents = true;
  #isOver = false;
  #status = 0;
  #headers: Record<string, string> = {};
  #wake: (() => void)[] = [];
  #resolveOver = () => {};

  constructor(tenant: string, grew: (bytes: number) => void) {
    this.tenant = tenant;
    this.#grew = grew;
    this.over = new Promise((resolve) => {
      this.#resolveOver = resolve;
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get isCancelled(): boolean {
    return this.stopping.signal.aborted;
  }

  get headSent(): boolean {
    return this.#status !== 0;
  }

  head(status: number, headers: Record<string, string>): void {
    this.#status = status;
    this.#headers = headers;
    if (status === 200 && this.response?.status === 'queued') {
      this.response = { ...this.response, status: 'in_progress' };
    }
  }

  write(data: string | Uint8Array): undefined {
    for (const text of String(data).split(/(?<=\n\n)/)) {
      const number = /^event: .*\ndata: \{"type":"[^"]*","sequence_number":(\d+)/.exec(text)?.[1];
      this.#events.push({ number: Number(number ?? Number.POSITIVE_INFINITY), text });
      if (!this.#hasAllEvents) continue;
      this.bytes += text.length;
      this.#grew(text.length);
    }
    if (!this.#hasAllEvents) this.#events.length = 0;
    this.#wakeAll();
    return undefined;
  }

  end(text?: string | Uint8Array): void {
    if (this.#status === 200) {
      if (text !== undefined) this.write(text);
    } else {
      this.refusal = { status: this.#status, headers: this.#headers, body: String(text ?? '') };
    }
    this.destroy();
  }

  destroy(): void {
    this.#isOver = true;
    this.#wakeAll();
    this.#resolveOver();
  }

  /** Returns how many bytes that were. */
  forgetEvents(): number {
    const { bytes } = this;
    this.#hasAllEvents = false;
    this.#events.length = 0;
    this.bytes = 0;
    return bytes;
  }

  /** Its events behind the one of that number, as they come, until it ends or the client leaves. */
  async follow({ reply, signal }: Call, after: number): Promise<void> {
    reply.head(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
    });
    let at = this.#events.findIndex(({ number }) => number > after);
    if (at < 0) at = this.#events.length;
    signal.addEventListener('abort', () => this.#wakeAll(), { once: true });
    while (!signal.aborted && this.#hasAllEvents) {
      const event = this.#events[at];
      if (event !== undefined) {
        at++;
        await reply.write(event.text);
      } else {
        if (this.#isOver) return reply.end();
        await new Promise<void>((resolve) => this.#wake.push(resolve));
      }
    }
    // Nobody is to take what it got for the whole.
    reply.destroy();
  }

  /** Where it was refused: answers as if it had not been asked for in the background. */
  refuse(reply: Reply): void {
    const { status, headers, body } = must(this.refusal, 'it was refused');
    reply.head(status, headers);
    reply.end(body);
  }

  get hasAllEvents(): boolean {
    return this.#hasAllEvents;
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
