/** Ollama, which somebody else runs: asked for its version, its models, and what the chosen one can. */
import { UPSTREAM_DEFAULTS } from '../model/fleet-config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Engine, Introduction, Upstream } from '../ports.ts';
import {
  type Loose,
  looseCount,
  looseList,
  looseObject,
  looseText,
} from '../wire/upstream-json.ts';
import type { EngineHttp } from './http.ts';
import { connect, introductionOf, modelAmong } from './introduction.ts';
import { type OllamaDialect, OllamaEngine } from './ollama.ts';
import { Presence } from './presence.ts';
import type { UpstreamGiven } from './upstream-given.ts';

const SILENCE_US = 10_000_000;
/** Its default (OLLAMA_NUM_PARALLEL). */
const SLOTS = 1;

export class OllamaUpstream implements Upstream {
  readonly #given: UpstreamGiven;
  readonly #http: EngineHttp;
  #known: { introduction: Introduction; dialect: OllamaDialect } | undefined;
  /** Whoever comes behind nobody is another. */
  readonly #presence: Presence;

  constructor(given: UpstreamGiven) {
    this.#given = given;
    this.#http = connect(given, { silenceUsMax: SILENCE_US });
    this.#presence = new Presence(this.#http, '/api/version');
  }

  async introduce(): Promise<Introduction> {
    const { version, run } = await this.#presence.ask();
    if (this.#known?.introduction.run === run) return this.#known.introduction;
    const { config } = this.#given;
    const { models } = looseObject(await this.#http.json('GET', '/api/tags'));
    const names = looseList(models).map((entry) => looseText(looseObject(entry).name));
    const model = modelAmong(names, this.#given);
    const about = looseObject(await this.#http.json('POST', '/api/show', { model }));
    const capabilities = looseList(about.capabilities);
    const contextTokens = windowOf(about, config.contextTokens);
    const slots = config.slots ?? SLOTS;
    const introduction = introductionOf(this.#given, {
      ...{ engine: 'ollama', run, model, contextTokens, slots, tokens: undefined },
      cacheTokens: config.cacheTokens ?? contextTokens * slots,
      findings: [
        { check: 'version', well: true, says: `Ollama ${version || 'of an unknown version'}` },
        { check: 'window', well: true, says: `${contextTokens} tokens are asked for` },
      ],
      card: { version, contextTokens, capabilities },
    });
    const thinks = capabilities.includes('thinking');
    this.#known = { introduction, dialect: { model, contextTokens, thinks } };
    return introduction;
  }

  engine(worker: WorkerId): Engine {
    if (this.#known === undefined) throw new Error('nobody introduced themselves yet');
    const http = connect(this.#given, this.#given);
    return new OllamaEngine({ worker, http, dialect: this.#known.dialect });
  }

  close(): void {
    this.#http.close();
  }
}

/** As configured, else as its file says, else what is usual, and never more than the model was made for. */
function windowOf(about: Loose, configured: number | undefined): number {
  const info = looseObject(about.model_info);
  const [, most] = Object.entries(info).find(([name]) => /\.context_length$/.test(name)) ?? [];
  const [, own] = /^num_ctx\s+(\d+)/m.exec(looseText(about.parameters)) ?? [];
  const wanted = configured ?? (own === undefined ? UPSTREAM_DEFAULTS.contextTokens : Number(own));
  return Math.min(wanted, looseCount(most) ?? wanted);
}
