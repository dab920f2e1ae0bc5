/**
 * Parses what models of the Hermes and Qwen families write:
 *
 *   <think>\n reasoning \n</think>\n\n text
 *   \n<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>
 *
 * The line breaks beside markers belong to them: their templates write them back, so that the next
 * turn's prompt continues the KV of this answer. Text leaves at once, but for an end that could
 * begin a marker. A call leaves when it is complete; a malformed one leaves as the text it is.
 */
import type { Part } from '../../model/part.ts';
import type { PartParser } from '../../ports.ts';
import { memberTexts } from '../template/json.ts';
import { JsonObjectScan } from './json-object-scan.ts';

const THINK = '<think>';
const THINK_END = '</think>';
const CALL = '<tool_call>';
const CALL_END = '</tool_call>';
/** Line breaks that templates write between reasoning and text. */
const BREAKS_AFTER_THINK = 2;

export interface Dialect {
  /** How an answer begins: `open` inside reasoning that the prompt began. */
  thinking: 'none' | 'optional' | 'open';
  calls: 'none' | 'json';
}

type State = 'start' | 'thinkStart' | 'thinking' | 'thought' | 'text' | 'call';

export class HermesParser implements PartParser {
  readonly #dialect: Dialect;
  readonly #nextId: () => string;
  #state: State;
  /** Read, but not yet part of anything. */
  #held = '';
  /** The end of it which an open call has not looked at. */
  #fresh = '';
  #heldTokens = 0;
  #breaks = 0;
  #calls = 0;
  #call = new JsonObjectScan();
  /** A line break before an open call, which is text again if the call is malformed. */
  #callLead = '';

  /** `nextId` names tool calls. */
  constructor(dialect: Dialect, nextId: () => string) {
    this.#dialect = dialect;
    this.#nextId = nextId;
    this.#state = { none: 'text', optional: 'start', open: 'thinkStart' }[
      dialect.thinking
    ] as State;
  }

  push(text: string, tokens: number): Part[] {
    this.#held += text;
    this.#fresh = text;
    this.#heldTokens += tokens;
    const parts: Part[] = [];
    while (this.#step(parts)) {}
    return parts;
  }

  end(): Part[] {
    const parts: Part[] = [];
    while (this.#state === 'call') {
      // What may stand behind a whole object here is the beginning of the end marker.
      const end = this.#call.end === undefined ? undefined : this.#held.length;
      if (!this.#finishCall(parts, end)) this.#giveUpCall(parts);
      while (this.#step(parts)) {}
    }
    const isBreakAfterCall = this.#calls > 0 && this.#held === '\n';
    if (this.#state === 'thinking') this.#emit(parts, 'reasoning', this.#held);
    else if (!isBreakAfterCall) this.#emit(parts, 'text', this.#held);
    this.#held = '';
    return parts;
  }

  /** One step through what is held; false where more text is needed. */
  #step(parts: Part[]): boolean {
    switch (this.#state) {
      case 'start':
        return this.#start();
      case 'thinkStart':
        if (this.#held === '') return false;
        if (this.#held[0] === '\n') this.#take(1);
        this.#state = 'thinking';
        return true;
      case 'thinking':
        return this.#upTo(THINK_END, 'reasoning', parts);
      case 'thought':
        if (this.#held === '') return false;
        if (this.#held[0] === '\n' && this.#breaks < BREAKS_AFTER_THINK) {
          this.#breaks++;
          this.#take(1);
        } else this.#state = 'text';
        return true;
      case 'text':
        return this.#upTo(CALL, 'text', parts);
      case 'call':
        return this.#inCall(parts);
    }
  }

  /** Reasoning can only come first. */
  #start(): boolean {
    const begun = this.#held.trimStart();
    if (THINK.startsWith(begun) && begun !== THINK) return false;
    if (begun.startsWith(THINK)) {
      this.#held = begun.slice(THINK.length);
      this.#state = 'thinkStart';
    } else this.#state = 'text';
    return true;
  }

  /** Emits what stands before the marker, or what cannot be the beginning of it. */
  #upTo(marker: string, kind: 'text' | 'reasoning', parts: Part[]): boolean {
    const isSought = marker !== CALL || this.#dialect.calls === 'json';
    const found = isSought ? this.#held.indexOf(marker) : -1;
    if (found < 0) {
      const kept = isSought ? possibleStart(this.#held, `\n${marker}`, marker) : 0;
      this.#emit(parts, kind, this.#take(this.#held.length - kept));
      return false;
    }
    const lead = this.#held[found - 1] === '\n' ? '\n' : '';
    this.#emit(parts, kind, this.#take(found).slice(0, found - lead.length));
    this.#take(marker.length);
    if (marker === CALL) {
      this.#callLead = lead;
      this.#call = new JsonObjectScan();
      this.#fresh = this.#held;
      this.#state = 'call';
    } else this.#state = 'thought';
    return true;
  }

  #inCall(parts: Part[]): boolean {
    const verdict = this.#call.scan(this.#fresh);
    if (verdict === 'more') return false;
    if (verdict === 'wrong') return this.#giveUpCall(parts);
    const after = this.#held.slice(this.#call.end).trimStart();
    if (CALL_END.startsWith(after) && after !== CALL_END) return false;
    if (!after.startsWith(CALL_END)) return this.#giveUpCall(parts);
    const end = this.#held.indexOf(CALL_END, this.#call.end) + CALL_END.length;
    return this.#finishCall(parts, end) || this.#giveUpCall(parts);
  }

  /** Emits the call whose text ends at `end`, if there is a whole one. */
  #finishCall(parts: Part[], end: number | undefined): boolean {
    const call = end === undefined ? undefined : readCall(this.#held.slice(0, this.#call.end));
    if (call === undefined || end === undefined) return false;
    const index = this.#calls++;
    parts.push({ kind: 'toolCall', index, id: this.#nextId(), name: call.name });
    const tokens = this.#takeTokens();
    parts.push({ kind: 'toolArguments', index, text: call.argumentsJson, tokens });
    this.#take(end);
    this.#state = 'text';
    return true;
  }

  /** It was no call: the marker is text, and what follows is read as text. */
  #giveUpCall(parts: Part[]): true {
    this.#emit(parts, 'text', this.#callLead + CALL);
    this.#state = 'text';
    return true;
  }

  #take(length: number): string {
    const taken = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return taken;
  }

  #takeTokens(): number {
    const tokens = this.#heldTokens;
    this.#heldTokens = 0;
    return tokens;
  }

  #emit(parts: Part[], kind: 'text' | 'reasoning', text: string): void {
    if (text !== '') parts.push({ kind, text, tokens: this.#takeTokens() });
  }
}

/** Length of the longest end of `text` with which one of the markers could begin. */
function possibleStart(text: string, ...markers: string[]): number {
  const most = Math.max(...markers.map(({ length }) => length)) - 1;
  for (let length = Math.min(most, text.length); length > 0; length--) {
    const end = text.slice(-length);
    if (markers.some((marker) => marker.startsWith(end))) return length;
  }
  return 0;
}

function readCall(text: string): { name: string; argumentsJson: string } | undefined {
  try {
    const call = JSON.parse(text);
    const { name, arguments: given } = call;
    if (typeof name !== 'string' || typeof given !== 'object' || given === null) return undefined;
    if (Array.isArray(given)) return undefined;
    const argumentsJson = memberTexts(text).get('arguments');
    return argumentsJson === undefined ? undefined : { name, argumentsJson };
  } catch {
    return undefined; // malformed: the caller makes text of it
  }
}
