/** A model's plain text, taken apart into reasoning, tool calls and text by its family's parser. */
import type { Finish, Part, TokenLogprob } from '../model/part.ts';

interface Parser {
  push(text: string, tokens: number): Part[];
  end(): Part[];
}

/** `parser` makes one for each of the answers. */
export async function* parsed(
  parts: AsyncIterable<Part>,
  parser: () => Parser,
): AsyncGenerator<Part> {
  const choices: ParsedChoice[] = [];
  const choice = (index: number) => {
    while (choices.length <= index) choices.push(new ParsedChoice(choices.length, parser()));
    return choices[index];
  };
  let ended = 0;
  for await (const part of parts) {
    if (part.kind === 'text') {
      yield* choice(part.choice ?? 0).push(part);
    } else if (part.kind === 'ended') {
      ended++;
      const of = choice(part.choice);
      yield* of.end();
      yield { ...part, finish: of.finish(part.finish) };
    } else if (part.kind === 'done') {
      if (ended === 0) yield* choice(0).end();
      yield ended === 0 ? { ...part, finish: choice(0).finish(part.finish) } : part;
    } else {
      yield part;
    }
  }
}

class ParsedChoice {
  readonly #index: number;
  readonly #parser: Parser;
  #calledTools = false;
  /** Of text that the parser holds back. */
  #logprobs: TokenLogprob[] = [];

  constructor(index: number, parser: Parser) {
    this.#index = index;
    this.#parser = parser;
  }

  push({ text, tokens, logprobs }: Extract<Part, { kind: 'text' }>): Part[] {
    if (logprobs !== undefined) this.#logprobs.push(...logprobs);
    return this.#told(this.#parser.push(text, tokens));
  }

  end(): Part[] {
    const parts = this.#told(this.#parser.end());
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
      if (this.#index > 0) part.choice = this.#index;
      if (this.#logprobs.length > 0) part.logprobs = this.#logprobs;
      this.#logprobs = [];
    }
    return parts;
  }
}
