/**
 * Puts a trace together from turns in any order: readers and the generator tell it what they meet, `build`
 * sorts it into columns.
 */
import { assert, must } from '../base/assert.ts';
import { Column } from './column.ts';
import {
  RELATIONS,
  type Relation,
  type Trace,
  type TraceAbout,
  TURN_ENDS,
  type TurnEnd,
} from './trace.ts';

const ROOT = 0;

export interface NewTurn {
  thread: number;
  promptTokens: number;
  outputTokens: number;
  startMs: number;
  /** 0 where it is not known. */
  serviceMs: number;
  /** Undefined: not recorded. */
  end?: TurnEnd | undefined;
  model: string;
  /** Of a `BlockScope`. */
  leaf: number;
}

export interface NewWait {
  /** As `turn` numbered them, both. */
  turn: number;
  on: number;
  delayMs: number;
  relation: Relation;
  trigger: 'dispatch' | 'completion';
}

export class TraceBuilder {
  readonly #sessions = new Map<string, number>();
  readonly #threads = new Map<string, number>();
  readonly #threadIds: string[] = [];
  readonly #threadSession: number[] = [];
  readonly #models = new Map<string, number>();
  readonly #thread = new Column(Uint32Array);
  readonly #promptTokens = new Column(Uint32Array);
  readonly #outputTokens = new Column(Uint32Array);
  readonly #startMs = new Column(Float64Array);
  readonly #serviceMs = new Column(Float64Array);
  readonly #end = new Column(Uint8Array);
  readonly #model = new Column(Uint16Array);
  readonly #leaf = new Column(Uint32Array);
  readonly #parent = new Column(Uint32Array);
  readonly #depth = new Column(Uint32Array);
  readonly #waits: NewWait[] = [];

  constructor() {
    this.#parent.push(ROOT);
    this.#depth.push(0);
  }

  get turnCount(): number {
    return this.#leaf.length;
  }

  /** The session of that name; the first mention makes it. */
  session(id: string): number {
    return numberOf(this.#sessions, id);
  }

  /** The thread of that name within a session; the first mention makes it. */
  thread(session: number, id: string): number {
    const known = this.#threads.get(`${session} ${id}`);
    if (known !== undefined) return known;
    const thread = this.#threadIds.length;
    this.#threads.set(`${session} ${id}`, thread);
    this.#threadIds.push(id);
    this.#threadSession.push(session);
    return thread;
  }

  /** Names blocks: the same id at the same place is the same block within one scope, and only there. */
  scope(): BlockScope {
    return new BlockScope({
      parentOf: (node) => this.#parent.at(node),
      add: (parent) => {
        this.#depth.push(this.#depth.at(parent) + 1);
        return this.#parent.push(parent);
      },
    });
  }

  depth(node: number): number {
    return this.#depth.at(node);
  }

  /** Returns its number, for waits. Turns of a thread come in their order. */
  turn(turn: NewTurn): number {
    this.#thread.push(turn.thread);
    this.#promptTokens.push(turn.promptTokens);
    this.#outputTokens.push(turn.outputTokens);
    this.#startMs.push(turn.startMs);
    this.#serviceMs.push(turn.serviceMs);
    this.#end.push(TURN_ENDS.indexOf(turn.end ?? 'unknown'));
    this.#model.push(numberOf(this.#models, turn.model));
    return this.#leaf.push(turn.leaf);
  }

  wait(wait: NewWait): void {
    assert(wait.turn < this.turnCount && wait.on < this.turnCount, 'turns are told before waits');
    this.#waits.push(wait);
  }

  build(about: TraceAbout, blockTokens: number): Trace {
    const threads = this.#sortedThreads();
    const { order, threadTurns, placeOf } = this.#sortedTurns(threads.order);
    const threadSession = Uint32Array.from(threads.order, (old) => this.#threadSession[old]);
    const sessionIds = [...this.#sessions.keys()];
    return {
      about,
      blockTokens,
      models: [...this.#models.keys()],
      sessionCount: sessionIds.length,
      threadCount: threadSession.length,
      turnCount: order.length,
      sessionIds,
      sessionThreads: begins(threadSession, sessionIds.length),
      threadIds: Array.from(threads.order, (old) => this.#threadIds[old]),
      threadSession,
      threadTurns,
      turnThread: Uint32Array.from(order, (old) => threads.placeOf[this.#thread.at(old)]),
      promptTokens: this.#promptTokens.gather(order),
      outputTokens: this.#outputTokens.gather(order),
      startMs: this.#startMs.gather(order),
      serviceMs: this.#serviceMs.gather(order),
      turnEnd: this.#end.gather(order),
      turnModel: this.#model.gather(order),
      leaf: this.#leaf.gather(order),
      waits: this.#sortedWaits(placeOf),
      tree: {
        nodeCount: this.#parent.length,
        parent: this.#parent.view(),
        depth: this.#depth.view(),
      },
    };
  }

  /** Threads by session, else as they were met. */
  #sortedThreads(): { order: Uint32Array; placeOf: Uint32Array } {
    const order = Uint32Array.from(this.#threadIds, (_, i) => i).sort(
      (a, b) => this.#threadSession[a] - this.#threadSession[b] || a - b,
    );
    return { order, placeOf: inverse(order) };
  }

  #sortedTurns(threadOrder: Uint32Array) {
    const placeOfThread = inverse(threadOrder);
    const places = new Uint32Array(this.turnCount);
    for (let i = 0; i < places.length; i++) places[i] = placeOfThread[this.#thread.at(i)];
    const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b] || a - b);
    const threadTurns = begins(places, threadOrder.length);
    return { order, threadTurns, placeOf: inverse(order) };
  }

  #sortedWaits(placeOf: Uint32Array): Trace['waits'] {
    const sorted = this.#waits
      .map((wait) => ({ ...wait, turn: placeOf[wait.turn], on: placeOf[wait.on] }))
      .sort((a, b) => a.turn - b.turn || a.on - b.on);
    return {
      begin: begins(
        Uint32Array.from(sorted, ({ turn }) => turn),
        this.turnCount,
      ),
      on: Uint32Array.from(sorted, ({ on }) => on),
      delayMs: Float64Array.from(sorted, ({ delayMs }) => delayMs),
      relation: Uint8Array.from(sorted, ({ relation }) => RELATIONS.indexOf(relation)),
      onDispatch: Uint8Array.from(sorted, ({ trigger }) => (trigger === 'dispatch' ? 1 : 0)),
    };
  }
}

/** Ids of blocks, as a format writes them, → nodes of the tree. */
export class BlockScope {
  readonly #nodes = new Map<number | string, number>();
  /** Of an id that follows more than one parent, the others; the field's hashes are chained, so it is rare. */
  readonly #others = new Map<string, number>();
  readonly #tree: { parentOf(node: number): number; add(parent: number): number };

  constructor(tree: { parentOf(node: number): number; add(parent: number): number }) {
    this.#tree = tree;
  }

  /** The block `id` that follows `parent`. */
  child(parent: number, id: number | string): number {
    const known = this.#nodes.get(id);
    if (known === undefined) {
      const node = this.#tree.add(parent);
      this.#nodes.set(id, node);
      return node;
    }
    if (this.#tree.parentOf(known) === parent) return known;
    const key = `${parent} ${id}`;
    const other = this.#others.get(key) ?? this.#tree.add(parent);
    this.#others.set(key, other);
    return other;
  }

  /** The last block of a path that goes on from `from`, by default from the root. */
  path(ids: ArrayLike<number | string>, from: number = ROOT): number {
    let node = from;
    for (let i = 0; i < ids.length; i++) node = this.child(node, ids[i]);
    return node;
  }
}

function numberOf(names: Map<string, number>, name: string): number {
  const known = names.get(name);
  if (known !== undefined) return known;
  names.set(name, names.size);
  return must(names.get(name), 'it was just set');
}

/** Of `count` groups of the sorted `keys`, where each begins, and where the last ends. */
function begins(keys: Uint32Array, count: number): Uint32Array {
  const found = new Uint32Array(count + 1);
  for (const key of keys) found[key + 1]++;
  for (let i = 0; i < count; i++) found[i + 1] += found[i];
  return found;
}

function inverse(order: Uint32Array): Uint32Array {
  const places = new Uint32Array(order.length);
  order.forEach((old, place) => {
    places[old] = place;
  });
  return places;
}
