/** `stator trace describe|convert`: what a trace is like, and the same trace in another format. */
import { createWriteStream, writeFileSync } from 'node:fs';
import { type Duplex, Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { assert } from '../base/assert.ts';
import { thousands } from '../base/text.ts';
import { textOf } from '../model/request.ts';
import type { Conversations } from '../traces/format.ts';
import { writeAgenticMooncake } from '../traces/formats/agentic-mooncake-writer.ts';
import { writeMooncake } from '../traces/formats/mooncake.ts';
import { writeRecording } from '../traces/formats/recording.ts';
import { generateSessions } from '../traces/generate/coding-agents.ts';
import { PUBLISHED_CODING_AGENTS } from '../traces/generate/published.ts';
import { CODING_AGENTS, LIVE_CODING_AGENTS } from '../traces/generate/settings.ts';
import { readTrace, TraceError } from '../traces/read-trace.ts';
import { sharingOf } from '../traces/reuse.ts';
import { summarySvg } from '../traces/summary-svg.ts';
import { summaryText } from '../traces/summary-text.ts';
import type { Trace } from '../traces/trace.ts';
import { summarize } from '../traces/trace-summary.ts';
import { openaiChat } from '../wire/openai-chat.ts';
import { Complaint } from './complaint.ts';
import { loadModel } from './load-model.ts';
import { chooseModel } from './model-choice.ts';

const BLOCK_TOKENS = 16;

const GENERATORS = {
  'coding-agents': CODING_AGENTS,
  'coding-agents-live': LIVE_CODING_AGENTS,
};

const WRITERS: Record<
  string,
  (trace: Trace, flags: { scope: 'local' | 'global' }) => Iterable<string>
> = {
  mooncake: writeMooncake,
  agentic: writeAgenticMooncake,
  recording: writeRecording,
};

/** Where the trace comes from: a file, or a generator. */
export interface SourceFlags {
  format?: string;
  generate?: string;
  seed: number;
  sessions?: number;
  sharedPrefix?: number;
  blockTokens?: number;
  model?: string;
}

export interface DescribeFlags extends SourceFlags {
  json?: boolean;
  svg?: string;
  live: number;
  thinkCapS: number;
  maxContext?: number;
}

export async function describeTrace(file: string | undefined, flags: DescribeFlags): Promise<void> {
  const trace = await traceFrom(file, flags);
  const { summary, values } = summarize(trace, {
    live: flags.live,
    thinkMsMax: flags.thinkCapS * 1000,
    contextTokensMax: flags.maxContext,
  });
  if (flags.svg !== undefined) writeOut(flags.svg, summarySvg({ summary, values }));
  const beside = flags.generate === 'coding-agents' ? PUBLISHED_CODING_AGENTS : undefined;
  const text = flags.json
    ? JSON.stringify({ ...summary, published: beside }, null, 2)
    : [summaryText(summary, beside), ...(beside ? [`Published: ${beside.source}.`] : [])].join(
        '\n',
      );
  process.stdout.write(`${text}\n`);
}

function writeOut(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new Complaint(`${path} cannot be written: ${(error as Error).message}.`);
  }
}

export interface ConvertFlags extends SourceFlags {
  to: string;
  out?: string;
  scope: 'local' | 'global';
}

export async function convertTrace(file: string | undefined, flags: ConvertFlags): Promise<void> {
  const { to, out, scope } = flags;
  if (!Object.hasOwn(WRITERS, to)) {
    const known = Object.keys(WRITERS).join(', ');
    throw new Complaint(`A trace cannot be written as '${to}'; choose among ${known}.`, 2);
  }
  const trace = await traceFrom(file, flags);
  const lines = Readable.from(ended(WRITERS[to](trace, { scope })));
  const steps: (Duplex | Writable)[] = out?.endsWith('.gz') ? [createGzip()] : [];
  steps.push(out === undefined ? process.stdout : createWriteStream(out));
  try {
    await pipeline([lines, ...steps], { end: out !== undefined });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // Who reads our output has read enough.
    if (code === 'EPIPE') return;
    throw code === undefined ? error : new Complaint(`${out} cannot be written: ${message}.`);
  }
  const said = [
    `${thousands(trace.turnCount)} turns of ${thousands(trace.sessionCount)} sessions.`,
    ...lossesOf(trace, { to, scope }),
  ];
  process.stderr.write(`${said.join('\n')}\n`);
}

function* ended(lines: Iterable<string>): Generator<string> {
  for (const line of lines) yield `${line}\n`;
}

/** What the other format has no word for, and what was not read in the first place. */
function lossesOf(
  trace: Trace,
  { to, scope }: { to: string; scope: 'local' | 'global' },
): string[] {
  const { malformed, notes } = trace.about;
  const lost = [...notes];
  if (malformed.count > 0) lost.push(`${malformed.count} rows could not be used.`);
  const all = trace.sessionIds.map((_, session) => session);
  const { sharedBlocks, distinctBlocks } = sharingOf(trace, all);
  if (to === 'agentic' && scope === 'local' && sharedBlocks > 0) {
    const share = ((sharedBlocks / distinctBlocks) * 100).toFixed(1);
    lost.push(
      `${share} % of the blocks are shared by sessions, which local ids cannot say; --scope global keeps it, for Stator.`,
    );
  }
  if (to !== 'recording' && trace.about.clock === 'session') {
    lost.push("Each session's clock begins at 0, so all seem to begin at once.");
  }
  if (to === 'mooncake' && trace.threadCount > trace.sessionCount) {
    lost.push('Threads of a session became sessions, and nobody waits for a sub-agent any more.');
  }
  return lost;
}

export async function traceFrom(file: string | undefined, flags: SourceFlags): Promise<Trace> {
  if ((file === undefined) === (flags.generate === undefined)) {
    throw new Complaint('Give either a trace or --generate.', 2);
  }
  if (file === undefined) return generated(flags);
  try {
    return await readTrace(file, {
      format: flags.format,
      blockTokens: flags.blockTokens,
      sharedPrefixShare: flags.sharedPrefix,
      conversations: await conversationsOf(flags.model),
    });
  } catch (error) {
    if (error instanceof TraceError) throw new Complaint(error.message);
    throw error;
  }
}

function generated({ generate = '', seed, sessions, blockTokens }: SourceFlags): Trace {
  if (!Object.hasOwn(GENERATORS, generate)) {
    const known = Object.keys(GENERATORS).join(', ');
    throw new Complaint(`There is no generator '${generate}'; choose among ${known}.`, 2);
  }
  const settings = GENERATORS[generate as keyof typeof GENERATORS];
  const own = {
    sessions: sessions ?? settings.sessions,
    blockTokens: blockTokens ?? settings.blockTokens,
  };
  return generateSessions({ ...settings, ...own }, seed);
}

/** Text → blocks by a model's own tokenizer and template. */
async function conversationsOf(named: string | undefined): Promise<Conversations | undefined> {
  if (named === undefined) return undefined;
  const { tokens, name } = await modelNamed(named);
  const { hasher } = tokens;
  return {
    model: name,
    blockTokens: BLOCK_TOKENS,
    prompt: (messages, tools) => {
      const { prompt } = openaiChat.parse({ model: name, messages, tools });
      assert(prompt.kind === 'chat', 'chat completions are conversations');
      const ids = tokens.encode(tokens.render(prompt.chat));
      const hashes = hasher.blocks(hasher.root(''), ids);
      return { tokens: ids.length, ids: Array.from(hashes, (hash) => hash.toString(16)) };
    },
    answerTokens: (message) => {
      const messages = [{ role: 'user', content: '' }, message];
      const { prompt } = openaiChat.parse({ model: name, messages });
      assert(prompt.kind === 'chat', 'chat completions are conversations');
      const answer = prompt.chat.messages.at(-1);
      const calls = answer?.role === 'assistant' ? answer.toolCalls : [];
      const text = [
        textOf(answer?.content ?? []),
        ...calls.map((call) => `${call.name}${call.argumentsJson}`),
      ];
      return tokens.encode(text.join('\n')).length;
    },
  };
}

async function modelNamed(named: string) {
  try {
    const { path, name } = await chooseModel(named);
    return { name, tokens: loadModel(path, BLOCK_TOKENS).tokens };
  } catch (error) {
    throw new Complaint((error as Error).message, 2);
  }
}
