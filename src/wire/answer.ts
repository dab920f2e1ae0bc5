/** Parts folded into one answer, for requests that do not stream. */
import { unreachable } from '../base/assert.ts';
import type { GatewayError } from '../model/error.ts';
import type { Finish, Part, Usage } from '../model/part.ts';

export type AnswerBlock =
  | { kind: 'text'; text: string }
  | { kind: 'reasoning'; text: string }
  | { kind: 'toolCall'; id: string; name: string; argumentsJson: string };

export interface Answer {
  blocks: AnswerBlock[];
  finish: Finish;
  usage: Usage;
  extras: Record<string, unknown> | undefined;
}

export class AnswerFold {
  readonly #blocks: AnswerBlock[] = [];
  error: GatewayError | undefined;
  #end: { finish: Finish; usage: Usage } | undefined;

  add(part: Part): void {
    switch (part.kind) {
      case 'text':
      case 'reasoning':
        return this.#append(part.kind, part.text);
      case 'toolCall':
        this.#blocks.push({ kind: 'toolCall', id: part.id, name: part.name, argumentsJson: '' });
        return;
      case 'toolArguments': {
        const last = this.#blocks[this.#blocks.length - 1];
        if (last?.kind === 'toolCall') last.argumentsJson += part.text;
        return;
      }
      case 'done':
        this.#end = part;
        return;
      case 'error':
        this.error = part.error;
        return;
      default:
        unreachable(part);
    }
  }

  /** Undefined until the last part came, and where it was an error. */
  answer(extras: Record<string, unknown> | undefined): Answer | undefined {
    if (this.#end === undefined) return undefined;
    const { finish, usage } = this.#end;
    return { blocks: this.#blocks, finish, usage, extras };
  }

  #append(kind: 'text' | 'reasoning', text: string): void {
    if (text === '') return;
    const last = this.#blocks[this.#blocks.length - 1];
    if (last?.kind === kind) last.text += text;
    else this.#blocks.push({ kind, text });
  }
}
