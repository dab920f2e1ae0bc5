/**
 * Token counts only, as vLLM's router keeps its Codex trace: CSV with a head and the columns `session`,
 * `prompt_tokens`, `completion_tokens`. Nothing says which prompt extends which, so a turn is taken to extend the
 * one before it in its session, and a shorter prompt (the client compacted its context) to start over.
 */
import type { Defects, Format, Reader, ReadOptions } from '../format.ts';
import { BadRow, Row } from '../row.ts';
import type { Trace } from '../trace.ts';
import { type BlockScope, TraceBuilder } from '../trace-builder.ts';

const BLOCK_TOKENS = 64;
const COLUMNS = ['session', 'prompt_tokens', 'completion_tokens'] as const;

export const tokenCounts: Format = {
  name: 'csv',
  about: 'session,prompt_tokens,completion_tokens, as vLLM’s router has them',
  recognises: (head) =>
    head.length > 0 && COLUMNS.every((name) => cells(head[0].text).includes(name)),
  reader: (options, defects) => new CountsReader(options, defects),
};

interface Before {
  turn: number;
  promptTokens: number;
  leaf: number;
  scope: BlockScope;
}

class CountsReader implements Reader {
  readonly #builder = new TraceBuilder();
  readonly #before = new Map<string, Before>();
  readonly #blockTokens: number;
  readonly #defects: Defects;
  #places: readonly number[] | undefined;

  constructor(options: ReadOptions, defects: Defects) {
    this.#blockTokens = options.blockTokens ?? BLOCK_TOKENS;
    this.#defects = defects;
  }

  line(text: string): void {
    const values = cells(text);
    if (this.#places === undefined) {
      this.#places = COLUMNS.map((name) => values.indexOf(name));
      return;
    }
    const [session, promptText, outputText] = this.#places.map((place) => values[place] ?? '');
    if (session === '') throw new BadRow('It names no session.');
    const row = new Row({
      prompt_tokens: number(promptText),
      completion_tokens: number(outputText),
    });
    const promptTokens = row.count('prompt_tokens');
    const outputTokens = row.count('completion_tokens');
    const before = this.#before.get(session);
    const extended =
      before !== undefined && promptTokens >= before.promptTokens ? before : undefined;
    const scope = extended?.scope ?? this.#builder.scope();
    let leaf = extended?.leaf ?? 0;
    const blocks = Math.floor(promptTokens / this.#blockTokens);
    for (let depth = this.#builder.depth(leaf); depth < blocks; depth++)
      leaf = scope.child(leaf, depth);
    const turn = this.#builder.turn({
      thread: this.#builder.thread(this.#builder.session(session), 'main'),
      promptTokens,
      outputTokens,
      startMs: 0,
      serviceMs: 0,
      model: 'model',
      leaf,
    });
    if (before !== undefined) {
      this.#builder.wait({
        turn,
        on: before.turn,
        delayMs: 0,
        relation: 'sequence',
        trigger: 'completion',
      });
    }
    this.#before.set(session, { turn, promptTokens, leaf, scope });
  }

  build(): Trace {
    const about = {
      format: tokenCounts.name,
      clock: 'none' as const,
      notes: [
        'The file has token counts only: a turn is taken to extend the one before it, a shorter prompt to start over, and sessions to share nothing.',
      ],
      malformed: this.#defects.malformed,
    };
    return this.#builder.build(about, this.#blockTokens);
  }
}

function cells(line: string): string[] {
  return line.split(',').map((cell) => cell.trim());
}

/** Undefined, which no column may be, where the cell holds no number. */
function number(cell: string): number | undefined {
  return cell === '' || Number.isNaN(Number(cell)) ? undefined : Number(cell);
}
