/**
 * A vLLM server that somebody else runs. It is asked for its version, its models, its metrics, where its
 * KV events are and, where it tells, how it was started; a prompt of one block that comes twice shows
 * what no route says.
 */
import { must } from '../base/assert.ts';
import { GatewayError } from '../model/error.ts';
import { UPSTREAM_DEFAULTS } from '../model/fleet-config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Engine, FeedAddress, Introduction, Upstream } from '../ports.ts';
import type { EngineHttp } from './http.ts';
import { compare, connect, introductionOf, modelAmong } from './introduction.ts';
import type { UpstreamGiven } from './upstream-given.ts';
import { VllmEngine } from './vllm.ts';
import { examineVllm, type VllmCard } from './vllm-findings.ts';
import {
  cacheOf,
  isAwake,
  readVllmMetrics,
  startOf,
  tellsSleep,
  type VllmCache,
} from './vllm-metrics.ts';
import { VllmQuestions } from './vllm-questions.ts';
import type { VllmDialect } from './vllm-request.ts';

/** Routes of its own that answer nothing for so long belong to nobody who can be used. */
const SILENCE_US = 60_000_000;

/** Since then formats are `structured_outputs`. */
const STRUCTURED_OUTPUTS = [0, 11];

type Samples = ReturnType<typeof readVllmMetrics>;

export class VllmUpstream implements Upstream {
  readonly #given: UpstreamGiven;
  readonly #http: EngineHttp;
  readonly #questions: VllmQuestions;
  /** Whether an older one has a route that says whether it sleeps; undefined: it was not asked yet. */
  #hasSleepRoute: boolean | undefined;
  /** Who was there last. */
  #known: { introduction: Introduction; card: VllmCard } | undefined;

  constructor(given: UpstreamGiven) {
    this.#given = given;
    this.#http = connect(given, { silenceUsMax: SILENCE_US });
    this.#questions = new VllmQuestions(this.#http);
  }

  async introduce(): Promise<Introduction> {
    const samples = readVllmMetrics(await this.#questions.metrics());
    if (!(await this.#isAwake(samples))) {
      throw new Error(
        'it sleeps, and gets nothing until whoever put it to sleep wakes it (POST /wake_up)',
      );
    }
    const cache = cacheOf(samples);
    const run = runOf(samples, cache);
    if (this.#known?.introduction.run === run) return this.#known.introduction;
    const { card, events, adapters } = await this.#examine(cache);
    const isFit = card.blockTokens === undefined || card.blockTokens === card.expectedBlockTokens;
    const introduction = introductionOf(this.#given, {
      ...{ engine: 'vllm', run, model: card.model, tokens: card.tokens, card: { ...card } },
      contextTokens: card.contextTokens,
      slots: card.slots,
      cacheTokens: cache?.tokens,
      events: isFit ? events : undefined,
      findings: examineVllm(card),
    });
    this.#known = { introduction: { ...introduction, adapters }, card };
    return this.#known.introduction;
  }

  engine(worker: WorkerId): Engine {
    const { card } = must(this.#known, 'who is driven introduced itself');
    const http = connect(this.#given, { silenceUsMax: this.#given.silenceUsMax });
    const { reportsCachedTokens } = card;
    const isAwakeBy = (samples: Samples) => this.#isAwake(samples);
    const dialect = dialectOf(card);
    return new VllmEngine({ worker, http, dialect, reportsCachedTokens, isAwake: isAwakeBy });
  }

  close(): void {
    this.#http.close();
  }

  /** Nobody is woken here: who sleeps may have lent its memory to another. */
  async #isAwake(samples: Samples): Promise<boolean> {
    if (tellsSleep(samples) || this.#hasSleepRoute === false) return isAwake(samples);
    const isSleeping = await this.#questions.isSleeping();
    this.#hasSleepRoute = isSleeping !== undefined;
    return isSleeping !== true;
  }

  async #examine(cache: VllmCache | undefined) {
    const { config } = this.#given;
    const questions = this.#questions;
    const [version, { base, adapters }, sources, settings, takesKvHints] = await Promise.all([
      questions.version(),
      questions.models(),
      questions.eventSources(),
      questions.settings(),
      questions.takesKvHints(),
    ]);
    const model = modelAmong([...base.keys()], this.#given);
    const servedAs = config.model ?? model;
    const blockTokens = cache?.blockTokens;
    const shown = await this.#probe(model, blockTokens ?? UPSTREAM_DEFAULTS.blockTokens);
    const events = eventsOf(this.#given, sources, cache?.ranks ?? 1);
    const { here, tokens } = await compare(this.#given, model, (text) =>
      questions.tokenize(model, text),
    );
    const card: VllmCard = {
      ...{ version, model, servedAs, tokens, blockTokens, blocks: cache?.blocks },
      contextTokens: base.get(model),
      slots: settings?.slots,
      ranks: cache?.ranks ?? 1,
      prefixCaching: cache?.prefixCaching ?? (shown.cachedTokens ?? 0) > 0,
      reportsCachedTokens: shown.cachedTokens !== undefined,
      takesPriority: shown.takesPriority,
      takesKvHints,
      policy: settings?.policy,
      events: events.kind,
      replays: events.address?.replay !== undefined,
      expectedBlockTokens: here?.tokens.hasher.blockTokens,
    };
    return { card, events: events.address, adapters };
  }

  /** The first time it is computed, the second time it is found; older ones say nothing of 0. */
  async #probe(model: string, blockTokens: number) {
    const ids = Array.from({ length: blockTokens + 1 }, (_, i) => 1 + (i % PROBE_IDS));
    await this.#questions.probe(model, ids, 0);
    try {
      // vLLM's priority falls with importance: who looks is not kept waiting by those who work.
      const second = await this.#questions.probe(model, ids, -1);
      return { ...second, takesPriority: true };
    } catch (error) {
      if (!(error instanceof GatewayError) || error.code !== 'invalid_request') throw error;
      return { ...(await this.#questions.probe(model, ids, 0)), takesPriority: false };
    }
  }
}

/** Ids that every vocabulary has. */
const PROBE_IDS = 100;

function dialectOf(card: VllmCard): VllmDialect {
  const { model, version, takesPriority, takesKvHints, policy } = card;
  const isByPriority = policy === undefined ? takesPriority : policy === 'priority';
  const isOld = isBefore(version, STRUCTURED_OUTPUTS);
  return { model, takesPriority: isByPriority, takesKvHints, hasStructuredOutputs: !isOld };
}

/** What cannot be read as a version is a new one. */
function isBefore(version: string, [major, minor]: readonly number[]): boolean {
  const match = /^(\d+)\.(\d+)/.exec(version);
  if (match === null) return false;
  const [, ownMajor, ownMinor] = match.map(Number);
  return ownMajor < major || (ownMajor === major && ownMinor < minor);
}

/** Who answers; several processes that answer together do not say since when they run. */
function runOf(samples: Samples, cache: VllmCache | undefined): string {
  return `${startOf(samples) ?? 'unknown'} ${cache?.blockTokens} ${cache?.blocks}`;
}

function eventsOf(
  { config }: UpstreamGiven,
  sources: ReadonlyMap<string, FeedAddress> | undefined,
  ranks: number,
): { kind: VllmCard['events']; address: FeedAddress | undefined } {
  const { events, replay, url } = config;
  if (events !== undefined) return { kind: 'configured', address: { endpoint: events, replay } };
  if (sources === undefined) return { kind: 'untold', address: undefined };
  const [source] = sources.values();
  if (source === undefined) return { kind: 'off', address: undefined };
  if (sources.size > 1 || ranks > 1) return { kind: 'told', address: undefined };
  if (!listens(source.endpoint)) return { kind: 'connecting', address: undefined };
  const { hostname } = new URL(url);
  const reachable = (endpoint: string) => endpoint.replace(EVERY_HOST, `//${hostname}:`);
  const { endpoint, replay: own } = source;
  return {
    kind: 'told',
    address: { endpoint: reachable(endpoint), replay: own && reachable(own) },
  };
}

/** vLLM binds an address with a wildcard, and its own `*:0` as this host's; it connects to all others. */
function listens(endpoint: string): boolean {
  if (/^(ipc|inproc):|\*|::/.test(endpoint)) return true;
  return !/^tcp:\/\/(127\.|localhost[:/])/.test(endpoint);
}

/** What it binds says nothing of where it is. */
const EVERY_HOST = /\/\/(\*|0\.0\.0\.0|\[::\]):/;
