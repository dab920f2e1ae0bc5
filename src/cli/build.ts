/** Joins adapters to ports: a gateway over whichever directory of workers it is given. */
import { Prng } from '../base/prng.ts';
import { dashboardRoutes } from '../dashboard/routes.ts';
import { moveKv } from '../engines/stator-kv.ts';
import { Access } from '../gateway/access.ts';
import { adminRoutes } from '../gateway/admin.ts';
import { Draining } from '../gateway/draining.ts';
import { Feed } from '../gateway/feed/feed.ts';
import type { Host } from '../gateway/host.ts';
import { type KnownModel, Models } from '../gateway/models.ts';
import { Normalizer } from '../gateway/normalize/normalizer.ts';
import { Patience } from '../gateway/patience.ts';
import { Receipts } from '../gateway/receipts.ts';
import { RECORDING_LIMITS, Recordings } from '../gateway/record/recordings.ts';
import { Rolling } from '../gateway/rolling.ts';
import { Roster } from '../gateway/roster.ts';
import { Serve, type ServeParts } from '../gateway/serve.ts';
import { sessionRoutes } from '../gateway/sessions/session-routes.ts';
import { Shadowing } from '../gateway/shadowing.ts';
import { State } from '../gateway/state.ts';
import { tokenRoutes } from '../gateway/token-routes.ts';
import { router } from '../http/router.ts';
import { HttpServer } from '../http/server.ts';
import { Shadows } from '../kernel/shadow/shadow.ts';
import type { Config } from '../model/config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { KeepOrder } from '../model/kernel-io.ts';
import type { PolicyReport } from '../model/policy-report.ts';
import { History } from '../observe/history.ts';
import { Journal } from '../observe/journal.ts';
import { Log } from '../observe/log.ts';
import { Metrics } from '../observe/metrics.ts';
import { Sinks } from '../observe/sinks.ts';
import { WallClock } from '../planes/wall-clock.ts';
import type { Clock, Directory, Sink } from '../ports.ts';
import { buildBatches } from './batches.ts';
import { beginDeciding } from './deciding.ts';
import { feedMetrics, feedSettings, feedsOf } from './feeds.ts';
import { recordTo } from './record.ts';
import { remember } from './remember.ts';
import { buildResponses } from './responses.ts';
import { VERSION } from './version.ts';

export interface GatewayInput {
  config: Config;
  /** Who tells which workers there are; made with the gateway's own clock and sink. */
  directory: (clock: Clock, sink: Sink) => Directory;
  /** Starts a worker anew; undefined where somebody else runs them. */
  restart?: (worker: WorkerId) => Promise<void>;
  /** Tokenizers by model name. */
  models: ReadonlyMap<string, KnownModel>;
  /** Where log lines go. */
  log: (line: string) => void;
}

export interface Gateway {
  host: Host;
  roster: Roster;
  state: State;
  /** Undefined where somebody else runs the workers. */
  rolling: Rolling | undefined;
  server: HttpServer;
  /** What can change while requests run does (see reload.ts); the policy must be one there is. */
  change(next: Config): void;
  close(): Promise<void>;
}

export function buildGateway(input: GatewayInput): Gateway {
  const { config } = input;
  const { limits } = config;
  const fleet = beginFleet(input, (order) => remembered.wishes.begin(order));
  const { clock, observed, policies, host, kvMoves, models, feed, draining, roster } = fleet;
  const { sink, recordings } = observed;
  const access = new Access({ ...config, host: config.listen.host });
  const receipts = new Receipts(limits);
  // Receipt ids must not repeat after a restart; nothing that is decided depends on them.
  const rng = new Prng(clock.wallMs());
  const parts = { access, models, host, clock, receipts, roster, policies, version: VERSION };
  const patience = new Patience(limits);
  const normalizer = new Normalizer(config.normalise);
  const remembered = remember(config, { clock, host, receipts, roster, rng, sink });
  const handovers = { move: moveKv, sink };
  const walk = {
    handovers,
    fallbackUs: limits.fallbackUs,
    normalizer,
    engines: roster,
    rng,
    patience,
    sink,
  };
  const speculation = config.speculativePrefill;
  const serve = new Serve({ ...parts, ...remembered, ...walk, speculation });
  const state = new State({ ...parts, feed, history: () => observed.history.moments() });
  const metrics = () => {
    feedMetrics(observed.metrics, feed);
    responses.gauges(observed.metrics);
    batches.gauges(observed.metrics);
    return metricsText(observed.metrics, host, policies());
  };
  const { restart } = input;
  const rolling = restart && new Rolling({ host, draining, sink, restart });
  const admin = adminRoutes({ ...parts, rolling, state, metrics, recordings, newsUs: NEWS_US });
  const counting = tokenRoutes({ access, models, normalizer, sink });
  const responses = buildResponses(config, { access, serve, clock, sink });
  const sessions = sessionRoutes({
    ...{ access, clock, ...remembered },
    handler: (call) => handler(call),
  });
  const batches = buildBatches(config, { access, clock, sink, handler: (call) => handler(call) });
  const kept = [serve.routes(), responses.routes, batches.routes, counting, sessions, admin];
  const handler = router(new Map([...kept, dashboardRoutes(access)].flatMap((some) => [...some])));
  // A moment more than answers have: enough to say why they end.
  const settings = { ...limits, shutdownUsMax: limits.shutdownUsMax + LAST_WORDS_US };
  const server = new HttpServer(handler, settings, responses.sockets);
  async function close(): Promise<void> {
    // Before answers turn into refusals.
    await batches.close();
    kvMoves.close();
    host.close();
    recordings.close();
    const cancel = clock.after(limits.shutdownUsMax, () => serve.breakOff());
    await server.close();
    await responses.close();
    await remembered.forget();
    cancel();
    roster.close();
    feed.close();
    await observed.close();
  }
  const live = { access, models, patience, draining, host, runaway: remembered.runaway };
  const change = changing(config, live);
  return { host, roster, state, rolling, server, change, close };
}

type Live = Pick<ServeParts, 'access' | 'models' | 'patience' | 'runaway' | 'host'> & {
  draining: Draining;
};

/** What may change while requests run; `config`: as it is at the start. */
function changing(config: Config, live: Live): (next: Config) => void {
  const { access, models, patience, draining, runaway, host } = live;
  let { policy } = config;
  return (next) => {
    access.trust(next);
    models.rename(next.models);
    patience.bound(next.limits);
    draining.bound(next.limits);
    runaway.bound(next.runaway);
    // One that was chosen by hand meanwhile stays, unless the file names another.
    if (next.policy !== policy) host.tell({ kind: 'policyChanged', policy: next.policy });
    policy = next.policy;
  };
}

const LAST_WORDS_US = 500_000;

/** How often the page hears news. */
const NEWS_US = 1_000_000;

/** Who works here, what they have, and who decides; `keep` carries out wishes about their KV. */
function beginFleet(input: GatewayInput, keep: (order: KeepOrder) => void) {
  const { config, directory, log } = input;
  const { limits } = config;
  const clock = new WallClock();
  const rolls = new Prng(config.seed);
  const beside = new Shadows({ ...config, ...limits }, rolls.fork('shadows'));
  const shadowing = new Shadowing({ shadows: beside, clock });
  const policies = () => shadowing.report();
  const observed = observe(config, clock, { write: log, shadowing });
  const { sink } = observed;
  const deciding = { clock, sink, rng: rolls.fork('kernel'), keep };
  const kvOf = (worker: WorkerId) => roster.engine(worker)?.kv;
  const probe = (worker: WorkerId) => void roster.probe(worker);
  const { host, kvMoves } = beginDeciding(config, { ...deciding, kvOf, probe });
  const models = new Models({ known: input.models, names: config.models });
  const feeds = feedsOf(limits, clock);
  const feed = new Feed({ host, feed: feeds, clock, sink, settings: feedSettings(limits) });
  const { healthUs: checkUs, recheckUs, engineSilenceUsMax: silenceUsMax } = limits;
  const checks = { checkUs, recheckUs, silenceUsMax };
  const draining = new Draining({ host, clock, drainUs: limits.drainUs });
  const known = { directory: directory(clock, sink), host, models, feed, draining, clock, sink };
  const roster: Roster = new Roster({ ...known, ...checks });
  return { clock, observed, policies, host, kvMoves, models, feed, draining, roster };
}

function observe(
  config: Config,
  clock: Clock,
  { write, shadowing }: { write: (line: string) => void; shadowing: Sink },
) {
  const metrics = new Metrics();
  const history = new History({ clock, bucketMs: 2_000, bucketsMax: 300 });
  const journal = config.journal === undefined ? undefined : new Journal(config.journal, write);
  const recordings = new Recordings(clock, RECORDING_LIMITS);
  const log = new Log({ clock, write });
  const complain = (sentence: string) => log.note({ kind: 'warning', sentence });
  const endRecord =
    config.record === undefined ? undefined : recordTo(config.record, recordings, complain);
  const sinks: Sink[] = [metrics, history, shadowing, recordings, log];
  if (journal !== undefined) sinks.push(journal);
  const close = async () => {
    await Promise.all([journal?.close(), endRecord?.()]);
  };
  return { metrics, history, recordings, sink: new Sinks(sinks), close };
}

/** Hit ratio, predicted TTFT and regret of each policy over the last day. */
const POLICY_GAUGES = [
  'stator_policy_hit_ratio',
  'stator_policy_ttft_seconds',
  'stator_policy_regret_seconds',
];

/** Gauges are read when somebody asks. */
function metricsText(metrics: Metrics, host: Host, policies: readonly PolicyReport[]): string {
  const state = host.state();
  metrics.set('stator_active_sessions', {}, state.liveThreads);
  metrics.set('stator_gated_programs', {}, state.gatedPrograms);
  metrics.clear('stator_worker_mode');
  metrics.clear('stator_worker_confidence');
  for (const { id, mode, confidence } of state.workers) {
    metrics.set('stator_worker_mode', { worker: id, mode }, 1);
    if (confidence.agreement === undefined) continue;
    metrics.set('stator_worker_confidence', { worker: id }, confidence.agreement);
  }
  for (const name of POLICY_GAUGES) metrics.clear(name);
  for (const { policy, role, wouldBe } of policies) {
    const { hitRatio, ttftUsMean, regretUs } = wouldBe;
    const figures = [hitRatio, ttftUsMean === null ? null : ttftUsMean / 1e6, regretUs / 1e6];
    for (const [i, value] of figures.entries()) {
      if (value !== null) metrics.set(POLICY_GAUGES[i], { policy, role }, value);
    }
  }
  return metrics.text();
}
