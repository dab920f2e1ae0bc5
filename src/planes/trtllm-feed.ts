/**
 * KV events of TensorRT-LLM, which its server hands out when asked: `POST <address>`, each once. There is
 * nobody to ask for what is lost.
 */
import type { Cancel, Clock, FeedAddress, FeedLink, FeedListener, KvFeed } from '../ports.ts';
import { packEvents } from '../wire/kv-events.ts';
import { readTrtllmEvents } from '../wire/trtllm-events.ts';

export interface TrtllmFeedSettings {
  /** Between two questions. */
  askUs: number;
  /** Milliseconds within which an answer must have come. */
  answerMsMax: number;
}

export class TrtllmFeed implements KvFeed {
  readonly #parts: { clock: Clock; settings: TrtllmFeedSettings };

  constructor(parts: { clock: Clock; settings: TrtllmFeedSettings }) {
    this.#parts = parts;
  }

  subscribe(address: FeedAddress & { blockTokens: number }, on: FeedListener): FeedLink {
    const { clock, settings } = this.#parts;
    const leaving = new AbortController();
    let cancel: Cancel = () => {};
    const ask = async () => {
      try {
        const signal = AbortSignal.any([leaving.signal, AbortSignal.timeout(settings.answerMsMax)]);
        const response = await fetch(address.endpoint, { method: 'POST', signal });
        if (response.ok) this.#tell(await response.text(), address.blockTokens, on);
      } catch {
        // An engine that is not there tells nothing, and proves nothing; a gap shows by its number.
      }
      if (!leaving.signal.aborted) cancel = clock.after(settings.askUs, () => void ask());
    };
    void ask();
    const close = () => {
      leaving.abort();
      cancel();
    };
    return { replays: false, isReliable: false, async *replay() {}, close };
  }

  #tell(text: string, blockTokens: number, on: FeedListener): void {
    for (const { number, events } of readTrtllmEvents(text, blockTokens)) {
      on.batch(number, packEvents(events, this.#parts.clock.wallMs() / 1000));
    }
  }
}
