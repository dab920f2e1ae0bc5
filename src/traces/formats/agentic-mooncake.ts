/**
 * Dynamo's agentic Mooncake (lib/data-gen), whole prompts with what each waits for. Version 2 begins with a
 * header (`schema`, `version`, `block_size`, `hash_id_scope`); its rows have `play_id`, `session_id`,
 * `not_before_ms` and `dependencies` of `{request_id, trigger, delay_ms, relation}`. Version 1 has no header:
 * `wait_for` lists requests, `delay` and `tool_wait_ms` count from the last of them, `timestamp` is for
 * requests that wait for none.
 *
 * A play is our session, their session our thread. In version 1 threads that wait for each other are one session.
 */
import type { Defects, Format, Reader, ReadOptions } from '../format.ts';
import { BadRow, Row } from '../row.ts';
import type { Relation, Trace } from '../trace.ts';
import { type BlockScope, TraceBuilder } from '../trace-builder.ts';

export const AGENTIC_SCHEMA = 'dynamo.agentic_mooncake';
const BLOCK_TOKENS = 512;
const WORKFLOW = ['wait_for', 'branches', 'prefix_reset', 'tool_wait_ms', 'request_kind'];
/** Theirs → ours; `replay_barrier` alone is called otherwise here. */
const RELATION_NAMES: Record<string, Relation> = {
  sequence: 'sequence',
  spawn: 'spawn',
  join: 'join',
  replay_barrier: 'barrier',
};

export const agenticMooncake: Format = {
  name: 'agentic',
  about: 'Dynamo’s agentic Mooncake, versions 1 and 2',
  recognises: (head) =>
    head.some(
      ({ value }) =>
        value?.schema === AGENTIC_SCHEMA ||
        (Array.isArray(value?.hash_ids) &&
          (WORKFLOW.some((name) => value[name] !== undefined) || value.play_id !== undefined)),
    ),
  reader: (options, defects) => new AgenticReader(options, defects),
};

interface Waiting {
  line: number;
  request: string;
  on: string;
  delayMs: number;
  /** Undefined: what the threads say; version 1 has no word for it. */
  relation: Relation | undefined;
  trigger: 'dispatch' | 'completion';
}

interface Asked {
  line: number;
  request: string;
  /** Undefined in version 1. */
  play: string | undefined;
  thread: string;
  model: string;
  promptTokens: number;
  outputTokens: number;
  ids: (number | string)[];
  startMs: number;
}

class AgenticReader implements Reader {
  readonly #builder = new TraceBuilder();
  readonly #options: ReadOptions;
  readonly #defects: Defects;
  readonly #asked = new Map<string, Asked>();
  readonly #waiting: Waiting[] = [];
  #header: { blockTokens: number; isLocal: boolean } | undefined;

  constructor(options: ReadOptions, defects: Defects) {
    this.#options = options;
    this.#defects = defects;
  }

  line(text: string, line: number): void {
    const row = Row.parse(text);
    if (row.has('schema')) {
      this.#readHeader(row);
      return;
    }
    const request = row.text('request_id');
    if (this.#asked.has(request)) throw new BadRow(`request_id ${request} was there before.`);
    const waiting = this.#header === undefined ? waitsOf1(row) : waitsOf2(row);
    this.#asked.set(request, {
      line,
      request,
      play: this.#header === undefined ? undefined : row.text('play_id'),
      thread: row.textIfAny('session_id') ?? request,
      model: row.textIfAny('model') ?? 'model',
      promptTokens: row.count('input_length', 'input_tokens'),
      outputTokens: row.count('output_length', 'output_tokens'),
      ids: row.ids('hash_ids'),
      startMs: row.timeIfAny('not_before_ms', 'timestamp', 'created_time') ?? 0,
    });
    for (const wait of waiting) this.#waiting.push({ ...wait, line, request });
  }

  build(): Trace {
    const waits = this.#waiting.filter(({ line, on }) => {
      if (this.#asked.has(on)) return true;
      this.#defects.add(line, { message: `It waits for ${on}, which is not there.` });
      return false;
    });
    const plays = this.#header === undefined ? this.#playsOf(waits) : undefined;
    const turns = new Map<string, number>();
    const scopes = new Map<string, BlockScope>();
    for (const asked of this.#asked.values()) {
      const play = asked.play ?? plays?.get(asked.thread) ?? asked.thread;
      const own = this.#header?.isLocal === true ? play : '';
      const scope = scopes.get(own) ?? this.#builder.scope();
      scopes.set(own, scope);
      const { ids, thread, request, ...rest } = asked;
      const turn = this.#builder.turn({
        ...rest,
        thread: this.#builder.thread(this.#builder.session(play), thread),
        serviceMs: 0,
        leaf: scope.path(ids),
      });
      turns.set(request, turn);
    }
    for (const { request, on, delayMs, relation, trigger } of waits) {
      this.#builder.wait({
        turn: turns.get(request)!,
        on: turns.get(on)!,
        delayMs,
        relation: relation ?? this.#relationOf(request, on),
        trigger,
      });
    }
    const about = {
      format: agenticMooncake.name,
      clock: 'trace' as const,
      notes: [],
      malformed: this.#defects.malformed,
    };
    return this.#builder.build(
      about,
      this.#header?.blockTokens ?? this.#options.blockTokens ?? BLOCK_TOKENS,
    );
  }

  #readHeader(row: Row): void {
    const version = row.count('version');
    if (row.text('schema') !== AGENTIC_SCHEMA || version !== 2) {
      throw new BadRow(
        `Only ${AGENTIC_SCHEMA} version 2 has a header; this is version ${version}.`,
      );
    }
    this.#header = {
      blockTokens: row.count('block_size'),
      isLocal: row.text('hash_id_scope') === 'local',
    };
  }

  /** In version 1: thread → the session it belongs to, named by its first thread. */
  #playsOf(waits: readonly Waiting[]): Map<string, string> {
    const joined = new Map<string, string>();
    const topOf = (thread: string): string => {
      let top = thread;
      for (let next = joined.get(top); next !== undefined; next = joined.get(top)) top = next;
      return top;
    };
    for (const { request, on } of waits) {
      const [own, other] = [request, on].map((id) => topOf(this.#asked.get(id)!.thread));
      if (own !== other) joined.set(own, other);
    }
    return new Map(Array.from(this.#asked.values(), ({ thread }) => [thread, topOf(thread)]));
  }

  #relationOf(request: string, on: string): Relation {
    const { thread, line } = this.#asked.get(request)!;
    if (this.#asked.get(on)!.thread === thread) return 'sequence';
    for (const other of this.#asked.values()) {
      if (other.thread === thread) return other.line === line ? 'spawn' : 'join';
    }
    return 'join';
  }
}

type Wait = Omit<Waiting, 'line' | 'request'>;

function waitsOf1(row: Row): Wait[] {
  if (!row.has('wait_for')) return [];
  const delayMs = (row.timeIfAny('delay', 'delay_ms') ?? 0) + (row.timeIfAny('tool_wait_ms') ?? 0);
  return row.list('wait_for').map((on) => ({
    on: String(on),
    delayMs,
    relation: undefined,
    trigger: 'completion',
  }));
}

function waitsOf2(row: Row): Wait[] {
  if (!row.has('dependencies')) return [];
  return row.rows('dependencies').map((dependency) => {
    const trigger = dependency.text('trigger');
    const name = dependency.text('relation');
    const relation = RELATION_NAMES[name];
    if ((trigger !== 'dispatch' && trigger !== 'completion') || relation === undefined) {
      throw new BadRow(`There is no dependency of trigger ${trigger} and relation ${name}.`);
    }
    return {
      on: dependency.has('request_id')
        ? dependency.text('request_id')
        : dependency.text('predecessor'),
      delayMs: dependency.timeIfAny('delay_ms', 'delay') ?? 0,
      relation,
      trigger,
    };
  });
}
