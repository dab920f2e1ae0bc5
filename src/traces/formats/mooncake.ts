/**
 * Mooncake's traces (FAST '25, kvcache-ai/Mooncake): a request per line with `timestamp` (ms), `input_length`,
 * `output_length` and `hash_ids`, a chained hash for each block of 512 tokens, the partial last one included.
 * Dynamo's additions are read too: `session_id` and `delay` (ms after the answer before), and the names
 * `created_time`, `delay_ms`, `input_tokens`, `output_tokens` (lib/data-gen).
 *
 * `mooncake-delta` is the same with increments, as aiperf's generator of agentic code writes it: a later row of a
 * session holds only what is added to the prompt and the answer before it.
 */
import type { Defects, Format, Reader, ReadOptions } from '../format.ts';
import { Row } from '../row.ts';
import { depthMax, pathOf, type Trace, thinkMs } from '../trace.ts';
import { type BlockScope, TraceBuilder } from '../trace-builder.ts';

const BLOCK_TOKENS = 512;

export const mooncake: Format = {
  name: 'mooncake',
  about: 'Mooncake FAST ’25, and Dynamo’s with session_id and delay',
  recognises: (head) => head.some(({ value }) => Array.isArray(value?.hash_ids)),
  reader: (options, defects) => new MooncakeReader(options, defects, { incremental: false }),
};

export const mooncakeDelta: Format = {
  name: 'mooncake-delta',
  about: 'Mooncake rows that hold increments, of aiperf synthesize agentic-code',
  // It looks like Mooncake's: only who has the file knows.
  recognises: () => false,
  reader: (options, defects) => new MooncakeReader(options, defects, { incremental: true }),
};

interface Before {
  turn: number;
  startMs: number;
  leaf: number;
  promptTokens: number;
  outputTokens: number;
}

class MooncakeReader implements Reader {
  readonly #builder = new TraceBuilder();
  readonly #blocks: BlockScope;
  readonly #before = new Map<string, Before>();
  readonly #blockTokens: number;
  readonly #defects: Defects;
  readonly #incremental: boolean;
  #hasClock = true;

  constructor(options: ReadOptions, defects: Defects, { incremental }: { incremental: boolean }) {
    this.#blockTokens = options.blockTokens ?? BLOCK_TOKENS;
    this.#blocks = this.#builder.scope();
    this.#defects = defects;
    this.#incremental = incremental;
  }

  line(text: string, line: number): void {
    const row = Row.parse(text);
    const name = row.has('session_id') ? String(row.raw('session_id')) : `request-${line}`;
    const before = this.#before.get(name);
    const delayMs = row.timeIfAny('delay', 'delay_ms');
    const stampMs = row.timeIfAny('timestamp', 'created_time');
    const startMs = stampMs ?? (before?.startMs ?? 0) + (delayMs ?? 0);
    const added = { tokens: row.count('input_length', 'input_tokens'), ids: row.ids('hash_ids') };
    const outputTokens = row.count('output_length', 'output_tokens');
    const whole = before === undefined || !this.#incremental;
    const promptTokens = whole
      ? added.tokens
      : before.promptTokens + before.outputTokens + added.tokens;
    const leaf = this.#blocks.path(added.ids, whole ? undefined : before.leaf);
    if (stampMs === undefined && before === undefined) this.#hasClock = false;
    const thread = this.#builder.thread(this.#builder.session(name), 'main');
    const model = row.textIfAny('model') ?? 'model';
    const turn = this.#builder.turn({
      thread,
      promptTokens,
      outputTokens,
      startMs,
      serviceMs: 0,
      model,
      leaf,
    });
    if (before !== undefined) {
      this.#builder.wait({
        turn,
        on: before.turn,
        relation: 'sequence',
        ...(delayMs === undefined
          ? { trigger: 'dispatch', delayMs: Math.max(0, startMs - before.startMs) }
          : { trigger: 'completion', delayMs }),
      });
    }
    this.#before.set(name, { turn, startMs, leaf, promptTokens, outputTokens });
  }

  build(): Trace {
    const about = {
      format: this.#incremental ? mooncakeDelta.name : mooncake.name,
      clock: this.#hasClock ? ('trace' as const) : ('none' as const),
      notes: [],
      malformed: this.#defects.malformed,
    };
    return this.#builder.build(about, this.#blockTokens);
  }
}

/**
 * Whole prompts, a row per turn by starting time. Sessions of several turns carry `session_id` and `delay`; which
 * sub-agent a turn belongs to is lost, since the format has no word for it.
 */
export function* writeMooncake(trace: Trace): Generator<string> {
  const path = new Uint32Array(depthMax(trace));
  const order = Uint32Array.from(trace.leaf, (_, i) => i).sort(
    (a, b) => trace.startMs[a] - trace.startMs[b] || a - b,
  );
  for (const turn of order) {
    const thread = trace.turnThread[turn];
    const session = trace.threadSession[thread];
    const isAlone =
      trace.threadTurns[trace.sessionThreads[session + 1]] -
        trace.threadTurns[trace.sessionThreads[session]] ===
      1;
    const length = pathOf(trace.tree, trace.leaf[turn], path);
    const delay = thinkMs(trace, turn);
    const row = {
      timestamp: trace.startMs[turn],
      input_length: trace.promptTokens[turn],
      output_length: trace.outputTokens[turn],
      // The root is no block: ids count from 0 as Mooncake's do.
      hash_ids: Array.from(path.subarray(0, length), (node) => node - 1),
      ...(isAlone ? {} : { session_id: threadName(trace, thread) }),
      ...(isAlone || delay === undefined ? {} : { delay }),
    };
    yield JSON.stringify(row);
  }
}

/** A thread is what these rows call a session: its turns follow each other. */
function threadName({ threadIds, threadSession, sessionIds }: Trace, thread: number): string {
  const [id, session] = [threadIds[thread], sessionIds[threadSession[thread]]];
  return id === 'main' ? session : `${session}/${id}`;
}
