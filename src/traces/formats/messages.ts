/**
 * Recorded conversations: a JSON object per session with OpenAI chat `messages`. Every assistant message is a
 * turn whose prompt is everything before it. `calls` may list when each was sent (`t_us`, and `prompt_messages`,
 * the number of messages before the answer); `tools`, or `tools_ref` (a file beside the trace), are the tools.
 *
 * Blocks come from the model's own tokenizer where one is given. Else four characters count as a token, which
 * keeps what prompts share and only scales lengths; the trace then says so.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Conversations, Defects, Format, Reader, ReadOptions } from '../format.ts';
import { BadRow, Row } from '../row.ts';
import type { Trace } from '../trace.ts';
import { type BlockScope, TraceBuilder } from '../trace-builder.ts';

const CHARACTERS_PER_TOKEN = 4;
const BLOCK_TOKENS = 16;

export const messages: Format = {
  name: 'messages',
  about: 'OpenAI chat messages, a session per line',
  recognises: (head) => Array.isArray(head[0]?.value?.messages),
  reader: (options, defects) => new MessagesReader(options, defects),
};

interface Call {
  /** Messages before the answer. */
  promptMessages: number;
  startMs: number | undefined;
}

class MessagesReader implements Reader {
  readonly #builder = new TraceBuilder();
  readonly #blocks: BlockScope;
  readonly #conversations: Conversations;
  readonly #toolFiles = new Map<string, unknown[]>();
  readonly #options: ReadOptions;
  readonly #defects: Defects;
  #timed = 0;

  constructor(options: ReadOptions, defects: Defects) {
    this.#options = options;
    this.#defects = defects;
    this.#blocks = this.#builder.scope();
    this.#conversations = options.conversations ?? charactersAsTokens(options.blockTokens);
  }

  line(text: string, line: number): void {
    const row = Row.parse(text);
    const list = row.list('messages');
    const tools = this.#tools(row);
    const calls = callsOf(row, list);
    if (calls.length === 0) throw new BadRow('It holds no answer of an assistant.');
    const session = this.#builder.session(row.textIfAny('session_id') ?? `session-${line}`);
    const thread = this.#builder.thread(session, 'main');
    let before: { turn: number; startMs: number } | undefined;
    for (const { promptMessages, startMs } of calls) {
      const prompt = this.#conversations.prompt(list.slice(0, promptMessages), tools);
      const turn = this.#builder.turn({
        thread,
        promptTokens: prompt.tokens,
        outputTokens: this.#conversations.answerTokens(list[promptMessages]),
        startMs: startMs ?? 0,
        serviceMs: 0,
        model: this.#conversations.model,
        leaf: this.#blocks.path(prompt.ids),
      });
      if (startMs !== undefined) this.#timed++;
      if (before !== undefined) {
        this.#builder.wait({
          turn,
          on: before.turn,
          relation: 'sequence',
          // Sending times do not say when the answer was there: the gap runs from sending to sending.
          ...(startMs === undefined
            ? { trigger: 'completion', delayMs: 0 }
            : { trigger: 'dispatch', delayMs: Math.max(0, startMs - before.startMs) }),
        });
      }
      before = { turn, startMs: startMs ?? 0 };
    }
  }

  build(): Trace {
    const { model, blockTokens } = this.#conversations;
    const note =
      this.#options.conversations === undefined
        ? `No tokenizer was given (--model): ${CHARACTERS_PER_TOKEN} characters count as a token.`
        : `Tokens are ${model}'s.`;
    const about = {
      format: messages.name,
      clock: this.#timed > 0 ? ('session' as const) : ('none' as const),
      notes: [note],
      malformed: this.#defects.malformed,
    };
    return this.#builder.build(about, blockTokens);
  }

  #tools(row: Row): unknown[] {
    if (row.has('tools')) return row.list('tools');
    const name = row.textIfAny('tools_ref');
    if (name === undefined) return [];
    const known = this.#toolFiles.get(name);
    if (known !== undefined) return known;
    // Only beside the trace: what a file says is no reason to read elsewhere.
    const path = join(this.#options.folder, basename(name));
    if (!existsSync(path))
      throw new BadRow(`The tools ${path}, which it refers to, are not there.`);
    const tools: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (!Array.isArray(tools)) throw new BadRow(`${path} holds no list of tools.`);
    this.#toolFiles.set(name, tools);
    return tools;
  }
}

function callsOf(row: Row, list: readonly unknown[]): Call[] {
  const answers = new Set<number>();
  list.forEach((message, at) => {
    if (at > 0 && new Row(message).raw('role') === 'assistant') answers.add(at);
  });
  if (!row.has('calls'))
    return Array.from(answers, (promptMessages) => ({ promptMessages, startMs: undefined }));
  return row.rows('calls').flatMap((call): Call[] => {
    const promptMessages = call.count('prompt_messages');
    return answers.has(promptMessages)
      ? [{ promptMessages, startMs: call.time('t_us') / 1000 }]
      : [];
  });
}

/** Tools first and then message after message: any order that appends as conversations do keeps what they share. */
function charactersAsTokens(blockTokens: number | undefined): Conversations {
  const tokens = blockTokens ?? BLOCK_TOKENS;
  const characters = tokens * CHARACTERS_PER_TOKEN;
  return {
    model: 'text',
    blockTokens: tokens,
    prompt: (list, tools) => {
      const text = [JSON.stringify(tools), ...list.map((message) => JSON.stringify(message))].join(
        '\n',
      );
      const ids: string[] = [];
      for (let at = 0; at + characters <= text.length; at += characters) {
        ids.push(text.slice(at, at + characters));
      }
      return { tokens: Math.ceil(text.length / CHARACTERS_PER_TOKEN), ids };
    },
    answerTokens: (message) => Math.ceil(JSON.stringify(message).length / CHARACTERS_PER_TOKEN),
  };
}
