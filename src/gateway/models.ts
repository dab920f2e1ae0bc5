/** Which models are served, by every name clients may use for them. */
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Tokens, WorkerChange } from '../ports.ts';

export interface ServedModel {
  name: string;
  /** Undefined where prompts pass through as text. */
  tokens: Tokens | undefined;
  demo: boolean;
  contextTokens: number;
}

export class Models {
  /** Tokenizers the gateway has, by model name. */
  readonly #tokens: ReadonlyMap<string, Tokens>;
  readonly #aliases: ReadonlyMap<string, string>;
  readonly #served = new Map<
    WorkerId,
    { name: string; demo: boolean; contextTokens: number; exact: boolean }
  >();
  /** Served before, so that a request during a restart waits instead of being refused. */
  readonly #seen = new Map<string, ServedModel>();

  constructor(given: {
    tokens: ReadonlyMap<string, Tokens>;
    aliases: ReadonlyMap<string, string>;
  }) {
    this.#tokens = given.tokens;
    this.#aliases = given.aliases;
  }

  changed(change: WorkerChange): void {
    if (change.kind === 'down') {
      this.#served.delete(change.worker);
      return;
    }
    const { worker, about } = change;
    const name = about.model;
    const exact = about.tokensMode === 'exact';
    const { contextTokens } = worker;
    this.#served.set(worker.id, { name, demo: about.demo, contextTokens, exact });
    const tokens = exact ? this.#tokens.get(name) : undefined;
    this.#seen.set(name, { name, tokens, demo: about.demo, contextTokens });
  }

  /** Throws `model_not_found`, naming what there is. */
  find(name: string): ServedModel {
    const real = this.#aliases.get(name) ?? name;
    const model = this.#seen.get(real);
    if (model !== undefined) return model;
    const names = [...this.#seen.keys()].map((known) => `"${known}"`).join(', ');
    throw new GatewayError(
      'model_not_found',
      names === ''
        ? 'No model is served yet: no engine is up.'
        : `There is no model ${JSON.stringify(name.slice(0, 100))} here; served: ${names}.`,
      { param: 'model' },
    );
  }

  /** With at least one worker up. */
  up(): ServedModel[] {
    const names = new Set([...this.#served.values()].map(({ name }) => name));
    return [...this.#seen.values()].filter(({ name }) => names.has(name));
  }
}
