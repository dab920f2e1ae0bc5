/**
 * An SGLang server that somebody else runs: it tells all its settings at once. Its page is its block: an
 * index of its cache needs pages as long as the blocks that prompts of the model are hashed in.
 */
import type { WorkerId } from '../model/ids.ts';
import type { Finding } from '../model/worker.ts';
import type { Engine, FeedAddress, Introduction, Upstream } from '../ports.ts';
import {
  type Loose,
  looseCount,
  looseList,
  looseObject,
  looseText,
} from '../wire/upstream-json.ts';
import type { EngineHttp } from './http.ts';
import { compare, connect, introductionOf, tokenizerFinding } from './introduction.ts';
import { type SglangDialect, SglangEngine } from './sglang.ts';
import type { TokenComparison, UpstreamGiven } from './upstream-given.ts';

const SILENCE_US = 10_000_000;
/** Its settings come from the process that computes: between two of its steps. */
const SETTINGS_MS_MAX = 10_000;
/** Its default: of host memory to the accelerator's. */
const HICACHE_RATIO = 2;
/** Since then a request may bring a seed, and a key that keeps its KV apart. */
const NEW = [0, 5, 3];

export class SglangUpstream implements Upstream {
  readonly #given: UpstreamGiven;
  readonly #http: EngineHttp;
  #known:
    | { introduction: Introduction; dialect: SglangDialect; meeting: ReturnType<typeof meetingOf> }
    | undefined;

  constructor(given: UpstreamGiven) {
    this.#given = given;
    this.#http = connect(given, { silenceUsMax: SILENCE_US });
  }

  async introduce(): Promise<Introduction> {
    const settings = await this.#settings();
    const run = `${looseText(settings.version)} ${settings.random_seed} ${settings.max_total_num_tokens}`;
    if (this.#known?.introduction.run === run) return this.#known.introduction;
    const [{ id: model, max_model_len: contextTokens }] = await this.#models();
    const { tokens, here } = await compare(this.#given, looseText(model), (text) =>
      this.#tokenize(looseText(model), text),
    );
    const pageTokens = looseCount(settings.page_size) ?? 1;
    const events = eventsOf(this.#given, settings);
    const blockTokens = here?.tokens.hasher.blockTokens;
    const fits = blockTokens === pageTokens;
    const deviceTokens = looseCount(settings.max_total_num_tokens);
    const introduction = introductionOf(this.#given, {
      ...{ engine: 'sglang', run, model: looseText(model), tokens },
      contextTokens: looseCount(contextTokens),
      slots: slotsOf(settings),
      ...(deviceTokens !== undefined && {
        cacheTokens: Math.floor(deviceTokens * (1 + hostRatio(settings))),
        deviceTokens,
      }),
      events: fits && !settings.disable_radix_cache ? events : undefined,
      findings: examine(settings, {
        tokens,
        blockTokens,
        pageTokens,
        events,
        model: looseText(model),
      }),
      card: {
        version: looseText(settings.version),
        pageTokens,
        ranks: looseCount(settings.dp_size) ?? 1,
        hicache: settings.enable_hierarchical_cache === true,
      },
    });
    const dialect = { model: looseText(model), pageTokens, ...manners(settings) };
    this.#known = { introduction, dialect, meeting: meetingOf(settings, this.#given.config.url) };
    return introduction;
  }

  engine(worker: WorkerId): Engine {
    if (this.#known === undefined) throw new Error('nobody introduced themselves yet');
    const http = connect(this.#given, this.#given);
    const { dialect, meeting } = this.#known;
    return new SglangEngine({ worker, http, dialect, meeting });
  }

  close(): void {
    this.#http.close();
  }

  /** Older ones call the route otherwise. */
  async #settings(): Promise<Loose> {
    const ask = (path: string) =>
      this.#http.json('GET', path, undefined, AbortSignal.timeout(SETTINGS_MS_MAX));
    const told = await ask('/server_info').catch(() => ask('/get_server_info'));
    return looseObject(told);
  }

  async #models(): Promise<Loose[]> {
    const { data } = looseObject(await this.#http.json('GET', '/v1/models'));
    const models = looseList(data).map(looseObject);
    if (models.length > 0) return models;
    throw new Error('it serves no model');
  }

  async #tokenize(model: string, prompt: string): Promise<number[]> {
    const body = { model, prompt, add_special_tokens: false };
    const { tokens } = looseObject(await this.#http.json('POST', '/tokenize', body));
    return looseList(tokens).map(Number);
  }
}

/** One that was started for prompts alone says so, and where it hands their KV over. */
function meetingOf(settings: Loose, url: string) {
  if (settings.disaggregation_mode !== 'prefill') return undefined;
  return {
    host: new URL(url).hostname,
    port: looseCount(settings.disaggregation_bootstrap_port),
  };
}

function manners(settings: Loose): Pick<SglangDialect, 'priority' | 'takesSeed' | 'takesSalt'> {
  const isByPriority = settings.enable_priority_scheduling === true;
  const order = settings.schedule_low_priority_values_first === true ? 'low' : 'high';
  const isNew = isSince(looseText(settings.version), NEW);
  return { priority: isByPriority ? order : undefined, takesSeed: isNew, takesSalt: isNew };
}

/** What cannot be read as a version is an old one: fields it does not know are refused. */
function isSince(version: string, since: readonly number[]): boolean {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(version);
  if (match === null) return false;
  const own = match.slice(1).map(Number);
  const at = own.findIndex((part, i) => part !== since[i]);
  return at < 0 || own[at] > since[at];
}

function slotsOf(settings: Loose): number | undefined {
  const [state] = looseList(settings.internal_states).map(looseObject);
  return (
    looseCount(settings.max_running_requests) ??
    looseCount(state?.effective_max_running_requests_per_dp)
  );
}

function hostRatio(settings: Loose): number {
  if (settings.enable_hierarchical_cache !== true) return 0;
  return looseCount(settings.hicache_ratio) ?? HICACHE_RATIO;
}

/** Where it publishes, as others reach it; undefined: it does not, or each of several ranks does. */
function eventsOf({ config }: UpstreamGiven, settings: Loose): FeedAddress | undefined {
  if (config.events !== undefined) return { endpoint: config.events, replay: config.replay };
  const told = settings.kv_events_config;
  const { publisher, endpoint, replay_endpoint } = looseObject(
    typeof told === 'string' ? parsed(told) : told,
  );
  if (publisher !== 'zmq' || (looseCount(settings.dp_size) ?? 1) > 1) return undefined;
  const { hostname } = new URL(config.url);
  const reachable = (at: unknown) => looseText(at).replace(EVERY_HOST, `//${hostname}:`);
  const replay = reachable(replay_endpoint);
  return {
    endpoint: reachable(endpoint) || `tcp://${hostname}:5557`,
    replay: replay === '' ? undefined : replay,
  };
}

/** What it binds says nothing of where it is. */
const EVERY_HOST = /\/\/(\*|0\.0\.0\.0|\[::\]):/;

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined; // It would not have started with it either.
  }
}

const EVENTS_FLAG = `--kv-events-config '{"publisher":"zmq","endpoint":"tcp://*:5557","replay_endpoint":"tcp://*:5558","topic":"kv-events"}'`;

function examine(
  settings: Loose,
  of: {
    model: string;
    tokens: TokenComparison | undefined;
    blockTokens: number | undefined;
    pageTokens: number;
    events: FeedAddress | undefined;
  },
): Finding[] {
  const { model, tokens, blockTokens, pageTokens, events } = of;
  const isCaching = settings.disable_radix_cache !== true;
  const ranks = looseCount(settings.dp_size) ?? 1;
  const fits = blockTokens === undefined || blockTokens === pageTokens;
  const isByPriority = settings.enable_priority_scheduling === true;
  const finding = (check: string, well: boolean, good: string, bad: string): Finding => ({
    ...{ check, well },
    says: well ? good : bad,
  });
  return [
    finding(
      'version',
      true,
      `SGLang ${looseText(settings.version) || 'of an unknown version'}`,
      '',
    ),
    tokenizerFinding(tokens, model),
    finding(
      'prefix caching',
      isCaching,
      settings.enable_hierarchical_cache === true ? 'on, host memory too (HiCache)' : 'on',
      'off: every prompt is computed from its first token; leave out --disable-radix-cache',
    ),
    finding(
      'page size',
      fits,
      `${pageTokens} tokens`,
      `its pages have ${pageTokens} tokens, but ${blockTokens} are expected, so its events cannot be used; start it with --page-size ${blockTokens}`,
    ),
    ranks > 1 && events === undefined
      ? finding(
          'event source',
          false,
          '',
          `${ranks} data-parallel ranks behind one address: which of them gets a request is not ours to say, so their caches are only guessed; start each rank as a server of its own`,
        )
      : finding(
          'event source',
          events !== undefined,
          'on',
          `off: its cache is guessed from what was sent there, and what it drops is not known; add ${EVENTS_FLAG}`,
        ),
    finding(
      'event replay',
      events === undefined || events.replay !== undefined,
      events === undefined ? 'without events there is nothing to ask for again' : 'on',
      'off: after a lost event, or a restart of this gateway, its cache is only guessed until it is emptied; add "replay_endpoint":"tcp://*:5558" to --kv-events-config',
    ),
    finding(
      'usage',
      tokens?.differing === 0 || settings.enable_cache_report === true,
      'cached tokens are told',
      'answers to conversations that pass through do not say how many tokens were cached; add --enable-cache-report',
    ),
    finding(
      'priority',
      isByPriority,
      'scheduled by it',
      'urgent turns wait inside it behind others; add --enable-priority-scheduling',
    ),
  ];
}
