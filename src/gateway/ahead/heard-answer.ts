/** An answer as its client hears it, and the ids it was computed with, while it passes by. */
import type { Finish, Part } from '../../model/part.ts';
import { type AnswerBlock, addToBlocks } from '../../wire/answer.ts';
import type { Parsing } from '../../wire/parsed.ts';

export class HeardAnswer {
  readonly blocks: AnswerBlock[] = [];
  /** Of all it computed, markers included, as far as its engine names them. */
  readonly ids: number[] = [];
  /** Undefined until it is whole. */
  finish: Finish | undefined;
  readonly #parsing: Pick<Parsing, 'push'>;

  constructor(parsing: Pick<Parsing, 'push'>) {
    this.#parsing = parsing;
  }

  /** As `Parsing` has it. */
  push(part: Part): Part[] {
    if (part.kind === 'text' && part.ids !== undefined) this.ids.push(...part.ids);
    const parts = this.#parsing.push(part);
    for (const one of parts) {
      if (one.kind === 'done') this.finish = one.finish;
      else if (one.kind !== 'ended' && one.kind !== 'error') addToBlocks(this.blocks, one);
    }
    return parts;
  }
}
