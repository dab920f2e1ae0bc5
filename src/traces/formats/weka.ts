/**
 * Real Claude Code sessions without text (callanjfox/kv-cache-tester): a JSON object per session with
 * `block_size`, `tool_tokens`, `system_tokens` and `requests`; an entry of type `subagent` nests its own, timed
 * from its begin. In the original each request lists its `hash_ids`; in the compact form ids 1 … `n_ids` are a
 * tree (the parent of i is i − 1, or what `parents` says) and a request names its `leaf`. Ids are local to the
 * session, so what sessions share is an assumption: `sharedPrefixShare`.
 */
import type { Defects, Format, Reader, ReadOptions } from '../format.ts';
import { BadRow, Row } from '../row.ts';
import type { Trace, TurnEnd } from '../trace.ts';
import { type BlockScope, TraceBuilder } from '../trace-builder.ts';

export const weka: Format = {
  name: 'weka',
  about: 'Claude Code sessions of kv-cache-tester, original or compact',
  recognises: (head) => Array.isArray(head[0]?.value?.requests),
  reader: (options, defects) => new WekaReader(options, defects),
};

/** Of the ways an answer stops, those that say who goes on. */
const ENDS: Record<string, TurnEnd> = { tool_use: 'tools', end_turn: 'answered' };

/** A turn that was told, with its place on the session's clock. */
interface Told {
  turn: number;
  startS: number;
  endS: number;
}

/** Leaf or list of ids → node. */
type BlocksOf = (request: Row) => number;

class WekaReader implements Reader {
  readonly #builder = new TraceBuilder();
  readonly #shared: BlockScope;
  readonly #options: ReadOptions;
  readonly #defects: Defects;
  #blockTokens: number | undefined;

  constructor(options: ReadOptions, defects: Defects) {
    this.#options = options;
    this.#defects = defects;
    this.#shared = this.#builder.scope();
  }

  line(text: string, line: number): void {
    const row = Row.parse(text);
    const entries = row.rows('requests');
    const blockTokens = row.count('block_size');
    this.#blockTokens ??= blockTokens;
    if (blockTokens !== this.#blockTokens) {
      throw new BadRow(`block_size is ${blockTokens}, before it was ${this.#blockTokens}.`);
    }
    const session = this.#builder.session(row.text('id'));
    const blocksOf = this.#blocks(row);
    const main: { entry: number; told: Told }[] = [];
    const agents: { entry: number; row: Row }[] = [];
    entries.forEach((entry, i) => {
      if (entry.raw('type') === 'subagent') {
        agents.push({ entry: i, row: entry });
        return;
      }
      const before = main.at(-1)?.told;
      const told = this.#tell(entry, {
        line,
        session,
        thread: 'main',
        before,
        blocksOf,
        beginS: 0,
      });
      if (told !== undefined) main.push({ entry: i, told });
    });
    for (const agent of agents) this.#agent(agent, { line, session, main, blocksOf });
  }

  build(): Trace {
    const share = this.#options.sharedPrefixShare;
    const about = {
      format: weka.name,
      clock: 'session' as const,
      notes: [
        `Block ids are local to a session; ${share * 100} % of each session's tools and system prompt are taken to be shared by all.`,
      ],
      malformed: this.#defects.malformed,
    };
    return this.#builder.build(about, this.#blockTokens ?? 1);
  }

  /** A sub-agent's turns, what they wait for, and the parent's turn that waits for them. */
  #agent(
    { entry, row }: { entry: number; row: Row },
    given: {
      line: number;
      session: number;
      main: { entry: number; told: Told }[];
      blocksOf: BlocksOf;
    },
  ): void {
    const { main, ...rest } = given;
    const beginS = row.time('t');
    const spawner = main.findLast((one) => one.entry < entry)?.told;
    const thread = `${row.textIfAny('agent_id') ?? 'agent'}#${entry}`;
    let last: Told | undefined;
    for (const request of row.rows('requests')) {
      const told = this.#tell(request, { ...rest, thread, before: last, beginS });
      if (told === undefined) continue;
      if (last === undefined && spawner !== undefined) this.#spawn(told, spawner);
      last = told;
    }
    if (last === undefined) return;
    const end = last;
    const reader = main.find((one) => one.entry > entry && one.told.startS >= end.endS)?.told;
    if (reader === undefined) return;
    this.#builder.wait({
      turn: reader.turn,
      on: end.turn,
      delayMs: 0,
      relation: 'join',
      trigger: 'completion',
    });
  }

  #spawn(child: Told, parent: Told): void {
    const during = child.startS < parent.endS;
    this.#builder.wait({
      turn: child.turn,
      on: parent.turn,
      delayMs: Math.max(0, child.startS - (during ? parent.startS : parent.endS)) * 1000,
      relation: 'spawn',
      trigger: during ? 'dispatch' : 'completion',
    });
  }

  /** Undefined where the request cannot be used: the session goes on without it. */
  #tell(
    request: Row,
    given: {
      line: number;
      session: number;
      thread: string;
      before: Told | undefined;
      blocksOf: BlocksOf;
      beginS: number;
    },
  ): Told | undefined {
    const { line, session, before, beginS } = given;
    try {
      const t = request.time('t');
      // Inner times count from the sub-agent's begin; some recorders write the session's.
      const startS = t < beginS ? t + beginS : t;
      const serviceS = request.timeIfAny('api_time') ?? 0;
      const thinkS = request.timeIfAny('think_time');
      const read = {
        promptTokens: request.count('in'),
        outputTokens: request.count('out'),
        model: request.textIfAny('model') ?? 'model',
        leaf: given.blocksOf(request),
      };
      const turn = this.#builder.turn({
        ...read,
        thread: this.#builder.thread(session, given.thread),
        startMs: startS * 1000,
        serviceMs: serviceS * 1000,
        end: ENDS[String(request.raw('stop'))],
      });
      if (before !== undefined) {
        this.#builder.wait({
          turn,
          on: before.turn,
          delayMs: (thinkS ?? Math.max(0, startS - before.endS)) * 1000,
          relation: 'sequence',
          trigger: 'completion',
        });
      }
      return { turn, startS, endS: startS + serviceS };
    } catch (error) {
      if (!(error instanceof BadRow)) throw error;
      this.#defects.add(line, error);
      return undefined;
    }
  }

  #blocks(session: Row): BlocksOf {
    const scope = this.#builder.scope();
    const prefixTokens = session.has('tool_tokens')
      ? session.count('tool_tokens') + session.count('system_tokens')
      : 0;
    const share = this.#options.sharedPrefixShare * prefixTokens;
    const sharedBlocks = Math.floor(share / (this.#blockTokens ?? 1));
    return session.has('n_ids')
      ? this.#compact(session, scope, sharedBlocks)
      : this.#original(scope, sharedBlocks);
  }

  /** The first request's first blocks are those that are shared; other requests find them by their ids. */
  #original(scope: BlockScope, sharedBlocks: number): BlocksOf {
    const sharedNodes = new Map<number | string, number>();
    let isFirst = true;
    return (request) => {
      const ids = request.ids('hash_ids');
      if (isFirst) {
        let node = 0;
        for (const [depth, id] of ids.slice(0, sharedBlocks).entries()) {
          node = this.#shared.child(node, depth);
          sharedNodes.set(id, node);
        }
        isFirst = false;
      }
      let node = 0;
      for (const id of ids) node = sharedNodes.get(id) ?? scope.child(node, id);
      return node;
    };
  }

  #compact(session: Row, scope: BlockScope, sharedBlocks: number): BlocksOf {
    const idCount = session.count('n_ids');
    const parents = parentsOf(session, idCount);
    const nodes = new Uint32Array(idCount + 1);
    let isFirst = true;
    const nodeOf = (id: number): number => {
      const missing: number[] = [];
      let at = id;
      while (at !== 0 && nodes[at] === 0) {
        missing.push(at);
        at = parents[at];
      }
      let node = nodes[at];
      const isShared = isFirst;
      isFirst = false;
      missing.reverse().forEach((one, depth) => {
        const shares = isShared && depth < sharedBlocks;
        node = shares ? this.#shared.child(node, depth) : scope.child(node, one);
        nodes[one] = node;
      });
      return node;
    };
    return (request) => {
      const leaf = request.count('leaf');
      if (leaf <= idCount) return nodeOf(leaf);
      throw new BadRow(`leaf is ${leaf}, but n_ids is ${idCount}.`);
    };
  }
}

/** Parents by id; 0 is the root. A parent is older than its child, so paths end. */
function parentsOf(session: Row, idCount: number): Uint32Array {
  const parents = new Uint32Array(idCount + 1);
  for (let id = 1; id <= idCount; id++) parents[id] = id - 1;
  for (const pair of session.list('parents')) {
    const [id, parent] = Array.isArray(pair) ? (pair as unknown[]) : [];
    const fits = Number.isInteger(id) && Number.isInteger(parent) && (id as number) <= idCount;
    if (!fits || (parent as number) < 0 || (parent as number) >= (id as number)) {
      throw new BadRow(`parents must pair ids with older ones, not ${JSON.stringify(pair)}.`);
    }
    parents[id as number] = parent as number;
  }
  return parents;
}
