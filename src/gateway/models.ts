/** Which models are served, by every name clients may use for them. */
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { PromptEncoder, Tokens, WorkerChange } from '../ports.ts';

export interface ServedModel {
  name: string;
  /** Undefined where prompts pass through as text; so is what encodes them. */
  tokens: Tokens | undefined;
  prompts: PromptEncoder | undefined;
  demo: boolean;
  contextTokens: number;
}

/** What the gateway itself knows of a model: its tokenizer, and the model that it belongs to. */
export interface KnownModel {
  tokens: Tokens;
  prompts: PromptEncoder;
  fingerprint: string;
}

type Up = Extract<WorkerChange, { kind: 'up' }>;

export class Models {
  readonly #known: ReadonlyMap<string, KnownModel>;
  readonly #aliases: ReadonlyMap<string, string>;
  readonly #served = new Map<WorkerId, Up>();
  /** Served before, so that a request during a restart waits instead of being refused. */
  readonly #seen = new Map<string, ServedModel>();

  constructor(given: {
    known: ReadonlyMap<string, KnownModel>;
    aliases: ReadonlyMap<string, string>;
  }) {
    this.#known = given.known;
    this.#aliases = given.aliases;
  }

  changed(change: WorkerChange): void {
    if (change.kind === 'down') {
      const name = this.#served.get(change.worker)?.about.model;
      this.#served.delete(change.worker);
      if (name !== undefined) this.#see(name);
      return;
    }
    this.#served.set(change.worker.id, change);
    this.#see(change.about.model);
  }

  /** What a worker's prompts can be rendered and hashed with; undefined where it would be a guess. */
  tokensOf({ about }: Up): Tokens | undefined {
    const known = this.#known.get(about.model);
    const fits = about.tokensMode === 'exact' && known?.fingerprint === about.fingerprint;
    return fits ? known.tokens : undefined;
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

  /** Prompts become tokens where that suits every worker of the name: whoever gets them, they fit. */
  #see(name: string): void {
    const served = [...this.#served.values()].filter(({ about }) => about.model === name);
    if (served.length === 0) return;
    const exact = served.every((change) => this.tokensOf(change) !== undefined);
    const known = exact ? this.#known.get(name) : undefined;
    this.#seen.set(name, {
      name,
      tokens: known?.tokens,
      prompts: known?.prompts,
      demo: served.some(({ about }) => about.demo),
      contextTokens: Math.max(...served.map(({ worker }) => worker.contextTokens)),
    });
  }

  /** With at least one worker up. */
  up(): ServedModel[] {
    const names = new Set([...this.#served.values()].map(({ about }) => about.model));
    return [...this.#seen.values()].filter(({ name }) => names.has(name));
  }
}
