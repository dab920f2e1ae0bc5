/** Takes a model's answer apart while it comes, by the scripts of its family's formats. */
import { assert } from '../../base/assert.ts';
import type { Part } from '../../model/part.ts';
import type { Tool } from '../../model/request.ts';
import type { PartParser } from '../../ports.ts';
import type { Dialect } from './dialect.ts';
import { Reader, type Step } from './reader.ts';
import { readReasoning } from './reasoning.ts';

export interface AnswerSettings {
  dialect: Dialect;
  /** Whether the prompt ends inside reasoning. */
  isOpen: boolean;
  /** Offered to the model. */
  tools: readonly Tool[];
  /** Names a call, given the name the model wrote where its format has one. */
  callId: (written: string | undefined) => string;
}

export class AnswerParser implements PartParser {
  readonly #reader: Reader;
  readonly #script: Step<void>;

  constructor(settings: AnswerSettings) {
    this.#reader = new Reader(settings.callId);
    this.#script = readAnswer(this.#reader, settings);
  }

  push(text: string, tokens: number): Part[] {
    // Resuming the script costs more than all else here.
    if (this.#reader.push(text, tokens)) this.#script.next();
    return this.#reader.takeParts();
  }

  /** What breaks off is told as what it is so far. */
  end(): Part[] {
    this.#reader.end();
    assert(this.#script.next().done === true, 'no script waits for text after the end');
    this.#reader.flush();
    return this.#reader.takeParts();
  }
}

function* readAnswer(reader: Reader, { dialect, isOpen, tools }: AnswerSettings): Step<void> {
  const { calls, reasoning } = dialect;
  if (reasoning !== undefined) {
    yield* readReasoning(reader, reasoning, { isOpen, endedBy: calls?.endsReasoning ?? [] });
  }
  if (calls !== undefined) yield* calls.read(reader, tools);
  else yield* reader.textUpTo([], 0);
}
