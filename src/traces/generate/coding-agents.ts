/**
 * Coding agents by the thousand, from a seed: sessions with layers, tools, sub-agents, compactions and humans who
 * walk away, as a trace like any other. The same settings and seed give the same trace on every machine.
 */
import { Prng } from '../../base/prng.ts';
import type { Relation, Trace } from '../trace.ts';
import { type BlockScope, TraceBuilder } from '../trace-builder.ts';
import { Context, type Stretch } from './context.ts';
import { draw, drawByShare, drawCount } from './distribution.ts';
import type { CodingAgentsSettings, Step, SubAgents } from './settings.ts';

/** Stretches that sessions share; all others are somebody's own. */
const SHARED_STRETCH = 0;
const FIRST_REPOSITORY = 1;

export function generateSessions(settings: CodingAgentsSettings, seed: number): Trace {
  const rng = new Prng(seed);
  const builder = new TraceBuilder();
  const world = new World(settings, rng.fork('repositories'), builder);
  for (let i = 0; i < settings.sessions; i++) {
    new Session(world, rng.fork(`session ${i}`), `session-${i}`).run();
  }
  const about = {
    format: 'coding-agents',
    clock: 'session' as const,
    notes: [`Generated from seed ${seed}.`],
    malformed: { count: 0, first: [] },
  };
  return builder.build(about, settings.blockTokens);
}

/** What all sessions have in common. */
class World {
  readonly settings: CodingAgentsSettings;
  readonly builder: TraceBuilder;
  readonly #scope: BlockScope;
  readonly #repositories: (Stretch & { share: number })[];
  #stretches: number;

  constructor(settings: CodingAgentsSettings, rng: Prng, builder: TraceBuilder) {
    this.settings = settings;
    this.builder = builder;
    this.#scope = builder.scope();
    const { count, tokens } = settings.repositories;
    this.#repositories = Array.from({ length: count }, (_, i) => ({
      id: FIRST_REPOSITORY + i,
      tokens: Math.round(draw(rng, tokens)),
      share: 1 / (i + 1),
    }));
    this.#stretches = FIRST_REPOSITORY + count;
  }

  context(sharedTokens: number): Context {
    const context = new Context(this.#scope, this.settings.blockTokens);
    context.append({ id: SHARED_STRETCH, tokens: sharedTokens });
    return context;
  }

  repository(rng: Prng): Stretch {
    return drawByShare(rng, this.#repositories);
  }

  /** A text that nobody else has. */
  own(tokens: number): Stretch {
    return { id: this.#stretches++, tokens };
  }
}

/** A turn of which the next one must know. */
interface Told {
  turn: number;
  endMs: number;
  outputTokens: number;
}

interface Wait {
  on: number;
  delayMs: number;
  relation: Relation;
}

class Session {
  readonly #world: World;
  readonly #rng: Prng;
  readonly #session: number;
  readonly #repository: Stretch;
  /** A prompt that would be longer is compacted. */
  readonly #tokensMax: number;
  #agents = 0;

  constructor(world: World, rng: Prng, id: string) {
    this.#world = world;
    this.#rng = rng;
    this.#session = world.builder.session(id);
    this.#repository = world.repository(rng);
    const { contexts, compactAt } = world.settings;
    this.#tokensMax = Math.floor(compactAt * drawByShare(rng, contexts).tokens);
  }

  run(): void {
    const { settings, builder } = this.#world;
    const thread = builder.thread(this.#session, 'main');
    let context = this.#begin();
    let before = this.#tell(thread, context, { startMs: 0, waits: [] });
    const turns = drawCount(this.#rng, settings.turns);
    const { exploring } = settings;
    for (let i = 1; i < turns; i++) {
      context.append(this.#world.own(before.outputTokens));
      const step = drawByShare(this.#rng, [...settings.tools, settings.human]);
      const agent = this.#agentIfAny(before);
      const times = i <= exploring.turns && step !== settings.human ? exploring.times : 1;
      context = this.#grown(context, times * this.#addedBy(step, agent));
      // Who waits for a sub-agent does nothing else meanwhile.
      const delayMs = agent === undefined ? draw(this.#rng, step.seconds) * 1000 : 0;
      const startMs = (agent ?? before).endMs + delayMs;
      const waits: Wait[] = [{ on: before.turn, delayMs, relation: 'sequence' }];
      if (agent !== undefined) waits.push({ on: agent.turn, delayMs: 0, relation: 'join' });
      before = this.#tell(thread, context, { startMs, waits });
    }
  }

  #begin(): Context {
    const { sharedTokens, ownTokens, resumed } = this.#world.settings;
    const context = this.#fresh(sharedTokens);
    context.append(this.#world.own(drawCount(this.#rng, ownTokens)));
    if (this.#rng.next() < resumed.share) {
      // One that would not fit was compacted since, some time ago.
      const room = this.#tokensMax - context.tokens;
      const history = draw(this.#rng, resumed.tokens);
      const tokens = history < room ? history : this.#rng.next() * room;
      context.append(this.#world.own(Math.max(1, Math.floor(tokens))));
    }
    return context;
  }

  #fresh(sharedTokens: number): Context {
    const context = this.#world.context(sharedTokens);
    if (this.#repository.tokens > 0) context.append(this.#repository);
    return context;
  }

  #addedBy(step: Step, agent: Told | undefined): number {
    const { subAgents } = this.#world.settings;
    const isReport = agent !== undefined && subAgents !== undefined;
    return drawCount(this.#rng, isReport ? subAgents.resultTokens : step.tokens);
  }

  /** The context of the next turn: compacted or rewritten where it has to be, and with what was added. */
  #grown(context: Context, added: number): Context {
    const { rewrites, summaryTokens, sharedTokens } = this.#world.settings;
    const tokensMax = this.#tokensMax;
    let next = context;
    if (context.tokens + added > tokensMax) {
      next = this.#fresh(sharedTokens);
      next.append(this.#world.own(drawCount(this.#rng, summaryTokens)));
    } else if (this.#rng.next() < rewrites.share) {
      const keep = rewrites.keepLeast + this.#rng.next() * (rewrites.keepMost - rewrites.keepLeast);
      next = context.head(Math.round(keep * context.tokens));
      next.append(this.#world.own(Math.max(1, context.tokens - next.tokens)));
    }
    // One thing that does not fit is cut, as tools cut what they print.
    next.append(this.#world.own(Math.max(1, Math.min(added, tokensMax - next.tokens))));
    return next;
  }

  /** Undefined where this turn spawns none; else its last turn. */
  #agentIfAny(parent: Told): Told | undefined {
    const { subAgents } = this.#world.settings;
    if (subAgents === undefined || this.#rng.next() >= subAgents.share) return undefined;
    return this.#runAgent(parent, subAgents);
  }

  #runAgent(parent: Told, subAgents: SubAgents): Told {
    const { builder, settings } = this.#world;
    const thread = builder.thread(this.#session, `agent-${++this.#agents}`);
    const context = this.#fresh(Math.min(subAgents.prefixTokens, settings.sharedTokens));
    const room = this.#tokensMax - context.tokens;
    const task = drawCount(this.#rng, subAgents.taskTokens);
    context.append(this.#world.own(Math.max(1, Math.min(task, room))));
    let before = this.#tell(thread, context, {
      startMs: parent.endMs,
      waits: [{ on: parent.turn, delayMs: 0, relation: 'spawn' }],
    });
    for (let left = drawCount(this.#rng, subAgents.turns) - 1; left > 0; left--) {
      const step = drawByShare(this.#rng, settings.tools);
      context.append(this.#world.own(before.outputTokens));
      context.append(this.#world.own(drawCount(this.#rng, step.tokens)));
      if (context.tokens > this.#tokensMax) break;
      const delayMs = draw(this.#rng, step.seconds) * 1000;
      const waits: Wait[] = [{ on: before.turn, delayMs, relation: 'sequence' }];
      before = this.#tell(thread, context, { startMs: before.endMs + delayMs, waits });
    }
    return before;
  }

  #tell(
    thread: number,
    { tokens: promptTokens, leaf }: Context,
    { startMs, waits }: { startMs: number; waits: readonly Wait[] },
  ): Told {
    const { builder, settings } = this.#world;
    const { model } = settings;
    const serviceMs = draw(this.#rng, settings.serviceS) * 1000;
    const outputTokens = drawCount(this.#rng, settings.outputTokens);
    const told = { thread, promptTokens, outputTokens, startMs, serviceMs, model, leaf };
    const turn = builder.turn(told);
    for (const wait of waits) builder.wait({ ...wait, turn, trigger: 'completion' });
    return { turn, endMs: startMs + serviceMs, outputTokens };
  }
}
