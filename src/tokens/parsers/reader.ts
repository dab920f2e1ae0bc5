/**
 * An answer as a format's script reads it. A script is a generator that reads on as if all text were
 * there; where it is not, it yields, and goes on when more has come. What it decides depends on the
 * text alone, so that any cutting of the same text gives the same parts.
 *
 *   held:  "\n<tool_call>\n{\"name\": \"f\", …"
 *           └ opened ─┘     └ cursor: read on trial, up to here
 *
 * Text leaves when a script says what it is. What was read on trial is dropped once a call is
 * certain (`call`), or becomes text again (`giveUp`). Tokens are counted in when text comes, and out
 * with the next part that leaves.
 */

import { JsonScan, type Scan } from '../../base/json-scan.ts';
import type { Part } from '../../model/part.ts';

/** A piece of a script: yields where it needs more text. */
export type Step<T> = Generator<undefined, T, undefined>;

/** Names of tools and of their arguments are not longer, in UTF-16 units. */
const NAME_MAX = 256;
/** Markers are mostly sought where one is near. */
const WINDOW = 1024;
const NAME_BEGUN = /^[^\s<>{}"'`]*$/;
const NO_BLANK = /\S/;
/** The first half of a character that UTF-16 writes in two. */
const HALF = /[\ud800-\udbff]$/;

export class Reader {
  readonly #callId: (written: string | undefined) => string;
  #held = '';
  /** The end of it that came since a script last asked for more. */
  #fresh = '';
  #cursor = 0;
  /** Length of the marker before what is read on trial, breaks before it included. */
  #opened = 0;
  #ended = false;
  #tokens = 0;
  #calls = 0;
  /** Whether nothing but blanks followed the last call. */
  #behindCall = false;
  #parts: Part[] = [];
  /** While nothing is held and text is sought for markers: the characters that may begin one. */
  #plain: { stops: readonly string[]; emit: (text: string) => void } | undefined;

  /** `callId` names a call, given the name the model wrote where its format has one. */
  constructor(callId: (written: string | undefined) => string) {
    this.#callId = callId;
  }

  /** Returns whether the script is to read on: plain text leaves as it comes. */
  push(text: string, tokens: number): boolean {
    this.#tokens += tokens;
    if (this.#plain !== undefined && isPlain(text, this.#plain.stops)) {
      this.#plain.emit(text);
      return false;
    }
    this.#held += text;
    this.#fresh += text;
    return true;
  }

  end(): void {
    this.#ended = true;
  }

  /** What has left since it was asked last. */
  takeParts(): Part[] {
    const parts = this.#parts;
    this.#parts = [];
    return parts;
  }

  /** After the script's end: whatever is left, and tokens that no part took along. */
  flush(): void {
    this.#emit('text', this.#take(this.#held.length));
    if (this.#tokens > 0) this.#parts.push({ kind: 'text', text: '', tokens: this.#takeTokens() });
  }

  /** Text up to the first of `markers` leaves; see `upTo`. Blanks beside calls belong to them. */
  *textUpTo(markers: readonly string[], breaks: number): Step<string | undefined> {
    this.rewind();
    if (this.#behindCall) {
      yield* this.blanks();
      const blank = this.#cursor;
      const marker = yield* this.next(...markers);
      if (marker !== undefined) {
        this.#opened = this.#cursor;
        return marker;
      }
      if (this.#ended && blank === this.#held.length) this.#take(blank);
      this.rewind();
    }
    return yield* this.upTo(markers, breaks, (text) => this.#emit('text', text));
  }

  *reasoningUpTo(markers: readonly string[], breaks: number): Step<string | undefined> {
    return yield* this.upTo(markers, breaks, (text) => this.#emit('reasoning', text));
  }

  /**
   * Text before the first of `markers` goes to `emit` as early as it is certain, without up to
   * `breaks` line breaks before the marker. The cursor then stands behind the marker. Undefined at
   * the answer's end, when all text has gone. No marker may contain another one's beginning.
   */
  *upTo(
    markers: readonly string[],
    breaks: number,
    emit: (text: string) => void,
  ): Step<string | undefined> {
    const starts = markers.map((marker) => '\n'.repeat(breaks) + marker);
    const stops = [...new Set([...markers.map(([first]) => first), ...(breaks > 0 ? ['\n'] : [])])];
    this.rewind();
    for (;;) {
      const found = firstOf(this.#held, markers);
      if (found !== undefined) {
        let lead = 0;
        while (lead < breaks && this.#held[found.at - lead - 1] === '\n') lead++;
        emit(this.#take(found.at - lead));
        this.#cursor = this.#opened = lead + found.marker.length;
        return found.marker;
      }
      emit(this.#take(this.#held.length - kept(this.#held, starts, breaks)));
      if (this.#held === '') this.#plain = { stops, emit };
      const more = yield* this.#more();
      this.#plain = undefined;
      if (more !== undefined) continue;
      emit(this.#take(this.#held.length));
      return undefined;
    }
  }

  /** On trial: which of `texts` comes next; the cursor goes behind it. */
  *next(...texts: readonly string[]): Step<string | undefined> {
    const found = yield* this.peek(...texts);
    if (found !== undefined) this.#cursor += found.length;
    return found;
  }

  /** On trial: which of `texts` comes next. */
  *peek(...texts: readonly string[]): Step<string | undefined> {
    for (;;) {
      const found = texts.find((text) => this.#held.startsWith(text, this.#cursor));
      if (found !== undefined) return found;
      const most = Math.max(...texts.map(({ length }) => length));
      const rest = this.#held.slice(this.#cursor, this.#cursor + most);
      const could = texts.some((text) => text.startsWith(rest));
      if (!could || (yield* this.#more()) === undefined) return undefined;
    }
  }

  /** On trial: over blanks, if there are any. */
  *blanks(): Step<void> {
    let text: string | undefined = this.#held.slice(this.#cursor);
    while (text !== undefined) {
      const end = text.search(NO_BLANK);
      this.#cursor += end < 0 ? text.length : end;
      if (end >= 0) return;
      text = yield* this.#more();
    }
  }

  /** On trial: a name before the first of `ends`, where the cursor then stands. */
  *nameBefore(...ends: readonly string[]): Step<string | undefined> {
    const most = NAME_MAX + Math.max(...ends.map(({ length }) => length));
    for (;;) {
      const ahead = this.#held.slice(this.#cursor, this.#cursor + most);
      const end = firstOf(ahead, ends)?.at;
      const length = end ?? ahead.length - kept(ahead, ends, 0);
      const name = ahead.slice(0, length).trimEnd();
      if (length > NAME_MAX || !NAME_BEGUN.test(name)) return undefined;
      if (end !== undefined) {
        if (name === '') return undefined;
        this.#cursor += end;
        return name;
      }
      if ((yield* this.#more()) === undefined) return undefined;
    }
  }

  /** On trial: all text before the first of `ends`, at most `most` units of it, and which end. */
  *before(ends: readonly string[], most: number): Step<{ text: string; end: string } | undefined> {
    const longest = Math.max(...ends.map(({ length }) => length));
    let text = this.#held.slice(this.#cursor);
    let passed = 0;
    for (;;) {
      const found = firstOf(text.slice(0, most - passed + longest), ends);
      if (found !== undefined) {
        const start = this.#cursor;
        const end = start + passed + found.at;
        if (end - start > most) return undefined;
        this.#cursor = end + found.marker.length;
        return { text: this.#held.slice(start, end), end: found.marker };
      }
      const rest = text.slice(Math.max(0, text.length - longest + 1));
      passed += text.length - rest.length;
      const more: string | undefined = passed > most ? undefined : yield* this.#more();
      if (more === undefined) return undefined;
      text = rest + more;
    }
  }

  /** On trial: over what `scan` takes; its text, if it ended well. */
  *scanned(scan: Scan): Step<string | undefined> {
    const start = this.#cursor;
    let text: string | undefined = this.#held.slice(start);
    while (text !== undefined) {
      this.#cursor += scan.scan(text, 0);
      if (scan.state === 'whole') return this.#held.slice(start, this.#cursor);
      if (scan.state === 'wrong') return undefined;
      text = yield* this.#more();
    }
    return undefined;
  }

  /**
   * The JSON object that begins here leaves as arguments while it comes. False where it breaks: what
   * has left is the beginning of valid JSON, the rest is still here.
   */
  *streamObject(): Step<boolean> {
    const scan = new JsonScan();
    for (;;) {
      this.arguments(this.#take(scan.scan(this.#held, 0)));
      if (scan.state !== 'more') return scan.state === 'whole';
      if ((yield* this.#more()) === undefined) return false;
    }
  }

  /** Over blanks and one of `markers`, or over what the answer's end left of one. */
  *closing(...markers: readonly string[]): Step<boolean> {
    this.rewind();
    yield* this.blanks();
    if ((yield* this.next(...markers)) === undefined) {
      const rest = this.#held.slice(this.#cursor);
      if (!this.#ended || !markers.some((marker) => marker.startsWith(rest))) {
        this.rewind();
        return false;
      }
      this.#cursor = this.#held.length;
    }
    this.commit();
    return true;
  }

  /** A call is certain: what was read on trial belonged to it. */
  call(name: string, written?: string): void {
    this.commit();
    const index = this.#calls++;
    this.#parts.push({ kind: 'toolCall', index, id: this.#callId(written), name });
    this.#behindCall = true;
  }

  /** Of the last call. */
  arguments(text: string): void {
    if (text === '') return;
    const tokens = this.#takeTokens();
    this.#parts.push({ kind: 'toolArguments', index: this.#calls - 1, text, tokens });
  }

  /** What was read on trial is read for good. */
  commit(): void {
    this.#take(this.#cursor);
  }

  /** Back to where the trial began. */
  rewind(): void {
    this.#cursor = 0;
    this.#opened = 0;
  }

  /** After `upTo` found `marker`: back to its beginning, the breaks before it dropped. */
  backTo(marker: string): void {
    this.#take(this.#cursor - marker.length);
  }

  /** It was nothing: the marker before the trial is text, and what follows is read anew. */
  giveUp(kind: 'text' | 'reasoning' = 'text'): void {
    this.#emit(kind, this.#take(this.#opened));
  }

  /**
   * Text that came since; undefined at the answer's end. Looking at it alone, where much is held,
   * spares joining all of it for each token.
   */
  *#more(): Step<string | undefined> {
    this.#fresh = '';
    while (this.#fresh === '') {
      if (this.#ended) return undefined;
      yield;
    }
    return this.#fresh;
  }

  #take(length: number): string {
    const taken = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    this.rewind();
    return taken;
  }

  #takeTokens(): number {
    const tokens = this.#tokens;
    this.#tokens = 0;
    return tokens;
  }

  #emit(kind: 'text' | 'reasoning', text: string): void {
    if (text === '') return;
    this.#behindCall = false;
    this.#parts.push({ kind, text, tokens: this.#takeTokens() });
  }
}

/** Looks no farther than twice as far as it must, so that absent markers cost little. */
function firstOf(text: string, markers: readonly string[]): Found | undefined {
  for (let size = WINDOW; ; size *= 2) {
    const window = text.slice(0, size);
    let first: Found | undefined;
    for (const marker of markers) {
      const at = window.indexOf(marker);
      if (at >= 0 && (first === undefined || at < first.at)) first = { at, marker };
    }
    if (first !== undefined || size >= text.length) return first;
  }
}

interface Found {
  at: number;
  marker: string;
}

/** Nothing in it may begin a marker, and no character is cut at its end. */
function isPlain(text: string, stops: readonly string[]): boolean {
  return text !== '' && !HALF.test(text) && !stops.some((stop) => text.includes(stop));
}

/**
 * Length of the longest end of `text` with which one of `starts` could begin, without some of its
 * `breaks` first characters perhaps; at least that of half a character.
 */
function kept(text: string, starts: readonly string[], breaks: number): number {
  let longest = HALF.test(text) ? 1 : 0;
  for (const start of starts) {
    for (let skipped = 0; skipped <= breaks; skipped++) {
      const most = Math.min(start.length - skipped - 1, text.length);
      for (let length = most; length > longest; length--) {
        if (text.endsWith(start.slice(skipped, skipped + length))) longest = length;
      }
    }
  }
  return longest;
}
