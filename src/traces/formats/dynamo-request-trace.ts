/**
 * What a Dynamo frontend records (`dynamo.request.trace.v1`, DYN_REQUEST_TRACE): a JSON object per event. Only
 * `request_end` with `replay` hashes says what a prompt was; tool events and payloads are left aside. The trace
 * comes in the order of ends, so it is sorted by `request_received_ms` first.
 *
 * Its 64-bit hashes lose their last bits as JSON numbers. A block is told apart from the other children of
 * its parent only, so that two of them fall together is as likely as two equal 53-bit numbers among those.
 */
import type { Defects, Format, Reader, ReadOptions } from '../format.ts';
import { BadRow, Row } from '../row.ts';
import type { Trace } from '../trace.ts';
import { type BlockScope, TraceBuilder } from '../trace-builder.ts';

const SCHEMA = 'dynamo.request.trace.v1';
const EVENTS = ['request_end', 'request_payload'];

export const dynamoRequestTrace: Format = {
  name: 'dynamo',
  about: 'request traces of a Dynamo frontend',
  recognises: (head) =>
    head.some(
      ({ value }) => value?.schema === SCHEMA || EVENTS.includes(String(value?.event_type)),
    ),
  reader: (_options: ReadOptions, defects) => new DynamoReader(defects),
};

interface Ended {
  session: string;
  parent: string | undefined;
  receivedMs: number;
  serviceMs: number;
  promptTokens: number;
  outputTokens: number;
  model: string;
  ids: (number | string)[];
}

interface Told extends Ended {
  turn: number;
}

class DynamoReader implements Reader {
  readonly #builder = new TraceBuilder();
  readonly #blocks: BlockScope;
  readonly #defects: Defects;
  readonly #ended: Ended[] = [];
  #others = 0;
  #blockTokens: number | undefined;

  constructor(defects: Defects) {
    this.#defects = defects;
    this.#blocks = this.#builder.scope();
  }

  line(text: string, line: number): void {
    const row = Row.parse(text);
    if (row.raw('event_type') !== 'request_end') {
      row.text('event_type');
      this.#others++;
      return;
    }
    const request = new Row(row.raw('request'));
    if (!request.has('replay')) throw new BadRow('It has no replay hashes.');
    const replay = new Row(request.raw('replay'));
    const blockTokens = replay.count('trace_block_size');
    this.#blockTokens ??= blockTokens;
    if (blockTokens !== this.#blockTokens) {
      throw new BadRow(`trace_block_size is ${blockTokens}, before it was ${this.#blockTokens}.`);
    }
    const agent = row.has('agent_context') ? new Row(row.raw('agent_context')) : undefined;
    this.#ended.push({
      session: agent?.textIfAny('session_id') ?? `request-${line}`,
      parent: agent?.textIfAny('parent_session_id'),
      receivedMs: request.time('request_received_ms'),
      serviceMs: request.timeIfAny('total_time_ms') ?? 0,
      promptTokens: replay.count('input_length'),
      outputTokens: request.count('output_tokens'),
      model: request.textIfAny('model') ?? 'model',
      ids: replay.ids('input_sequence_hashes'),
    });
  }

  build(): Trace {
    const ended = this.#ended.sort((a, b) => a.receivedMs - b.receivedMs);
    const parents = new Map<string, string>();
    for (const { session, parent } of ended) {
      if (parent !== undefined && parent !== session) parents.set(session, parent);
    }
    const threads = new Map<string, Told[]>();
    const beginMs = ended.at(0)?.receivedMs ?? 0;
    for (const one of ended) this.#tell(one, { beginMs, parents, threads });
    const notes =
      this.#others === 0 ? [] : [`${this.#others} events that end no request are left aside.`];
    const about = {
      format: dynamoRequestTrace.name,
      clock: 'trace' as const,
      notes,
      malformed: this.#defects.malformed,
    };
    return this.#builder.build(about, this.#blockTokens ?? 1);
  }

  #tell(
    ended: Ended,
    given: { beginMs: number; parents: Map<string, string>; threads: Map<string, Told[]> },
  ): void {
    const { parents, threads } = given;
    const root = rootOf(ended.session, parents);
    const thread = this.#builder.thread(
      this.#builder.session(root),
      ended.session === root ? 'main' : ended.session,
    );
    const turn = this.#builder.turn({
      thread,
      promptTokens: ended.promptTokens,
      outputTokens: ended.outputTokens,
      startMs: ended.receivedMs - given.beginMs,
      serviceMs: ended.serviceMs,
      model: ended.model,
      leaf: this.#blocks.path(ended.ids),
    });
    const own = threads.get(ended.session) ?? [];
    const before = own.at(-1);
    const parent = threads.get(parents.get(ended.session) ?? '')?.at(-1);
    const on = before ?? parent;
    if (on !== undefined) {
      const endMs = on.receivedMs + on.serviceMs;
      const during = ended.receivedMs < endMs;
      this.#builder.wait({
        turn,
        on: on.turn,
        delayMs: ended.receivedMs - (during ? on.receivedMs : endMs),
        relation: before === undefined ? 'spawn' : 'sequence',
        trigger: during ? 'dispatch' : 'completion',
      });
    }
    own.push({ ...ended, turn });
    threads.set(ended.session, own);
  }
}

/** The session at the top; a circle, which nobody should write, ends where it closes. */
function rootOf(session: string, parents: Map<string, string>): string {
  const seen = new Set<string>();
  let at = session;
  for (;;) {
    const parent = parents.get(at);
    if (parent === undefined || seen.has(parent)) return at;
    seen.add(at);
    at = parent;
  }
}
