/** Parts folded into one answer, for requests that do not stream. */
import { unreachable } from '../base/assert.ts';
import type { GatewayError } from '../model/error.ts';
import type { Finish, Part, TokenLogprob, Usage } from '../model/part.ts';

export type AnswerBlock =
  /** `logprobs` of its own tokens, where they were asked for. */
  | { kind: 'text'; text: string; logprobs?: TokenLogprob[] }
  | { kind: 'reasoning'; text: string }
  | { kind: 'toolCall'; id: string; name: string; argumentsJson: string };

/** One of the answers to a prompt. */
export interface ChoiceAnswer {
  blocks: AnswerBlock[];
  /** Of all its tokens; empty where they were not asked for. */
  logprobs: TokenLogprob[];
  finish: Finish;
}

/** The first of them, and the others. */
export interface Answer extends ChoiceAnswer {
  others: ChoiceAnswer[];
  usage: Usage;
  extras: Record<string, unknown> | undefined;
}

export class AnswerFold {
  readonly #choices: Omit<ChoiceAnswer, 'finish'>[] = [];
  readonly #finishes = new Map<number, Finish>();
  error: GatewayError | undefined;
  #end: { finish: Finish; usage: Usage } | undefined;

  add(part: Part): void {
    switch (part.kind) {
      case 'text':
      case 'reasoning':
      case 'toolCall':
      case 'toolArguments': {
        const choice = this.#choice(part.choice ?? 0);
        choice.logprobs.push(...(part.logprobs ?? []));
        return addToBlocks(choice.blocks, part);
      }
      case 'ended':
        this.#finishes.set(part.choice, part.finish);
        return;
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
    const count = Math.max(1, this.#finishes.size);
    const [first, ...others] = Array.from({ length: count }, (_, i) => ({
      ...this.#choice(i),
      finish: this.#finishes.get(i) ?? finish,
    }));
    return { ...first, others, usage, extras };
  }

  #choice(index: number): Omit<ChoiceAnswer, 'finish'> {
    while (this.#choices.length <= index) this.#choices.push({ blocks: [], logprobs: [] });
    return this.#choices[index];
  }
}

/** The last block goes on, or another one begins. */
export function addToBlocks(
  blocks: AnswerBlock[],
  part: Extract<Part, { kind: 'text' | 'reasoning' | 'toolCall' | 'toolArguments' }>,
): void {
  const last = blocks[blocks.length - 1];
  if (part.kind === 'toolCall') {
    blocks.push({ kind: 'toolCall', id: part.id, name: part.name, argumentsJson: '' });
  } else if (part.kind === 'toolArguments') {
    if (last?.kind === 'toolCall') last.argumentsJson += part.text;
  } else {
    if (part.text !== '') {
      if (last?.kind === part.kind) last.text += part.text;
      else blocks.push({ kind: part.kind, text: part.text });
    }
    const block = blocks[blocks.length - 1];
    if (part.kind === 'text' && block?.kind === 'text' && part.logprobs !== undefined) {
      block.logprobs ??= [];
      block.logprobs.push(...part.logprobs);
    }
  }
}
