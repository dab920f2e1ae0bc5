/**
 * Stator's own recording: JSONL, hashes only. A header
 *
 *     {"schema": "stator.recording", "version": 1, "blockTokens": 16, "clock": "trace"}
 *
 * and a row per turn, threads' turns in their order:
 *
 *     {"id": "r2", "session": "s", "thread": "main", "model": "m", "startMs": 0, "serviceMs": 0,
 *      "promptTokens": 40, "outputTokens": 9, "keep": 1, "blocks": ["a3f0…"],
 *      "waits": [{"on": "r1", "delayMs": 5, "relation": "sequence", "trigger": "completion"}]}
 *
 * `blocks` are ids of the blocks after the first `keep` of the thread's turn before: a session of n turns costs
 * what its last prompt costs, not n times that. Ids mean nothing outside the file; a recorder takes chained hashes
 * under a salt that it forgets, so that nobody can try texts against them. `end`: how the answer ended, `tools` or
 * `answered`, where that is known. Of a recorder there may be more in a row:
 * `tenant`, `estimated` (its tokens are counted by characters) and `prompt` (text, where it was asked for).
 */
import type { Defects, Format, Reader } from '../format.ts';
import { BadRow, Row } from '../row.ts';
import {
  depthMax,
  pathOf,
  RELATIONS,
  type Relation,
  type Trace,
  type TraceAbout,
  TURN_ENDS,
} from '../trace.ts';
import { type BlockScope, TraceBuilder } from '../trace-builder.ts';

const SCHEMA = 'stator.recording';
const VERSION = 1;
const CLOCKS: readonly TraceAbout['clock'][] = ['trace', 'session', 'none'];

export const recording: Format = {
  name: 'recording',
  about: 'Stator’s own',
  recognises: (head) => head[0]?.value?.schema === SCHEMA,
  reader: (_options, defects) => new RecordingReader(defects),
};

class RecordingReader implements Reader {
  readonly #builder = new TraceBuilder();
  readonly #blocks: BlockScope;
  readonly #defects: Defects;
  readonly #turns = new Map<string, number>();
  /** By thread: the path of its last turn. */
  readonly #paths = new Map<number, number[]>();
  readonly #waits: { line: number; turn: number; row: Row }[] = [];
  #estimated = 0;
  #header: { blockTokens: number; clock: TraceAbout['clock'] } | undefined;

  constructor(defects: Defects) {
    this.#defects = defects;
    this.#blocks = this.#builder.scope();
  }

  line(text: string, line: number): void {
    const row = Row.parse(text);
    if (this.#header === undefined) {
      this.#header = headerOf(row);
      return;
    }
    const id = row.text('id');
    if (this.#turns.has(id)) throw new BadRow(`id ${id} was there before.`);
    const names = { session: row.text('session'), thread: row.textIfAny('thread') ?? 'main' };
    const read = {
      model: row.text('model'),
      startMs: row.time('startMs'),
      serviceMs: row.timeIfAny('serviceMs') ?? 0,
      promptTokens: row.count('promptTokens'),
      outputTokens: row.count('outputTokens'),
      end: TURN_ENDS.find((one) => one === row.raw('end')),
    };
    const keep = row.count('keep');
    const ids = row.ids('blocks');
    const waits = row.has('waits') ? row.rows('waits') : [];
    const thread = this.#builder.thread(this.#builder.session(names.session), names.thread);
    const path = this.#paths.get(thread) ?? [];
    if (keep > path.length) {
      throw new BadRow(`keep is ${keep}, but the turn before has ${path.length} blocks.`);
    }
    path.length = keep;
    for (const block of ids) path.push(this.#blocks.child(path.at(-1) ?? 0, block));
    this.#paths.set(thread, path);
    const turn = this.#builder.turn({ ...read, thread, leaf: path.at(-1) ?? 0 });
    this.#turns.set(id, turn);
    if (row.raw('estimated') === true) this.#estimated++;
    for (const wait of waits) this.#waits.push({ line, turn, row: wait });
  }

  build(): Trace {
    for (const { line, turn, row } of this.#waits) {
      try {
        this.#wait(turn, row);
      } catch (error) {
        if (!(error instanceof BadRow)) throw error;
        this.#defects.add(line, error);
      }
    }
    const about = {
      format: recording.name,
      clock: this.#header?.clock ?? 'none',
      notes:
        this.#estimated === 0
          ? []
          : [
              `The tokens of ${this.#estimated} prompts are estimated: four characters are a token.`,
            ],
      malformed: this.#defects.malformed,
    };
    return this.#builder.build(about, this.#header?.blockTokens ?? 1);
  }

  #wait(turn: number, row: Row): void {
    const on = this.#turns.get(row.text('on'));
    const relation = RELATIONS.find((one) => one === row.raw('relation'));
    const trigger = row.text('trigger');
    if (on === undefined) throw new BadRow(`It waits for ${row.text('on')}, which is not there.`);
    if (relation === undefined || (trigger !== 'dispatch' && trigger !== 'completion')) {
      throw new BadRow(`There is no wait of relation ${row.raw('relation')} on ${trigger}.`);
    }
    this.#builder.wait({ turn, on, delayMs: row.time('delayMs'), relation, trigger });
  }
}

function headerOf(row: Row) {
  const version = row.count('version');
  if (row.text('schema') !== SCHEMA || version !== VERSION) {
    throw new BadRow(`This Stator reads ${SCHEMA} version ${VERSION}, not version ${version}.`);
  }
  const clock = CLOCKS.find((one) => one === row.raw('clock'));
  if (clock === undefined) throw new BadRow(`clock must be one of ${CLOCKS.join(', ')}.`);
  return { blockTokens: row.count('blockTokens'), clock };
}

/** Loses nothing of a trace but its notes. */
export function* writeRecording(trace: Trace): Generator<string> {
  const { blockTokens, waits } = trace;
  yield JSON.stringify({ schema: SCHEMA, version: VERSION, blockTokens, clock: trace.about.clock });
  let path = new Uint32Array(depthMax(trace));
  let before = new Uint32Array(path.length);
  let beforeLength = 0;
  for (let turn = 0; turn < trace.turnCount; turn++) {
    const thread = trace.turnThread[turn];
    if (turn === trace.threadTurns[thread]) beforeLength = 0;
    const length = pathOf(trace.tree, trace.leaf[turn], path);
    let keep = 0;
    while (keep < Math.min(length, beforeLength) && path[keep] === before[keep]) keep++;
    const rows: { on: string; delayMs: number; relation: Relation; trigger: string }[] = [];
    for (let i = waits.begin[turn]; i < waits.begin[turn + 1]; i++) {
      rows.push({
        on: `r${waits.on[i]}`,
        delayMs: waits.delayMs[i],
        relation: RELATIONS[waits.relation[i]],
        trigger: waits.onDispatch[i] === 1 ? 'dispatch' : 'completion',
      });
    }
    yield JSON.stringify({
      id: `r${turn}`,
      session: trace.sessionIds[trace.threadSession[thread]],
      thread: trace.threadIds[thread],
      model: trace.models[trace.turnModel[turn]],
      startMs: trace.startMs[turn],
      serviceMs: trace.serviceMs[turn],
      promptTokens: trace.promptTokens[turn],
      outputTokens: trace.outputTokens[turn],
      ...(trace.turnEnd[turn] === 0 ? {} : { end: TURN_ENDS[trace.turnEnd[turn]] }),
      keep,
      blocks: Array.from(path.subarray(keep, length), (node) => node.toString(16)),
      ...(rows.length === 0 ? {} : { waits: rows }),
    });
    [path, before] = [before, path];
    beforeLength = length;
  }
}
