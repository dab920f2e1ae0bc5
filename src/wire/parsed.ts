/** A model's plain text, taken apart into reasoning, tool calls and text by its family's parser. */
import { must } from '../base/assert.ts';
import type { Finish, Part, TokenLogprob } from '../model/part.ts';

interface Parser {
  push(text: string, tokens: number): Part[];
  end(): Part[];
}

/** Hears of a call and its arguments when these are over. */
type Heard = (id: string, argumentsJson: string) => void;

export interface ParsingGiven {
  /** Makes one for each of the answers; undefined: the engine took them apart. */
  parser: (() => Parser) | undefined;
  heard?: Heard;
  /** Calls behind the first of each answer are left out: whoever asked takes one at a time. */
  oneCall?: boolean | undefined;
}

/** Part by part, so that whoever hands them on waits for nothing between. */
export class Parsing {
  readonly #given: ParsingGiven;
  readonly #choices: ParsedChoice[] = [];
  #ended = 0;

  constructor(given: ParsingGiven) {
    this.#given = given;
  }

  push(part: Part): Part[] {
    const parts = this.#given.parser === undefined ? [part] : this.#parsed(part);
    return this.#given.oneCall ? parts.filter((one) => !isFurtherCall(one)) : parts;
  }

  #parsed(part: Part): Part[] {
    if (part.kind === 'text') return this.#choice(part.choice ?? 0).push(part);
    if (part.kind === 'ended') {
      this.#ended++;
      const of = this.#choice(part.choice);
      return [...of.end(), { ...part, finish: of.finish(part.finish) }];
    }
    return part.kind === 'done' ? this.#done(part) : [part];
  }

  #done(part: Extract<Part, { kind: 'done' }>): Part[] {
    const isOnly = this.#ended === 0;
    const last = isOnly ? this.#choice(0).end() : [];
    const finish = isOnly ? this.#choice(0).finish(part.finish) : part.finish;
    const reasoningTokens = this.#choices.reduce((sum, one) => sum + one.reasoningTokens, 0);
    return [...last, { ...part, finish, usage: { ...part.usage, reasoningTokens } }];
  }

  #choice(index: number): ParsedChoice {
    const { parser, heard = () => {} } = this.#given;
    while (this.#choices.length <= index) {
      const made = must(parser, 'only what is parsed has choices')();
      this.#choices.push(new ParsedChoice(this.#choices.length, made, heard));
    }
    return this.#choices[index];
  }
}

/** Of a stream of parts. */
export async function* parsed(
  parts: AsyncIterable<Part>,
  given: ParsingGiven,
): AsyncGenerator<Part> {
  const parsing = new Parsing(given);
  for await (const part of parts) yield* parsing.push(part);
}

function isFurtherCall(part: Part): boolean {
  return (part.kind === 'toolCall' || part.kind === 'toolArguments') && part.index > 0;
}

class ParsedChoice {
  reasoningTokens = 0;
  readonly #index: number;
  readonly #parser: Parser;
  readonly #heard: Heard;
  #calledTools = false;
  #call: { id: string; argumentsJson: string } | undefined;
  /** Of text that the parser holds back. */
  #logprobs: TokenLogprob[] = [];

  constructor(index: number, parser: Parser, heard: Heard) {
    this.#index = index;
    this.#parser = parser;
    this.#heard = heard;
  }

  push({ text, tokens, logprobs }: Extract<Part, { kind: 'text' }>): Part[] {
    if (logprobs !== undefined) this.#logprobs.push(...logprobs);
    return this.#told(this.#parser.push(text, tokens));
  }

  end(): Part[] {
    const parts = this.#told(this.#parser.end());
    this.#endCall();
    if (this.#logprobs.length === 0) return parts;
    return [...parts, ...this.#told([{ kind: 'text', text: '', tokens: 0 }])];
  }

  finish(finish: Finish): Finish {
    return finish.kind === 'stop' && this.#calledTools ? { kind: 'toolCalls' } : finish;
  }

  /** The first part that leaves tells how likely all tokens up to it were. */
  #told(parts: Part[]): Part[] {
    for (const part of parts) {
      if (part.kind === 'ended' || part.kind === 'done' || part.kind === 'error') continue;
      this.#calledTools ||= part.kind === 'toolCall';
      if (part.kind === 'reasoning') this.reasoningTokens += part.tokens;
      else if (part.kind === 'toolCall') {
        this.#endCall();
        this.#call = { id: part.id, argumentsJson: '' };
      } else if (part.kind === 'toolArguments' && this.#call !== undefined) {
        this.#call.argumentsJson += part.text;
      }
      if (this.#index > 0) part.choice = this.#index;
      if (this.#logprobs.length > 0) part.logprobs = this.#logprobs;
      this.#logprobs = [];
    }
    return parts;
  }

  #endCall(): void {
    if (this.#call !== undefined) this.#heard(this.#call.id, this.#call.argumentsJson);
    this.#call = undefined;
  }
}
