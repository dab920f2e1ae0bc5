/**
 * Recorded agent sessions: a folder with `messages.jsonl` (or `.gz`), one session per line with OpenAI
 * chat `messages`, and the tools they refer to. Every assistant message is one call whose prompt is
 * everything before it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { assert, must } from '../base/assert.ts';
import { answerText } from '../engines/answer-text.ts';
import { textOf } from '../model/request.ts';
import type { Tokens } from '../ports.ts';
import { openaiChat } from '../wire/openai-chat.ts';

export interface Session {
  id: string;
  tools: unknown[];
  calls: Call[];
}

export interface Call {
  /** The prompt, as the client would send it. */
  messages: unknown[];
  /** What the model answered then. */
  answer: unknown;
}

/** Throws one sentence where the folder holds no sessions. */
export function readSessions(folder: string): Session[] {
  const lines = readLines(folder);
  return lines.flatMap((line, i): Session[] => {
    const record = JSON.parse(line) as {
      session_id?: string;
      messages: { role: string }[];
      tools_ref?: string;
    };
    const tools = record.tools_ref === undefined ? [] : readTools(join(folder, record.tools_ref));
    const calls: Call[] = [];
    record.messages.forEach((message, at) => {
      if (message.role !== 'assistant' || at === 0) return;
      calls.push({ messages: record.messages.slice(0, at), answer: message });
    });
    return calls.length === 0 ? [] : [{ id: record.session_id ?? `session-${i}`, tools, calls }];
  });
}

/** The text an engine must emit so that the next recorded turn extends it. */
export function forcedAnswer(session: Session, call: Call, tokens: Tokens): string {
  const messages = [...call.messages, call.answer];
  const { prompt } = openaiChat.parse({ model: 'any', messages, tools: session.tools });
  assert(prompt.kind === 'chat', 'chat completions are conversations');
  const { chat } = prompt;
  const answer = must(chat.messages.at(-1), 'an answer was recorded');
  const before = { ...chat, messages: chat.messages.slice(0, -1) };
  // A template that rewrites history knows no such text: then the plain content has to do.
  return answerText(tokens, before, answer) ?? textOf(answer.content);
}

function readLines(folder: string): string[] {
  const plain = join(folder, 'messages.jsonl');
  const packed = `${plain}.gz`;
  let text: string;
  if (existsSync(plain)) text = readFileSync(plain, 'utf8');
  else if (existsSync(packed)) text = gunzipSync(readFileSync(packed)).toString('utf8');
  else throw new Error(`${folder} holds no messages.jsonl or messages.jsonl.gz.`);
  return text.split('\n').filter((line) => line.trim() !== '');
}

function readTools(path: string): unknown[] {
  if (!existsSync(path))
    throw new Error(`The tools ${path}, which sessions refer to, are not there.`);
  return JSON.parse(readFileSync(path, 'utf8')) as unknown[];
}
