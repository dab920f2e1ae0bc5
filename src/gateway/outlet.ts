/**
 * A stream's way to its client.
 *
 *   held ──(first part, or holdUs passed)──► open ──(done, error)──► ended
 *    └─(refused)─► a status of its own        └─ silent for keepAliveUs: an event that means nothing
 *
 * What is said within one turn of the event loop, or while the socket takes no more, goes out in one
 * write. A client that does not read holds its writer: what waits here is what one turn brought.
 */
import type { Reply } from '../http/call.ts';
import { GatewayError } from '../model/error.ts';
import type { Part } from '../model/part.ts';
import type { Cancel, Clock } from '../ports.ts';
import type { Framer } from '../wire/wire.ts';
import type { Manners } from './patience.ts';

export interface OutletGiven {
  reply: Reply;
  clock: Clock;
  manners: Manners;
  /** Since the request arrived. */
  waitedUs: number;
  /** Asked once, when the stream begins. */
  open: () => { framer: Framer; headers: Record<string, string> };
}

/** More text than this is not gathered. */
const GATHERED_MAX = 64 * 1024;

export class Outlet {
  readonly #given: OutletGiven;
  #framer: Framer | undefined;
  /** Said, and not written yet. */
  #text = '';
  #isGathering = false;
  /** Until the socket takes more. */
  #blocked: Promise<void> | undefined;
  #saidUs = 0;
  #isEnded = false;
  #cancel: Cancel;

  constructor(given: OutletGiven) {
    this.#given = given;
    const { clock, manners, waitedUs } = given;
    this.#cancel = clock.after(Math.max(0, manners.holdUs - waitedUs), () => this.#opened());
  }

  get isOpen(): boolean {
    return this.#framer !== undefined;
  }

  /** Whoever has more to say waits for `room` first. */
  get isBlocked(): boolean {
    return this.#blocked !== undefined;
  }

  send(part: Part, extras?: Record<string, unknown>): void {
    const framer = this.#opened();
    if (part.kind === 'error' && this.#given.manners.lastWord === 'cut' && part.error.retryable) {
      this.#isEnded = true;
      this.#given.reply.destroy();
      return;
    }
    this.#say(framer.part(part, extras));
  }

  /** Resolves when the client has read on or left; throws where it does neither for too long. */
  async room(): Promise<void> {
    const { clock, manners } = this.#given;
    let cancel: Cancel = () => {};
    const late = new Promise<never>((_, reject) => {
      cancel = clock.after(manners.readerUsMax, () => reject(stopped(manners.readerUsMax)));
    });
    await Promise.race([this.#blocked, late]).finally(() => cancel());
  }

  /** Nothing more will be said. Where nothing was, the reply is left to whoever refuses it. */
  end(): void {
    this.#cancel();
    if (!this.isOpen || this.#isEnded) return;
    this.#isEnded = true;
    this.#given.reply.end(this.#text);
    this.#text = '';
  }

  #opened(): Framer {
    if (this.#framer !== undefined) return this.#framer;
    this.#cancel();
    const { reply, manners, open } = this.#given;
    const { framer, headers } = open();
    this.#framer = framer;
    reply.head(200, { ...STREAM_HEADERS, ...headers });
    this.#say(framer.open());
    this.#watch(framer, manners.keepAliveUs);
    return framer;
  }

  #watch(framer: Framer, us: number): void {
    const { clock, manners } = this.#given;
    this.#cancel = clock.after(us, () => {
      const quietUs = clock.nowUs() - this.#saidUs;
      const isQuiet = quietUs >= manners.keepAliveUs;
      if (isQuiet && !this.isBlocked) this.#say(framer.keepAlive());
      this.#watch(framer, isQuiet ? manners.keepAliveUs : manners.keepAliveUs - quietUs);
    });
  }

  #say(text: string): void {
    if (text === '' || this.#isEnded) return;
    this.#text += text;
    if (this.isBlocked) return;
    if (this.#text.length >= GATHERED_MAX) return this.#flush();
    if (this.#isGathering) return;
    this.#isGathering = true;
    // Runs when all that is ready now was said, before anything new is read.
    process.nextTick(() => {
      this.#isGathering = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#text === '' || this.isBlocked || this.#isEnded) return;
    const { reply, clock } = this.#given;
    this.#saidUs = clock.nowUs();
    const drained = reply.write(this.#text);
    this.#text = '';
    if (drained === undefined) return;
    this.#blocked = drained.then(() => {
      this.#blocked = undefined;
      this.#flush();
    });
  }
}

const STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
};

function stopped(us: number): GatewayError {
  const seconds = Math.ceil(us / 1e6);
  return new GatewayError(
    'request_timeout',
    `The client read nothing of this stream for ${seconds} s, so it ended here.`,
  );
}
