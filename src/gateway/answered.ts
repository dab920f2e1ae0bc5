/**
 * What a request's client has of its answer, kept so that another worker can go on from it: the prompt
 * and what was said are that worker's prompt, and what it says is the answer's rest.
 *
 *   lost worker     p p p p │ a b c ✗
 *   next worker     p p p p   a b c │ d e f …      told, and counted as output, are d e f
 */
import type { Finish, Part, Usage } from '../model/part.ts';
import type { Job, Said } from '../ports.ts';

/** One answer that is not whole, and the job that ends it. */
export interface Rest {
  choice: number;
  job: Job;
  /** Undefined: something of it is still to be said. */
  finish: Finish | undefined;
}

export class Answered {
  readonly #job: Job;
  readonly #choices: Told[] = [];
  #parts = 0;

  constructor(job: Job) {
    this.#job = job;
  }

  /** Whether the client has nothing yet. */
  get isEmpty(): boolean {
    return this.#parts === 0;
  }

  get choices(): number {
    return this.#job.shape.choices;
  }

  get tokens(): number {
    return this.#choices.reduce((sum, { tokens }) => sum + tokens, 0);
  }

  add(part: Part): void {
    if (part.kind === 'done' || part.kind === 'error') return;
    this.#parts++;
    const told = this.#told(part.choice ?? 0);
    if (part.kind === 'ended') told.end(part.finish);
    else told.add(part);
  }

  /** What is left to do, an answer each; none where all are whole. */
  rest(): Rest[] {
    const { shape } = this.#job;
    return Array.from({ length: shape.choices }, (_, choice) => this.#restOf(choice)).filter(
      ({ choice }) => this.#told(choice).finish === undefined,
    );
  }

  /** As if one worker had given all of it: `usages` of those who gave what followed `tokens`. */
  usage(tokens: number, usages: readonly Usage[]): Usage {
    const { prompt } = this.#job;
    const [first] = usages;
    const promptTokens = prompt.kind === 'tokens' ? prompt.ids.length : (first?.promptTokens ?? 0);
    const cached = first?.cachedTokens;
    return {
      promptTokens,
      // What was said is no prompt of the client's, wherever its KV lay.
      cachedTokens: cached === undefined ? undefined : Math.min(cached, promptTokens),
      outputTokens: usages.reduce((sum, { outputTokens }) => sum + outputTokens, tokens),
    };
  }

  #restOf(choice: number): Rest {
    const { shape, sampling, outputTokensMax, stop } = this.#job;
    const told = this.#told(choice);
    const left =
      outputTokensMax === undefined ? undefined : Math.max(0, outputTokensMax - told.tokens);
    const { seed } = sampling;
    const several = shape.choices > 1;
    const { outputTokensMin = 0 } = this.#job.extras ?? {};
    const leastLeft = Math.max(0, outputTokensMin - told.tokens);
    const job: Job = {
      ...this.#job,
      ...(several && { shape: { ...shape, choices: 1 } }),
      ...(several &&
        seed !== undefined && { sampling: { ...sampling, seed: (seed + choice) >>> 0 } }),
      outputTokensMax: left,
      ...(outputTokensMin > 0 && {
        extras: { ...this.#job.extras, outputTokensMin: leastLeft },
      }),
      said: told.said(),
    };
    return { choice, job, finish: told.endOf(left, stop) };
  }

  #told(choice: number): Told {
    // Who takes ids does not ask for words.
    const keepsText = this.#job.prompt.kind !== 'tokens';
    while (this.#choices.length <= choice) this.#choices.push(new Told(keepsText));
    return this.#choices[choice];
  }
}

/** One answer as far as it was told. */
class Told {
  tokens = 0;
  finish: Finish | undefined;
  readonly #keepsText: boolean;
  readonly #ids: number[] = [];
  #text = '';
  #hasIds = true;
  #isPlain = true;
  #characters = 0;

  constructor(keepsText: boolean) {
    this.#keepsText = keepsText;
  }

  add(part: Exclude<Part, { kind: 'ended' | 'done' | 'error' }>): void {
    if (part.kind !== 'text') {
      this.#isPlain = false;
      this.#hasIds = false;
      if (part.kind !== 'toolCall') this.tokens += part.tokens;
      return;
    }
    this.tokens += part.tokens;
    this.#characters += part.text.length;
    if (part.ids !== undefined) for (const id of part.ids) this.#ids.push(id);
    else if (part.text !== '') this.#hasIds = false;
    if (this.#keepsText && this.#isPlain) this.#text += part.text;
  }

  /** Engines count the token that ended it. */
  end(finish: Finish): void {
    this.finish = finish;
    if (finish.kind === 'stop') this.tokens++;
  }

  /** Why it is over, where it was lost between its last words and its end; `left`: tokens it may have. */
  endOf(left: number | undefined, stop: readonly string[]): Finish | undefined {
    const isLong = left !== undefined && left <= 0;
    // Of what stop strings held back nobody knows before an engine says it.
    return isLong && stop.length === 0 ? { kind: 'length' } : undefined;
  }

  said(): Said {
    const ids = this.#hasIds ? Uint32Array.from(this.#ids) : undefined;
    return {
      ...{ ids, text: this.#text, characters: this.#characters },
      ...{ tokens: this.tokens, isPlain: this.#isPlain },
    };
  }
}
