/**
 * The whole simulator: the real gateway (serve, relay, failover, feed, roster, host) over simulated
 * engines, in virtual time. Between two events it yields a macrotask, so that every continuation ends
 * at the time it began: after a microtask, those that await more than once would slip to a later time.
 */
import { Prng } from '../base/prng.ts';
import { Access, DEFAULT_TENANT } from '../gateway/access.ts';
import { Feed } from '../gateway/feed/feed.ts';
import { Host } from '../gateway/host.ts';
import { Identities } from '../gateway/identities.ts';
import { Models } from '../gateway/models.ts';
import { Normalizer } from '../gateway/normalize/normalizer.ts';
import { Patience } from '../gateway/patience.ts';
import { Receipts } from '../gateway/receipts.ts';
import { Roster } from '../gateway/roster.ts';
import { Serve } from '../gateway/serve.ts';
import { Keeping } from '../gateway/sessions/keeping.ts';
import { Sessions } from '../gateway/sessions/sessions.ts';
import type { Call, Reply } from '../http/call.ts';
import { Config } from '../model/config.ts';
import type { Note } from '../ports.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { SseReader } from '../wire/sse.ts';
import type { Agent } from './agents.ts';
import {
  DecisionLog,
  FEED_SETTINGS,
  type Scene,
  type SceneOptions,
  SIM_MODEL,
  setScene,
} from './scene.ts';

export async function simulateWhole(
  options: SceneOptions,
): Promise<{ log: DecisionLog; finished: number }> {
  const world = new WholeWorld(options);
  await world.run();
  return { log: world.log, finished: world.finished };
}

class WholeWorld {
  readonly log = new DecisionLog();
  finished = 0;
  readonly #scene: Scene;
  readonly #host: Host;
  readonly #roster: Roster;
  readonly #serve: Serve;

  constructor(options: SceneOptions) {
    this.#scene = setScene(options);
    const { clock, kernel, plane, workers } = this.#scene;
    const sink = { note: (note: Note) => this.#note(note) };
    this.#host = new Host({ kernel, clock, sink });
    const host = this.#host;
    const { tokens, prompts } = options;
    const known = new Map([[SIM_MODEL, { tokens, prompts, fingerprint: '' }]]);
    const models = new Models({ known, aliases: new Map() });
    const feed = new Feed({ host, feed: plane, clock, sink, settings: FEED_SETTINGS });
    const checks = { checkUs: 1_000_000_000_000, recheckUs: 1_000_000_000_000 };
    this.#roster = new Roster({ directory: plane, host, models, feed, clock, sink, ...checks });
    const access = new Access({ keys: [], trustedProxies: [], host: 'localhost' });
    const receipts = new Receipts({ receiptsMax: 100, receiptsBytesMax: 1_000_000 });
    const rng = new Prng(options.seed).fork('serve');
    const keeping = new Keeping({ kvOf: () => undefined, sink });
    this.#serve = new Serve({
      access,
      models,
      normalizer: new Normalizer(Config.parse({}).normalise),
      host,
      engines: this.#roster,
      clock,
      rng,
      receipts,
      identities: new Identities({ ...Config.parse({}).limits, rng: rng.fork('lineage') }),
      sessions: new Sessions({ ...Config.parse({}).limits, clock, host, keeping }),
      patience: new Patience({ ...Config.parse({}).limits, queueUsMax: FOREVER_US }),
      sink,
    });
    for (const { worker, engine } of workers) {
      const about = {
        engine: 'sim',
        url: '',
        model: SIM_MODEL,
        fingerprint: '',
        demo: false,
        tokensMode: 'exact' as const,
        card: undefined,
      };
      const events = { endpoint: '', replay: undefined };
      plane.tell({ kind: 'up', worker, engine, events, about });
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
      open = this.#scene.clock.nowUs() < FOREVER_US && this.#scene.clock.step();
    }
    this.#host.close();
    this.#roster.close();
  }

  #note(note: Note): void {
    if (note.kind === 'kernel') this.log.note(note.atUs, note.orders);
    if (note.kind === 'warning') throw new Error(note.sentence);
  }

  /** One agent: asks, reads the stream, waits, asks again with all that was said. */
  async #live(agent: Agent): Promise<void> {
    const messages: unknown[] = [{ role: 'system', content: agent.system }];
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
      const reply = new MemoryReply();
      await this.#serve.handle(callOf(agent.id, body, reply), openaiChat);
      messages.push({ role: 'assistant', content: reply.content() });
      this.finished++;
      if (i + 1 === agent.turns.length) return;
      await new Promise<void>((resolve) => {
        this.#scene.clock.after(turn.gapUs, resolve);
      });
    }
  }
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
  #status = 0;
  #text = '';

  head(status: number): void {
    this.headSent = true;
    this.#status = status;
  }

  write(text: string): undefined {
    this.#text += text;
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
