/** Joins the parts of one worker: model file, tokens, memory, runner, engine, events. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { CONTEXT_UNIT } from '../engines/llama/context.ts';
import { findLibraries } from '../engines/llama/libraries.ts';
import { LocalEngine, type LocalEngineSettings } from '../engines/local.ts';
import type { KvMeans } from '../engines/local-kv.ts';
import { FittedPace, FixedPace, type StepCurve } from '../engines/perf.ts';
import { embeddingsOf } from '../engines/pooling.ts';
import { RunnerLlama } from '../engines/runner-llama.ts';
import { RunnerSimulated, SimulatedMemory } from '../engines/runner-simulated.ts';
import { ScriptedEngine } from '../engines/scripted.ts';
import type { Pace } from '../kernel/cache/batch.ts';
import {
  LLAMA_ENGINE,
  parseConfig,
  SIMULATED_ENGINE,
  type WorkerSettings,
} from '../model/config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Chat } from '../model/request.ts';
import { Script } from '../model/script.ts';
import type { WorkerCard } from '../model/worker-card.ts';
import { loadNats } from '../planes/nats-connection.ts';
import { NatsPublisher } from '../planes/nats-publisher.ts';
import { WallClock } from '../planes/wall-clock.ts';
import type { Engine, KvControl, Runner } from '../ports.ts';
import { KvEventLog } from '../wire/kv-event-log.ts';
import { type Budget, divide } from '../worker/budget.ts';
import { EventPublisher, KV_TOPIC } from '../worker/events.ts';
import { checkTokens, type TokenCheck } from '../worker/token-check.ts';
import { diskBlocks, layoutOf, modelledDisk, type OpenDisk, openDisk } from './disk.ts';
import { type LoadedModel, loadModel } from './load-model.ts';
import { whyUnreadable } from './unreadable.ts';
import { VERSION } from './version.ts';

export interface BuiltWorker {
  engine: Engine;
  kv: KvControl;
  model: LoadedModel;
  foreignRender: ((chat: Chat) => Promise<string>) | undefined;
  /** Complete but for the address, which is known once the worker listens. */
  card: Omit<WorkerCard, 'url'>;
  events: KvEventLog;
  /** What was lowered or switched off, a sentence each. */
  notes: string[];
  close(): Promise<void>;
}

/** What computes, and what was found out about it before it served. */
interface Core {
  runner: Runner;
  /** The KV of blocks in its host store, and how it is laid out. */
  store: Omit<KvMeans, 'clock'>;
  /** Undefined where nothing is kept on disk; throws one sentence where it should be. */
  openDisk(): Promise<OpenDisk | undefined>;
  pace: Pace;
  curve: StepCurve;
  check: TokenCheck;
  selfTest: WorkerCard['cache']['selfTest'];
  foreignRender: ((chat: Chat) => Promise<string>) | undefined;
}

/** Throws one sentence where the model cannot be served. */
export async function buildWorker(
  settings: WorkerSettings,
  onFailure: (error: Error) => void,
  around: (runner: Runner, sizes: { slots: number }) => Runner = (runner) => runner,
): Promise<BuiltWorker> {
  const startedMs = Date.now();
  const model = loadModel(settings.model, settings.blockTokens);
  const isSim = settings.engine === 'sim';
  const budget = isSim ? simulatedBudget(settings, model) : llamaBudget(settings, model);
  const core = isSim
    ? simulatedCore(settings, model, budget)
    : await llamaCore(settings, model, budget);
  const notes = [...budget.notes];
  if (core.selfTest === 'failed') {
    Object.assign(budget, { hostBlocks: 0, storeBytes: 0 });
    notes.push('the block store is off: only what lies in a free slot is reused');
  }
  const disk = await core.openDisk().catch((error: Error) => {
    notes.push(error.message);
    return undefined;
  });
  if (disk === undefined) forgetDisk(budget, settings);
  const nowS = () => Date.now() / 1000;
  const events = new KvEventLog({ batchesMax: settings.eventBatchesKept, nowS });
  const publisher = await EventPublisher.start(events);
  const nats =
    settings.events === undefined
      ? undefined
      : await NatsPublisher.start(settings.events, events, loadNats);
  const script = settings.script === undefined ? undefined : readScript(settings.script);
  const local = new LocalEngine({
    worker: settings.name as WorkerId,
    runner: around(core.runner, budget),
    pace: core.pace,
    tokens: model.tokens,
    events,
    settings: engineSettings(settings, { ...budget, disk }, model),
    onFailure,
  });
  const kv = local.direct({ ...core.store, clock: new WallClock() });
  events.tellsState(() => local.held());
  if (disk !== undefined) local.restore(disk.found);
  const engine = script === undefined ? local : scripted(local, script, settings, model);
  return {
    engine,
    kv,
    model,
    events,
    foreignRender: core.foreignRender,
    notes,
    card: {
      ...cardOf(settings, model, budget, core),
      disk: disk === undefined ? null : diskCard(disk),
      events: { endpoint: publisher.endpoint, replay: publisher.replay, topic: KV_TOPIC },
      startMs: Date.now() - startedMs,
    },
    async close() {
      engine.close();
      publisher.close();
      await nats?.close();
    },
  };
}

function llamaBudget(settings: WorkerSettings, model: LoadedModel): Budget {
  const { info } = model;
  const budget = divide({
    memoryBytes: settings.memoryBytes,
    weightsBytes: info.tensorBytes,
    kvBytesPerToken: info.kvBytesPerToken,
    slots: settings.exact
      ? 1
      : (settings.slots ?? { min: LLAMA_ENGINE.slotsMin, max: LLAMA_ENGINE.slotsMax }),
    modelContextTokens: info.contextTokens,
    contextTokens: settings.contextTokens,
    blockTokens: settings.blockTokens,
    kvTokens: settings.kvTokens,
    diskBlocks: diskBlocks(settings, model),
    contextUnit: CONTEXT_UNIT,
  });
  if (info.blockCaching.possible) return budget;
  budget.notes.push(`nothing is kept for reuse, because ${info.blockCaching.why}`);
  return { ...budget, blocksMax: 0, hostBlocks: 0, storeBytes: 0 };
}

function simulatedBudget(settings: WorkerSettings, model: LoadedModel): Budget {
  const { slots, contextTokens, kvTokens } = SIMULATED_ENGINE;
  const blocks = Math.floor((settings.kvTokens ?? kvTokens) / settings.blockTokens);
  return {
    slots: settings.slots ?? slots,
    contextTokens: settings.contextTokens ?? contextTokens,
    // What was asked for bounds all tiers.
    blocksMax: settings.kvTokens === undefined ? blocks + diskBlocks(settings, model) : blocks,
    hostBlocks: blocks,
    weightsBytes: 0,
    slotsBytes: 0,
    storeBytes: 0,
    notes: [],
  };
}

async function llamaCore(
  settings: WorkerSettings,
  model: LoadedModel,
  budget: Budget,
): Promise<Core> {
  const runner = await RunnerLlama.start(
    {
      model: settings.model,
      slots: budget.slots,
      contextTokens: budget.contextTokens,
      batchTokens: settings.chunkTokensMax + budget.slots,
      blockTokens: settings.blockTokens,
      hostBlocks: budget.hostBlocks,
      threads: settings.threads,
      device: settings.device,
    },
    (sentence) => process.stderr.write(`${sentence}\n`),
  );
  const { rebuild, curve } = runner.selfTest;
  const { tokens, templateProblem } = model;
  return {
    runner,
    store: { blocks: runner, layout: layoutOf(settings, model, runner.version) },
    openDisk: async () => {
      if (runner.selfTest.rebuild.kind !== 'passed' || budget.hostBlocks === 0) return undefined;
      return await openDisk(settings, model, runner);
    },
    pace: new FittedPace(curve),
    curve,
    check: await checkTokens(tokens, (texts) => runner.tokenize(texts), settings.tokenSlices),
    selfTest: model.info.blockCaching.possible ? rebuild.kind : 'notNeeded',
    foreignRender:
      templateProblem === undefined ? undefined : (chat) => runner.applyTemplate(chat.messages),
  };
}

function simulatedCore(settings: WorkerSettings, model: LoadedModel, budget: Budget): Core {
  const { curve, answerTokensMin, answerTokensMax, fileUs } = SIMULATED_ENGINE;
  const memory = new SimulatedMemory(budget.slots, {
    seed: settings.seed,
    blockTokens: settings.blockTokens,
    words: model.words(),
    endToken: [...model.tokens.endTokens][0],
    turnToken: model.turnToken,
    answerTokensMin,
    answerTokensMax,
  });
  const runner = new RunnerSimulated({ memory, curve, clock: new WallClock(), fileUs });
  const layout = { ...layoutOf(settings, model, 'sim'), blockBytes: 4 * settings.blockTokens };
  return {
    runner,
    store: { blocks: runner, layout },
    openDisk: async () => modelledDisk(settings, model),
    pace: new FixedPace(curve),
    curve,
    check: { checked: 0, differing: 0, reason: '' },
    selfTest: 'notNeeded',
    foreignRender: undefined,
  };
}

function engineSettings(
  settings: WorkerSettings,
  budget: Budget & { disk: OpenDisk | undefined },
  model: LoadedModel,
): LocalEngineSettings {
  const { blockTokens, exact, exactChunkTokens } = settings;
  const { demo } = model.info;
  return {
    sizes: {
      slots: budget.slots,
      blockTokens,
      blocksMax: budget.blocksMax,
      hostBlocks: budget.hostBlocks,
      matchBlocks: exact ? exactChunkTokens / blockTokens : 1,
      disk: budget.disk?.sizes,
    },
    batch: {
      blockTokens,
      contextTokens: budget.contextTokens,
      waitingMax: settings.waitingRequestsMax,
      stepUsMax: settings.chunkUs,
      chunkTokensMax: settings.chunkTokensMax,
      exactChunkTokens: exact ? exactChunkTokens : undefined,
    },
    allowForcedOutput: settings.allowForcedOutput || settings.script !== undefined,
    answerTokens:
      demo === undefined || settings.engine === 'sim' ? undefined : answerLength(demo, model),
    grammars: settings.engine === 'sim' ? 'derived' : 'sampled',
    embeddings: embeddingsOf(model.info.pooling, settings.engine),
  };
}

/** What was hoped to lie on disk does not. */
function forgetDisk(budget: Budget, { blockTokens }: WorkerSettings): void {
  const isModelled = budget.slotsBytes === 0;
  const inSlots = isModelled ? 0 : Math.floor((budget.slots * budget.contextTokens) / blockTokens);
  budget.blocksMax = Math.min(budget.blocksMax, budget.hostBlocks + inSlots);
}

function diskCard({
  path,
  bytesMax,
  blockCount,
  found,
}: OpenDisk): NonNullable<WorkerCard['disk']> {
  const blocksFound = found.reduce((sum, { content }) => sum + content.hashes.length, 0);
  return { folder: path, bytes: bytesMax, blocks: blockCount, blocksFound };
}

/** The demo never ends by itself: its answers get a length that depends on the prompt alone. */
function answerLength(
  demo: { answerTokensMin: number; answerTokensMax: number },
  { tokens }: LoadedModel,
): (prompt: Uint32Array) => number {
  const { hasher } = tokens;
  const span = demo.answerTokensMax - demo.answerTokensMin + 1;
  return (prompt) => {
    const tail = new Uint32Array(hasher.blockTokens);
    tail.set(prompt.slice(-hasher.blockTokens));
    return demo.answerTokensMin + Number(hasher.block(0n, tail, 0) % BigInt(span));
  };
}

function scripted(
  engine: Engine,
  script: Script,
  { allowForcedOutput }: WorkerSettings,
  { tokens }: LoadedModel,
): Engine {
  return new ScriptedEngine({ engine, tokens, clock: new WallClock(), script, allowForcedOutput });
}

/** Throws one sentence where the file is no script. */
function readScript(path: string): Script {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`The script ${path} ${whyUnreadable(error)}.`);
  }
  let input: unknown;
  try {
    input = JSON.parse(text);
  } catch (error) {
    throw new Error(`The script ${path} is not JSON: ${(error as Error).message}.`);
  }
  const parsed = parseConfig(Script, input);
  if (parsed.kind === 'ok') return parsed.value;
  throw new Error(`The script ${path} is wrong: ${parsed.sentences.join('; ')}.`);
}

/** `auto` was decided when the libraries were found. */
function deviceOf({ engine, device, threads }: WorkerSettings): string {
  if (engine === 'sim') return 'modelled';
  const libraries = findLibraries(device);
  return `${libraries.kind === 'found' ? libraries.device : device} × ${threads}`;
}

function cardOf(
  settings: WorkerSettings,
  model: LoadedModel,
  budget: Budget,
  core: Core,
): Omit<WorkerCard, 'url' | 'events' | 'startMs' | 'disk'> {
  const { info, templateProblem } = model;
  const { check, curve } = core;
  const agrees = check.differing === 0;
  return {
    stator: VERSION,
    name: settings.name,
    pid: process.pid,
    engine: settings.engine,
    device: deviceOf(settings),
    machine: createHash('sha256').update(hostname()).digest('hex').slice(0, 12),
    model: {
      name: settings.modelName,
      fingerprint: model.fingerprint,
      architecture: info.architecture,
      parameters: info.parameters,
      contextTokens: budget.contextTokens,
      demo: info.demo !== undefined,
    },
    tokens: {
      mode: agrees && templateProblem === undefined ? 'exact' : 'passThrough',
      reason: templateProblem ?? check.reason,
      slicesChecked: check.checked,
      slicesDiffering: check.differing,
    },
    cache: {
      blockTokens: settings.blockTokens,
      slots: budget.slots,
      kvTokens: budget.blocksMax * settings.blockTokens,
      hostBlocks: budget.hostBlocks,
      blockBytes: info.kvBytesPerToken * settings.blockTokens,
      selfTest: core.selfTest,
    },
    pace: {
      perTokenUs: curve.perTokenUs,
      perTokenContextUs: curve.perTokenContextUs,
      stepUs: curve.baseUs,
      perSequenceUs: curve.perSequenceUs,
    },
    memory: {
      budgetBytes: settings.memoryBytes,
      weightsBytes: budget.weightsBytes,
      slotsBytes: budget.slotsBytes,
      storeBytes: budget.storeBytes,
    },
    requestsMax: budget.slots + settings.waitingRequestsMax,
  };
}
