/**
 * Which models are served, by every name clients may use for them: a model's own, an alias, a name that
 * stands for several models by weight, or that of a LoRA adapter that some of its workers have.
 */
import { Prng } from '../base/prng.ts';
import { type ErrorCode, GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { KnownTokens, PromptEncoder, Tokens, WorkerChange } from '../ports.ts';
import type { ListedModel } from '../wire/model-list.ts';

export interface ServedModel {
  name: string;
  /** The LoRA adapter by whose name it was asked for; undefined: the model itself. */
  adapter?: string | undefined;
  /** Undefined where prompts pass through as text; so is what encodes them. */
  tokens: Tokens | undefined;
  prompts: PromptEncoder | undefined;
  demo: boolean;
  contextTokens: number;
}

/** What the gateway itself knows of a model: its tokenizer, and the model that it belongs to. */
export interface KnownModel extends KnownTokens {
  prompts: PromptEncoder;
}

/** What the configuration says of one name. */
export interface ModelName {
  name: string;
  /** Other names for it. */
  aliases: readonly string[];
  /** Models that the name stands for, each for its share of sessions; empty: a model of that name. */
  split: readonly { model: string; weight: number }[];
  /** Models to be asked instead, in order, where nobody can serve it. */
  fallbacks: readonly string[];
}

type Up = Extract<WorkerChange, { kind: 'up' }>;

/** After these another model may do better. */
const FALL_BACK: ReadonlySet<ErrorCode> = new Set([
  'no_worker',
  'queue_full',
  'engine_lost',
  'engine_failed',
  'engine_denied',
  'engine_timeout',
]);

export class Models {
  readonly #known: ReadonlyMap<string, KnownModel>;
  /** By each of its names. */
  readonly #named = new Map<string, ModelName>();
  readonly #served = new Map<WorkerId, Up>();
  /** Served before, so that a request during a restart waits instead of being refused. */
  readonly #seen = new Map<string, ServedModel>();
  /** Models by the adapters that their workers have or had. */
  readonly #adapted = new Map<string, string>();

  constructor(given: { known: ReadonlyMap<string, KnownModel>; names?: readonly ModelName[] }) {
    this.#known = given.known;
    this.rename(given.names ?? []);
  }

  /** What names mean from now on; requests that are under way go on with what they meant. */
  rename(names: readonly ModelName[]): void {
    this.#named.clear();
    for (const one of names) {
      for (const name of [one.name, ...one.aliases]) this.#named.set(name, one);
    }
  }

  changed(change: Extract<WorkerChange, { kind: 'up' | 'down' }>): void {
    if (change.kind === 'down') {
      const name = this.#served.get(change.worker)?.about.model;
      this.#served.delete(change.worker);
      if (name !== undefined) this.#see(name);
      return;
    }
    this.#served.set(change.worker.id, change);
    this.#see(change.about.model);
    for (const adapter of change.worker.rules?.adapters ?? []) {
      this.#adapted.set(adapter, change.about.model);
    }
  }

  /** What a worker's prompts can be rendered and hashed with; undefined where it would be a guess. */
  tokensOf({ about }: Up): Tokens | undefined {
    const known = this.#known.get(about.model);
    const fits = about.tokensMode === 'exact' && known?.fingerprint === about.fingerprint;
    return fits ? known.tokens : undefined;
  }

  /** Throws `model_not_found`, naming what there is. Of several that may be meant, the first. */
  find(name: string): ServedModel {
    const named = this.#named.get(name);
    const dealt = named?.split.map(({ model }) => model) ?? [];
    for (const target of [...dealt, named?.name ?? name, ...(named?.fallbacks ?? [])]) {
      const model = this.#seen.get(target) ?? this.#adaptedBy(target);
      if (model !== undefined) return model;
    }
    const names = [...this.#seen.keys()].map((known) => `"${known}"`).join(', ');
    throw new GatewayError(
      'model_not_found',
      names === ''
        ? 'No model is served yet: no engine is up.'
        : `There is no model ${JSON.stringify(name.slice(0, 100))} here; served: ${names}.`,
      { param: 'model' },
    );
  }

  /**
   * Names of what may answer a request that asks for `name`, in order. Where it stands for several
   * models, the same `key` always means the same one of them, and a change of weights moves no more keys than
   * it must.
   */
  chain(name: string, key: string): string[] {
    const named = this.#named.get(name);
    if (named === undefined) return [name];
    const { split, fallbacks } = named;
    const first = split.length === 0 ? name : heaviest(split, `${named.name} ${key}`);
    return [first, ...fallbacks.filter((one) => one !== first)];
  }

  /** Whether a request that failed so may be answered by another model. */
  fallsBack(thrown: unknown): boolean {
    return thrown instanceof GatewayError && FALL_BACK.has(thrown.code);
  }

  /** Whether somebody serves it now. */
  isUp(name: string): boolean {
    const real = this.#named.get(name)?.name ?? name;
    return [...this.#served.values()].some(
      ({ about, worker }) => about.model === real || worker.rules?.adapters.includes(real),
    );
  }

  /** With at least one worker up. */
  up(): ServedModel[] {
    return [...this.#seen.values()].filter(({ name }) => this.isUp(name));
  }

  /** The same, and beside them adapters and names that stand for several. */
  listed(): ListedModel[] {
    const others = [...this.#adapted.keys(), ...this.#splits()].filter(
      (name) => !this.#seen.has(name),
    );
    const more = others.flatMap((name) => {
      const model = this.#seen.get(this.#adapted.get(name) ?? '') ?? this.#firstOf(name);
      return model === undefined ? [] : [{ ...model, name }];
    });
    return [...this.up(), ...more];
  }

  *#splits(): Iterable<string> {
    for (const [name, { split }] of this.#named) if (split.length > 0) yield name;
  }

  #firstOf(name: string): ServedModel | undefined {
    const split = this.#named.get(name)?.split ?? [];
    const first = split.find(({ model }) => this.isUp(model));
    return first && this.find(first.model);
  }

  #adaptedBy(adapter: string): ServedModel | undefined {
    const model = this.#seen.get(this.#adapted.get(adapter) ?? '');
    return model && { ...model, adapter };
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
}

/** Weighted rendezvous hashing (Wang & Ravishankar 1998; Schindelhauer & Schomaker 2005): −weight ÷ ln u. */
function heaviest(split: ModelName['split'], key: string): string {
  let best = split[0];
  let most = 0;
  for (const one of split) {
    const u = new Prng(1).fork(`${key} ${one.model}`).next();
    const score = one.weight / -Math.log(Math.max(Number.MIN_VALUE, u));
    if (score <= most) continue;
    best = one;
    most = score;
  }
  return best.model;
}
