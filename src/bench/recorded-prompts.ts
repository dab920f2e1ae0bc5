/** The text of a recording that holds it (`stator trace record --text`), found again by turn. */
import { eachLine } from '../traces/read-trace.ts';
import type { Trace } from '../traces/trace.ts';

export type RecordedPrompt =
  | { kind: 'chat'; messages: readonly unknown[]; tools: readonly unknown[] }
  | { kind: 'text'; text: string };

interface Row {
  session: string;
  thread?: string;
  startMs: number;
  promptTokens: number;
  prompt?: { keep: number; messages: unknown[]; tools?: unknown[] } | { text: string };
}

/** By turn; undefined where the file holds no text. Rows that the trace's reader left out are found by nobody. */
export async function readPrompts(
  path: string,
  trace: Trace,
): Promise<((turn: number) => RecordedPrompt | undefined) | undefined> {
  const prompts = new Map<string, RecordedPrompt>();
  const threads = new Map<string, RecordedPrompt & { kind: 'chat' }>();
  await eachLine(path, (line) => {
    const row = rowIn(line);
    if (row?.prompt === undefined) return;
    const key = `${row.session} ${row.thread ?? 'main'}`;
    let prompt: RecordedPrompt;
    if ('text' in row.prompt) {
      prompt = { kind: 'text', text: row.prompt.text };
    } else {
      const { keep, messages, tools } = row.prompt;
      const before = threads.get(key);
      const kept = before?.messages.slice(0, keep) ?? [];
      prompt = {
        kind: 'chat',
        messages: [...kept, ...messages],
        tools: tools ?? before?.tools ?? [],
      };
      threads.set(key, prompt);
    }
    prompts.set(`${key} ${row.startMs} ${row.promptTokens}`, prompt);
  });
  if (prompts.size === 0) return undefined;
  return (turn) => {
    const thread = trace.turnThread[turn];
    const session = trace.sessionIds[trace.threadSession[thread]];
    const moment = `${trace.startMs[turn]} ${trace.promptTokens[turn]}`;
    return prompts.get(`${session} ${trace.threadIds[thread]} ${moment}`);
  };
}

function rowIn(line: string): Row | undefined {
  try {
    const row = JSON.parse(line) as Partial<Row> | null;
    return typeof row?.session === 'string' ? (row as Row) : undefined;
  } catch {
    return undefined; // Torn; the trace's reader counted it.
  }
}
