/**
 * The fast simulator: agents, kernel and engines as plain calls in virtual time, nothing asynchronous.
 * It must decide exactly what the real shell decides (see whole.ts and its test).
 */
import type { LocalEngine } from '../engines/local.ts';
import { Feed } from '../gateway/feed/feed.ts';
import type { RequestId, TenantId, ThreadId, WorkerId } from '../model/ids.ts';
import type { Arrival, Fact, Order } from '../model/kernel-io.ts';
import type { Part } from '../model/part.ts';
import { type Chat, FREE, GREEDY, IDLE_PRIORITY } from '../model/request.ts';
import type { Cancel, Job, PartParser } from '../ports.ts';
import type { Agent } from './agents.ts';
import {
  DecisionLog,
  FEED_SETTINGS,
  type Scene,
  type SceneOptions,
  SIM_MODEL,
  setScene,
} from './scene.ts';

/** The kernel hears of every so many tokens, as from the relay. */
const PROGRESS_TOKENS = 16;

interface Conversation {
  agent: Agent;
  turn: number;
  chat: Chat;
}

interface Request {
  conversation: Conversation;
  job: Job;
  parser: PartParser;
  text: string;
  outputTokens: number;
  toldTokens: number;
  first: boolean;
}

export function simulateFast(options: SceneOptions): { log: DecisionLog; finished: number } {
  const world = new FastWorld(options);
  world.run();
  return { log: world.log, finished: world.finished };
}

class FastWorld {
  readonly log = new DecisionLog();
  finished = 0;
  readonly #options: SceneOptions;
  readonly #scene: Scene;
  readonly #engines: Map<WorkerId, LocalEngine>;
  readonly #requests = new Map<RequestId, Request>();
  /** Parts of the current event, dealt with when it is over: the shell hears them no sooner. */
  #parts: { id: RequestId; part: Part }[] = [];
  #next = 0;
  #wake: { atUs: number; cancel: Cancel } | undefined;

  constructor(options: SceneOptions) {
    this.#options = options;
    this.#scene = setScene(options);
    const { plane, workers, clock } = this.#scene;
    this.#engines = new Map(workers.map(({ worker, engine }) => [worker.id, engine]));
    const host = { tell: (fact: Fact) => this.#tell(fact) };
    const sink = { note: () => {} };
    const feed = new Feed({ host, feed: plane, clock, sink, settings: FEED_SETTINGS });
    for (const { worker } of workers) {
      feed.start(worker.id, { endpoint: '', replay: undefined }, options.tokens.hasher);
      this.#tell({ kind: 'workerJoined', worker });
    }
    for (const agent of options.agents) {
      clock.after(agent.startUs, () => this.#send({ agent, turn: 0, chat: openChat(agent) }));
    }
  }

  run(): void {
    while (this.#scene.clock.step()) {
      while (this.#parts.length > 0) this.#dealWithParts();
      this.#scene.kernel.check();
    }
  }

  #send(conversation: Conversation): void {
    const { tokens } = this.#options;
    const { agent, turn, chat } = conversation;
    const { text, outputTokensMax } = agent.turns[turn];
    chat.messages.push({ role: 'user', content: [{ kind: 'text', text }] });
    const ids = tokens.encode(tokens.render(chat));
    const id = `f${this.#next++}` as RequestId;
    const { hasher } = tokens;
    const arrival: Arrival = {
      id,
      tenant: 'default' as TenantId,
      model: SIM_MODEL,
      thread: agent.whenIdle ? undefined : (agent.id as ThreadId),
      promptTokens: ids.length,
      hashes: hasher.blocks(hasher.root(''), ids),
      blockTokens: hasher.blockTokens,
      outputTokensMax,
      priority: agent.priority,
      whenIdle: agent.whenIdle ? true : undefined,
    };
    const job: Job = {
      id,
      tenant: arrival.tenant,
      model: SIM_MODEL,
      prompt: { kind: 'tokens', ids },
      sampling: GREEDY,
      outputTokensMax,
      stop: [],
      shape: FREE,
      cacheSalt: '',
      priority: agent.whenIdle ? IDLE_PRIORITY : agent.priority,
      forcedOutput: undefined,
      engineData: false,
    };
    const parser = tokens.parser(chat);
    const request = {
      conversation,
      job,
      parser,
      text: '',
      outputTokens: 0,
      toldTokens: 0,
      first: true,
    };
    this.#requests.set(id, request);
    this.#tell({ kind: 'arrived', request: arrival });
  }

  #tell(fact: Fact): void {
    const { clock, kernel } = this.#scene;
    const orders = kernel.handle(clock.nowUs(), fact);
    this.log.note(clock.nowUs(), orders);
    for (const order of orders) this.#perform(order);
  }

  #perform(order: Order): void {
    if (order.kind === 'wake') this.#wakeAt(order.atUs);
    if (order.kind !== 'dispatch') return;
    const request = this.#requests.get(order.request);
    const engine = this.#engines.get(order.worker);
    if (request === undefined || engine === undefined) return;
    engine.submit(request.job, (part) => this.#parts.push({ id: order.request, part }));
  }

  /** As the shell's host does it. */
  #wakeAt(atUs: number): void {
    if (this.#wake !== undefined && this.#wake.atUs <= atUs) return;
    this.#wake?.cancel();
    const { clock } = this.#scene;
    const cancel = clock.after(Math.max(0, atUs - clock.nowUs()), () => {
      this.#wake = undefined;
      this.#tell({ kind: 'ticked' });
    });
    this.#wake = { atUs, cancel };
  }

  /** Text of all requests first, then what ended: in that order the shell's continuations come. */
  #dealWithParts(): void {
    const parts = this.#parts;
    this.#parts = [];
    for (const { id, part } of parts) if (part.kind !== 'done') this.#text(id, part);
    for (const { id, part } of parts) if (part.kind === 'done') this.#done(id, part);
  }

  #text(id: RequestId, part: Part): void {
    const request = this.#requests.get(id);
    if (request === undefined || part.kind !== 'text') return;
    for (const inner of request.parser.push(part.text, part.tokens)) {
      if (inner.kind !== 'text') continue;
      request.text += inner.text;
      request.outputTokens += inner.tokens;
      if (request.first) this.#tell({ kind: 'firstTokenSent', request: id });
      request.first = false;
      if (request.outputTokens - request.toldTokens < PROGRESS_TOKENS) continue;
      request.toldTokens = request.outputTokens;
      this.#tell({ kind: 'progressed', request: id, outputTokens: request.outputTokens });
    }
  }

  #done(id: RequestId, part: Extract<Part, { kind: 'done' }>): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    for (const inner of request.parser.end()) if (inner.kind === 'text') request.text += inner.text;
    this.#requests.delete(id);
    this.finished++;
    const { outputTokens, cachedTokens } = part.usage;
    this.#tell({ kind: 'finished', request: id, outputTokens, cachedTokens });
    const { conversation } = request;
    const { agent, chat } = conversation;
    const content = [{ kind: 'text' as const, text: request.text }];
    chat.messages.push({ role: 'assistant', content, reasoning: undefined, toolCalls: [] });
    const { gapUs } = agent.turns[conversation.turn++];
    if (conversation.turn >= agent.turns.length) return;
    this.#scene.clock.after(gapUs, () => this.#send(conversation));
  }
}

function openChat(agent: Agent): Chat {
  return {
    model: SIM_MODEL,
    messages: [{ role: 'system', content: [{ kind: 'text', text: agent.system }] }],
    tools: [],
    toolChoice: { kind: 'auto' },
    thinking: undefined,
  };
}
