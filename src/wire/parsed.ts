/** A model's plain text, taken apart into reasoning, tool calls and text by its family's parser. */
import type { Part } from '../model/part.ts';

interface Parser {
  push(text: string, tokens: number): Part[];
  end(): Part[];
}

export async function* parsed(parts: AsyncIterable<Part>, parser: Parser): AsyncGenerator<Part> {
  let calledTools = false;
  for await (const part of parts) {
    if (part.kind === 'text') {
      for (const inner of parser.push(part.text, part.tokens)) {
        calledTools ||= inner.kind === 'toolCall';
        yield inner;
      }
    } else if (part.kind === 'done') {
      for (const inner of parser.end()) {
        calledTools ||= inner.kind === 'toolCall';
        yield inner;
      }
      const stopped = part.finish.kind === 'stop';
      yield stopped && calledTools ? { ...part, finish: { kind: 'toolCalls' } } : part;
    } else {
      yield part;
    }
  }
}
