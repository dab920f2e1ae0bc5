/**
 * What a request is for: an agent's turn, a call beside it, or the summary that ends a prefix. Some
 * clients say so; of others it shows in the tools they leave out, for agents always send theirs.
 * Measured: agent-clients.md, "Recognising a session", rules 3 and 4.
 */
import type { Purpose, PurposeKind, ToolRun } from '../model/session.ts';
import { type Headers, present } from '../wire/headers.ts';

/** What the client says of it; a turn where it says nothing. */
export function purposeSaid(headers: Headers): Purpose {
  return (
    byStator(headers) ?? byClaudeCode(headers) ?? byCodex(headers) ?? byDeepseek(headers) ?? A_TURN
  );
}

/** Said outright. */
function byStator(headers: Headers): Purpose | undefined {
  const by = 'x-stator-purpose';
  const kind = KINDS.find((one) => one === present(headers, by));
  return kind && { kind, by };
}

const KINDS: readonly PurposeKind[] = ['turn', 'side', 'compaction', 'prewarm'];

const A_TURN: Purpose = { kind: 'turn', by: 'nothing' };

/** Only with CLAUDE_CODE_GATEWAY_HINT_HEADERS=1; x-claude-1p-request-class calls a compaction `main`. */
function byClaudeCode(headers: Headers): Purpose | undefined {
  const by = 'x-claude-code-request-class';
  const kind = CLAUDE_CLASSES.get(present(headers, by) ?? '');
  if (kind !== undefined) return { kind, by };
  const compaction = 'x-claude-code-compaction';
  return present(headers, compaction) === undefined
    ? undefined
    : { kind: 'compaction', by: compaction };
}

const CLAUDE_CLASSES = new Map<string, PurposeKind>([
  ['main', 'turn'],
  ['subagent', 'turn'],
  ['workflow', 'turn'],
  ['auxiliary', 'side'],
  ['side_reply', 'side'],
  ['compaction', 'compaction'],
]);

function byCodex(headers: Headers): Purpose | undefined {
  const by = 'x-codex-turn-metadata';
  const metadata = objectIn(present(headers, by));
  if (metadata === undefined) return undefined;
  if (metadata.thread_source === 'thread_title') return { kind: 'side', by };
  switch (metadata.request_kind) {
    case 'turn':
    case 'compaction':
    case 'prewarm':
      return { kind: metadata.request_kind, by };
    default:
      return undefined;
  }
}

function byDeepseek(headers: Headers): Purpose | undefined {
  const by = 'x-deepseek-harness-compact';
  return present(headers, by) === '1' ? { kind: 'compaction', by } : undefined;
}

/** What is known of a request and its thread beyond headers. */
export interface Looks {
  tools: number;
  /** The answer must be JSON. */
  isFormatted: boolean;
  /** The thread was served a turn with tools before. */
  hadTools: boolean;
  /** The client is one whose agents always send tools. */
  isAgent: boolean;
}

/** What it looks like; undefined where it looks like a turn. */
export function purposeShown({
  tools,
  isFormatted,
  hadTools,
  isAgent,
}: Looks): Purpose | undefined {
  if (tools > 0 || !(hadTools || isAgent)) return undefined;
  if (isFormatted) return { kind: 'side', by: 'no tools, formatted' };
  // Before a thread was answered there is nothing to summarise: titles are asked for beside its first turn.
  return hadTools
    ? { kind: 'compaction', by: 'no tools, where the thread had some' }
    : { kind: 'side', by: 'no tools, before the first turn' };
}

/** Whose agents always send tools: Claude Code, Codex, opencode and Kilo. */
export function isAgentsOwn(headers: Headers): boolean {
  if (present(headers, 'x-claude-code-session-id') !== undefined) return true;
  if (present(headers, 'originator')?.startsWith('codex') === true) return true;
  return /^(opencode|kilo)/i.test(present(headers, 'user-agent') ?? '');
}

/** `Bash=174;Read=12`, in milliseconds; what is malformed is left out. */
export function toolsRan(headers: Headers): ToolRun[] {
  const runs: ToolRun[] = [];
  for (const run of present(headers, 'x-claude-code-prev-tool-durations')?.split(';') ?? []) {
    const [, tool, ms] = /^\s*([^=;]{1,64})=(\d{1,9})\s*$/.exec(run) ?? [];
    if (tool !== undefined && runs.length < TOOL_RUNS_MAX)
      runs.push({ tool, us: 1000 * Number(ms) });
  }
  return runs;
}

const TOOL_RUNS_MAX = 64;

/** Longer is no client's. */
const JSON_CHARACTERS_MAX = 16_384;

function objectIn(text: string | undefined): Record<string, unknown> | undefined {
  if (text === undefined || text.length > JSON_CHARACTERS_MAX) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined; // A client that writes something else there tells nothing by it.
  }
}
