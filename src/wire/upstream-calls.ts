/**
 * Tool calls as engines stream them, as parts: one after the other, each open until it is whole. Engines
 * tell calls apart by `index`, by `id`, or only by the name that begins one; some name a call in each of
 * its pieces, and some send pieces of several calls in turn. What comes of a later call while an earlier
 * one is still open waits.
 */
import { JsonScan } from '../base/json-scan.ts';
import type { Part } from '../model/part.ts';

export interface UpstreamCall {
  index?: number | null;
  id?: string | null;
  function?: { name?: string | null; arguments?: string | null } | null;
}

interface Known {
  /** What the engine tells it apart by. */
  key: number | string | undefined;
  id: string;
  name: string;
  /** Not told yet. */
  waiting: string;
  scan: JsonScan;
}

export class UpstreamCalls {
  readonly #calls: Known[] = [];
  /** How many have begun for those who read the parts; the last of them is open. */
  #told = 0;

  read(pieces: readonly (UpstreamCall | null)[]): Part[] {
    for (const piece of pieces) if (piece !== null) this.#take(piece);
    return this.#ready(false);
  }

  /** Whether any was told. */
  get hasBegun(): boolean {
    return this.#told > 0;
  }

  /** All that waits. */
  end(): Part[] {
    return this.#ready(true);
  }

  #take(piece: UpstreamCall): void {
    const { name, arguments: text } = piece.function ?? {};
    const call = this.#callOf(piece);
    if (call !== undefined) {
      call.waiting += text ?? '';
    } else if (name) {
      const id = piece.id || `call_${this.#calls.length}`;
      const key = piece.index ?? (piece.id || undefined);
      this.#calls.push({ key, id, name, waiting: text ?? '', scan: new JsonScan() });
    }
  }

  /** Undefined where the piece begins a call, or belongs to none. */
  #callOf({ index, id, function: fn }: UpstreamCall): Known | undefined {
    const last = this.#calls[this.#calls.length - 1];
    if (typeof index === 'number') {
      const known = this.#calls.findLast(({ key }) => key === index);
      // Some engines number every call alike, and name each anew.
      const isNew = id && fn?.name && known !== undefined && known.id !== id;
      return isNew ? undefined : known;
    }
    if (id) return this.#calls.find((call) => call.id === id);
    return fn?.name ? undefined : last;
  }

  #ready(isEnd: boolean): Part[] {
    const parts: Part[] = [];
    for (;;) {
      const open = this.#calls[this.#told - 1];
      if (open !== undefined) parts.push(...this.#pieces(open));
      const isWhole = open === undefined || open.scan.state !== 'more';
      if (this.#told === this.#calls.length || !(isWhole || isEnd)) return parts;
      const { id, name } = this.#calls[this.#told];
      parts.push({ kind: 'toolCall', index: this.#told, id, name });
      this.#told++;
    }
  }

  #pieces(open: Known): Part[] {
    const text = open.waiting;
    if (text === '') return [];
    open.waiting = '';
    open.scan.scan(text, 0);
    return [{ kind: 'toolArguments', index: this.#told - 1, text, tokens: 0 }];
  }
}
