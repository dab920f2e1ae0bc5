/**
 * Finds stop strings in streamed text, across token borders: text that could be the beginning of one
 * is held back until it is not.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  push(text: string): { text: string; stop: string | undefined } {
    if (this.#stops.length === 0) return { text, stop: undefined };
    this.#held += text;
    const found = this.#firstComplete();
    if (found !== undefined) {
      const before = this.#held.slice(0, found.at);
      this.#held = '';
      return { text: before, stop: found.stop };
    }
    const keep = this.#couldBegin();
    const ready = this.#held.slice(0, this.#held.length - keep);
    this.#held = this.#held.slice(this.#held.length - keep);
    return { text: ready, stop: undefined };
  }

  /** What was held back, when the answer ends without a stop string. */
  flush(): string {
    const held = this.#held;
    this.#held = '';
    return held;
  }

  /** The one complete first, of several the longest: so it does not matter how the text is cut. */
  #firstComplete(): { at: number; stop: string } | undefined {
    let best: { at: number; stop: string; end: number } | undefined;
    for (const stop of this.#stops) {
      const at = this.#held.indexOf(stop);
      const end = at + stop.length;
      if (at < 0 || (best !== undefined && end > best.end)) continue;
      if (best === undefined || end < best.end || at < best.at) best = { at, stop, end };
    }
    return best;
  }

  /** Length of the longest end of the held text that begins a stop string. */
  #couldBegin(): number {
    const longest = Math.max(...this.#stops.map((stop) => stop.length)) - 1;
    for (let length = Math.min(longest, this.#held.length); length > 0; length--) {
      const end = this.#held.slice(this.#held.length - length);
      if (this.#stops.some((stop) => stop.startsWith(end))) return length;
    }
    return 0;
  }
}
