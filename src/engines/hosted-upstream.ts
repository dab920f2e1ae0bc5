/**
 * An upstream that is somebody's service, with a key of ours: any that speaks OpenAI's or Anthropic's API.
 * It is asked for its models now and then, since each question counts; what it says of a key it does not
 * take goes no further, and the key itself nowhere.
 */
import { GatewayError } from '../model/error.ts';
import { HOSTED_DEFAULTS } from '../model/fleet-config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Finding } from '../model/worker.ts';
import type { Engine, Introduction, Upstream } from '../ports.ts';
import { type Refusal, refusalOf } from '../wire/upstream-error.ts';
import {
  type Loose,
  looseCount,
  looseList,
  looseObject,
  looseText,
} from '../wire/upstream-json.ts';
import { AnthropicEngine, AnthropicManners } from './anthropic.ts';
import type { EngineHttp } from './http.ts';
import { connect, introductionOf, modelAmong } from './introduction.ts';
import { OpenaiEngine, OpenaiManners } from './openai.ts';
import { Remembered } from './remembered.ts';
import type { UpstreamGiven } from './upstream-given.ts';

const SILENCE_US = 20_000_000;
const ANSWER_MS_MAX = 15_000;
const ANTHROPIC_VERSION = '2023-06-01';

/** What is the same of both. */
abstract class HostedUpstream implements Upstream {
  protected readonly given: UpstreamGiven;
  readonly #engine: string;
  readonly #http: EngineHttp;
  readonly #models: Remembered<Loose[]>;
  #model: { name: string; outputTokens: number | undefined } | undefined;

  constructor(given: UpstreamGiven, engine: string) {
    this.given = given;
    this.#engine = engine;
    this.#http = this.connect(SILENCE_US);
    this.#models = new Remembered(() => this.#ask(), HOSTED_DEFAULTS.askMs);
  }

  async introduce(): Promise<Introduction> {
    const { config } = this.given;
    const models = await this.#models.get();
    // One that has no list is asked for what it is said to have.
    const asked = config.engineModel ?? config.model;
    const names = models.map(({ id }) => looseText(id));
    const name = names.length === 0 && asked !== undefined ? asked : modelAmong(names, this.given);
    const about = models.find(({ id }) => id === name) ?? {};
    const { max_tokens: outputTokens } = about;
    this.#model = { name, outputTokens: looseCount(outputTokens) };
    const contextTokens = config.contextTokens ?? windowOf(about) ?? HOSTED_DEFAULTS.contextTokens;
    const slots = config.slots ?? HOSTED_DEFAULTS.slots;
    return introductionOf(this.given, {
      ...{ engine: this.#engine, run: name, model: name, contextTokens, slots },
      cacheTokens: config.cacheTokens ?? contextTokens * slots,
      tokens: undefined,
      findings: [this.#keyFinding()],
      card: { hosted: true },
    });
  }

  abstract engine(worker: WorkerId): Engine;

  close(): void {
    this.#http.close();
  }

  protected abstract headers(key: string): Record<string, string>;

  protected connect(silenceUsMax: number): EngineHttp {
    const { key } = this.given.config;
    const headers = key === undefined ? {} : this.headers(key);
    return connect(this.given, { silenceUsMax, headers, refused: (said) => keyless(said, key) });
  }

  protected model(): { name: string; outputTokens: number | undefined } {
    if (this.#model === undefined) throw new Error('nobody introduced themselves yet');
    return this.#model;
  }

  /** Whether it was there lately; what it says to requests tells the rest. */
  protected async healthy(): Promise<boolean> {
    await this.#models.get();
    return true;
  }

  /** Many that speak such an API have no list of models, and say so. */
  async #ask(): Promise<Loose[]> {
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    const answer = await this.#http
      .json('GET', '/v1/models', undefined, signal)
      .catch((error: unknown) => {
        if (error instanceof GatewayError && /answered 404/.test(error.message)) return {};
        throw error;
      });
    return looseList(looseObject(answer).data).map(looseObject);
  }

  #keyFinding(): Finding {
    const { key, keyEnv } = this.given.config;
    const check = 'key';
    if (key !== undefined) return { check, well: true, says: 'sent with each question' };
    if (keyEnv === undefined) return { check, well: true, says: 'none, and none was asked for' };
    const says = `the environment variable ${keyEnv} is empty, so that no key is sent`;
    return { check, well: false, says };
  }
}

export class OpenaiUpstream extends HostedUpstream {
  readonly #manners = new OpenaiManners();

  constructor(given: UpstreamGiven) {
    super(given, 'openai');
  }

  engine(worker: WorkerId): Engine {
    const http = this.connect(this.given.silenceUsMax);
    const { name: model } = this.model();
    const healthy = () => this.healthy();
    return new OpenaiEngine({ worker, http, model, manners: this.#manners, healthy });
  }

  protected headers(key: string): Record<string, string> {
    return { authorization: `Bearer ${key}` };
  }
}

export class AnthropicUpstream extends HostedUpstream {
  readonly #manners = new AnthropicManners();

  constructor(given: UpstreamGiven) {
    super(given, 'anthropic');
  }

  engine(worker: WorkerId): Engine {
    const http = this.connect(this.given.silenceUsMax);
    const { name: model, outputTokens } = this.model();
    const outputTokensMax = Math.min(
      outputTokens ?? HOSTED_DEFAULTS.outputTokens,
      HOSTED_DEFAULTS.outputTokens,
    );
    const given = { worker, http, model, outputTokensMax, manners: this.#manners };
    return new AnthropicEngine({ ...given, healthy: () => this.healthy() });
  }

  protected headers(key: string): Record<string, string> {
    return { 'x-api-key': key, 'anthropic-version': ANTHROPIC_VERSION };
  }
}

/** Each calls it otherwise. */
function windowOf(about: Loose): number | undefined {
  return (
    looseCount(about.max_input_tokens) ??
    looseCount(about.context_length) ??
    looseCount(about.context_window) ??
    looseCount(about.max_model_len)
  );
}

/** Refusals that are about the key, or might repeat it, are told without their words. */
function keyless(refusal: Refusal, key: string | undefined): GatewayError {
  const body = key === undefined ? refusal.body : refusal.body.replaceAll(key, '…');
  if (refusal.status !== 403) return refusalOf({ ...refusal, body });
  return new GatewayError(
    'engine_denied',
    'The engine answered 403: the key it is sent may not use this model; mend key: of this worker.',
  );
}
