/** What each format of a trace fills: how it is recognised and how it is read, line by line. */
import type { BadRow } from './row.ts';
import type { Malformed, Trace } from './trace.ts';

export interface Format {
  /** As `--format` names it. */
  readonly name: string;
  /** Who writes it; a few words. */
  readonly about: string;
  /** Whether a file that begins so is written in it. */
  recognises(head: readonly HeadLine[]): boolean;
  reader(options: ReadOptions, defects: Defects): Reader;
}

export interface HeadLine {
  text: string;
  /** The line as JSON; undefined where it is none. */
  value: Readonly<Record<string, unknown>> | undefined;
}

export interface Reader {
  /** Throws `BadRow` where the line cannot be used; it is then counted and left out. */
  line(text: string, line: number): void;
  build(): Trace;
}

export interface ReadOptions {
  /** For formats that do not say it; undefined: what their publisher uses. */
  blockTokens?: number;
  /** Where files lie that the trace refers to. */
  folder: string;
  /**
   * Of traces whose block ids are local to a session: this share of a session's tools and system prompt
   * counts as the same in all sessions. The WEKA traces' own replayer takes a half.
   */
  sharedPrefixShare: number;
  /** Text → blocks, for traces that hold conversations; undefined: four characters are a token. */
  conversations?: Conversations;
}

export interface Conversations {
  /** Of the model whose tokenizer it is. */
  readonly model: string;
  readonly blockTokens: number;
  /** A prompt of OpenAI `messages` and `tools`: its tokens, and an id for each of its full blocks. */
  prompt(
    messages: readonly unknown[],
    tools: readonly unknown[],
  ): { tokens: number; ids: string[] };
  /** Tokens of one assistant message. */
  answerTokens(message: unknown): number;
}

const KEPT = 20;

/** Counts what was left out, and keeps the first sentences. */
export class Defects {
  readonly #first: { line: number; sentence: string }[] = [];
  #count = 0;

  add(line: number, { message }: BadRow | { message: string }): void {
    this.#count++;
    if (this.#first.length < KEPT) this.#first.push({ line, sentence: message });
  }

  get malformed(): Malformed {
    return { count: this.#count, first: this.#first };
  }
}
