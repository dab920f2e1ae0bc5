/**
 * The whole simulator: the real gateway (serve, relay, failover, feed, roster, host) over simulated
 * engines, in virtual time. Between two events it yields a macrotask, so that every continuation ends
 * at the time it began: after a microtask, those that await more than once would slip to a later time.
 */
import { Prng } from '../base/prng.ts';
import { Access, DEFAULT_TENANT } from '../gateway/access.ts';
import { Draining } from '../gateway/draining.ts';
import { Feed } from '../gateway/feed/feed.ts';
import { Host } from '../gateway/host.ts';
import { Identities } from '../gateway/identities.ts';
import { Models } from '../gateway/models.ts';
import { Normalizer } from '../gateway/normalize/normalizer.ts';
import { Patience } from '../gateway/patience.ts';
import { Receipts } from '../gateway/receipts.ts';
import { Roster } from '../gateway/roster.ts';
import { Runaway } from '../gateway/runaway.ts';
import { Serve } from '../gateway/serve.ts';
import { Keeping } from '../gateway/sessions/keeping.ts';
import { Sessions } from '../gateway/sessions/sessions.ts';
import type { Call, Reply } from '../http/call.ts';
import type { KernelState } from '../kernel/state.ts';
import { Config } from '../model/config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Worker } from '../model/worker.ts';
import type { Engine, Note, WorkerChange } from '../ports.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { SseReader } from '../wire/sse.ts';
import type { Agent } from './agents.ts';
import { Accidents, type Faults } from './faults.ts';
import {
  DecisionLog,
  FEED_SETTINGS,
  type Scene,
  type SceneOptions,
  SIM_MODEL,
  setScene,
} from './scene.ts';

/** What became of it all, as clients saw it. */
export interface WholeOutcome {
  log: DecisionLog;
  finished: number;
  /** Of each agent, turn by turn. */
  answers: Map<string, string[]>;
  /** A sentence for each turn that was not answered as it should; its agent goes no further. */
  failures: string[];
  /** To the first text of each answer, in microseconds, in the order they came. */
  ttftUs: number[];
  warnings: string[];
  /** Of the fleet as its clients left it. */
  state: KernelState;
}

export async function simulateWhole(options: SceneOptions): Promise<WholeOutcome> {
  const world = new WholeWorld(options);
  await world.run();
  return world;
}

class WholeWorld implements WholeOutcome {
  readonly log = new DecisionLog();
  readonly answers = new Map<string, string[]>();
  readonly failures: string[] = [];
  readonly ttftUs: number[] = [];
  readonly warnings: string[] = [];
  finished = 0;
  state: KernelState;
  /** Agents that are not at their end. */
  #living: number;
  readonly #faults: Faults | undefined;
  readonly #scene: Scene;
  readonly #host: Host;
  readonly #roster: Roster;
  readonly #serve: Serve;

  constructor(options: SceneOptions) {
    this.#scene = setScene(options);
    const { clock, kernel, plane, workers } = this.#scene;
    const sink = { note: (note: Note) => this.#note(note) };
    this.#faults = options.faults;
    this.#living = options.agents.length;
    const probe = (worker: WorkerId) => void this.#roster.probe(worker);
    this.#host = new Host({ kernel, clock, sink, probe });
    this.state = this.#host.state();
    const host = this.#host;
    const { tokens, prompts } = options;
    const known = new Map([[SIM_MODEL, { tokens, prompts, fingerprint: '' }]]);
    const models = new Models({ known });
    const feed = new Feed({ host, feed: plane, clock, sink, settings: FEED_SETTINGS });
    const never = 1_000_000_000_000;
    const checks = { checkUs: never, recheckUs: never, silenceUsMax: never, ...options.faults };
    const draining = new Draining({ host, clock, drainUs: never });
    const parts = { directory: plane, host, models, feed, draining, clock, sink };
    this.#roster = new Roster({ ...parts, ...checks });
    const access = new Access({ keys: [], trustedProxies: [], host: 'localhost' });
    const receipts = new Receipts({ receiptsMax: 100, receiptsBytesMax: 1_000_000 });
    const rng = new Prng(options.seed).fork('serve');
    const keeping = new Keeping({ kvOf: () => undefined, sink });
    const { limits } = Config.parse({});
    const sessions = new Sessions({ ...limits, clock, host, keeping, changed: () => {} });
    this.#serve = new Serve({
      runaway: new Runaway({ bounds: {}, spentOf: () => 0, sink }),
      speculation: 'never',
      fallbackUs: limits.fallbackUs,
      access,
      models,
      normalizer: new Normalizer(Config.parse({}).normalise),
      host,
      engines: this.#roster,
      clock,
      rng,
      receipts,
      identities: new Identities({
        ...Config.parse({}).limits,
        rng: rng.fork('lineage'),
        kinOf: () => undefined,
      }),
      sessions,
      patience: new Patience({ ...Config.parse({}).limits, queueUsMax: FOREVER_US }),
      sink,
    });
    for (const { worker, engine } of workers) plane.tell(up(worker, engine));
    if (options.faults !== undefined) {
      const start = (id: WorkerId, wrapped: (engine: Engine) => Engine) => {
        const { worker, engine } = this.#scene.start(id);
        return up(worker, wrapped(engine));
      };
      const tell = (change: WorkerChange) => plane.tell(change);
      new Accidents(options.faults, { clock, start, tell }).begin(options.workers);
    }
    for (const agent of options.agents) {
      clock.after(agent.startUs, () => void this.#live(agent));
    }
  }

  async run(): Promise<void> {
    let open = true;
    while (open) {
      await macrotask();
      this.#host.check();
      const isOver = this.#faults !== undefined && this.#living === 0;
      open = !isOver && this.#scene.clock.nowUs() < FOREVER_US && this.#scene.clock.step();
    }
    this.state = this.#host.state();
    this.#host.close();
    this.#roster.close();
  }

  #note(note: Note): void {
    if (note.kind === 'kernel') this.log.note(note.atUs, note.orders);
    if (note.kind !== 'warning') return;
    if (this.#faults === undefined) throw new Error(note.sentence);
    this.warnings.push(note.sentence);
  }

  /** One agent: asks, reads the stream, waits, asks again with all that was said. */
  async #live(agent: Agent): Promise<void> {
    const messages: unknown[] = [{ role: 'system', content: agent.system }];
    const answers: string[] = [];
    this.answers.set(agent.id, answers);
    for (const [i, turn] of agent.turns.entries()) {
      messages.push({ role: 'user', content: turn.text });
      const body = {
        model: SIM_MODEL,
        messages,
        stream: true,
        temperature: 0,
        max_tokens: turn.outputTokensMax,
        // vLLM's priority falls with importance.
        priority: -agent.priority,
        ...(agent.whenIdle && { service_tier: 'batch' }),
      };
      const { clock } = this.#scene;
      const begunUs = clock.nowUs();
      const reply = new MemoryReply(() => this.ttftUs.push(clock.nowUs() - begunUs));
      await this.#serve.handle(callOf(agent.id, body, reply), openaiChat);
      const answer = this.#answerOf(agent, reply);
      if (answer === undefined) break;
      this.finished++;
      answers.push(answer);
      if (i + 1 === agent.turns.length) break;
      messages.push({ role: 'assistant', content: answer });
      await new Promise<void>((resolve) => {
        this.#scene.clock.after(turn.gapUs, resolve);
      });
    }
    this.#living--;
  }

  /** Undefined where there is none as it should be; without faults that ends the simulation. */
  #answerOf({ id }: Agent, reply: MemoryReply): string | undefined {
    try {
      return reply.content();
    } catch (error) {
      if (this.#faults === undefined) throw error;
      this.failures.push(`${id}: ${(error as Error).message}`);
      return undefined;
    }
  }
}

function up(worker: Worker, engine: Engine): WorkerChange {
  const about = {
    engine: 'sim',
    url: '',
    model: SIM_MODEL,
    fingerprint: '',
    demo: false,
    tokensMode: 'exact' as const,
    card: undefined,
  };
  return { kind: 'up', worker, engine, events: { endpoint: '', replay: undefined }, about };
}

/** Beyond this only health checks are left. */
const FOREVER_US = 500_000_000_000;

function macrotask(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function callOf(session: string, body: unknown, reply: Reply): Call {
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  return {
    method: 'POST',
    path: '/v1/chat/completions',
    query: new URLSearchParams(),
    headers: { host: 'localhost', 'x-stator-session-id': session, 'x-tenant-id': DEFAULT_TENANT },
    remote: '127.0.0.1',
    body: async () => bytes,
    stream: async function* () {
      yield bytes;
    },
    signal: new AbortController().signal,
    requestId: session,
    reply,
  };
}

/** What a client would have read. */
class MemoryReply implements Reply {
  headSent = false;
  readonly #onText: () => void;
  #status = 0;
  #text = '';
  #hasText = false;

  /** `onText`: hears of the first. */
  constructor(onText: () => void) {
    this.#onText = onText;
  }

  head(status: number): void {
    this.headSent = true;
    this.#status = status;
  }

  write(text: string): undefined {
    this.#text += text;
    if (this.#hasText || !/"content":"./.test(text)) return;
    this.#hasText = true;
    this.#onText();
  }

  end(text?: string | Uint8Array): void {
    if (typeof text === 'string') this.#text += text;
  }

  destroy(): void {}

  content(): string {
    if (this.#status !== 200) throw new Error(`answered ${this.#status}: ${this.#text}`);
    let content = '';
    for (const { data } of new SseReader(1e9).push(new TextEncoder().encode(this.#text))) {
      if (data === '[DONE]') continue;
      const chunk = JSON.parse(data) as {
        choices?: { delta?: { content?: string } }[];
        error?: { message: string };
      };
      if (chunk.choices === undefined) throw new Error(`broken off: ${chunk.error?.message}`);
      content += chunk.choices[0]?.delta?.content ?? '';
    }
    return content;
  }
}
