/**
 * A trace as calls of clients. Of hashes, prompts are made whose tokens are seeded from the trace's blocks, and
 * answers are forced to what the next prompt has in their place, where the server can be made to.
 */
import { assert, must } from '../base/assert.ts';
import type { Tokens } from '../ports.ts';
import { Expansion } from '../traces/expand.ts';
import type { Trace } from '../traces/trace.ts';
import type { ScriptedCall, ScriptedSession, ScriptedWait } from './drive.ts';
import { PLAIN_WORDS } from './endpoint.ts';
import type { RecordedPrompt } from './recorded-prompts.ts';
import { forcedAnswer } from './sessions.ts';

/** Whom calls are made for. */
export interface Target {
  model: string;
  /** Ids of plain words, which nothing stops at or steers by; undefined: it takes text only. */
  ids: Uint32Array | undefined;
  /** Whether its answers can be dictated. */
  forced: boolean;
  /** Else it is asked to go on to `max_tokens` by `ignore_eos`, where it takes that. */
  ignoresEos: boolean;
  /** Of its model, where that is known here. */
  tokens: Tokens | undefined;
}

export interface ReplayGiven {
  target: Target;
  seed: number;
  /** Longer gaps between calls are cut to this. */
  thinkMsMax: number;
  /** Text of a turn, where it was recorded. */
  prompts: ((turn: number) => RecordedPrompt | undefined) | undefined;
}

export function replayOf(trace: Trace, given: ReplayGiven): ScriptedSession[] {
  const { target, seed } = given;
  const vocabulary = target.ids ?? Uint32Array.from(PLAIN_WORDS, (_, i) => i);
  const expansion = new Expansion(trace, { seed, vocabulary });
  const begins = beginsOf(trace);
  return trace.sessionIds.map((id, session) => {
    const turns = turnsOf(trace, session);
    const waits = waitsOf(trace, turns, given.thinkMsMax);
    const calls = turns.map((turn, i): ScriptedCall => {
      const said = given.prompts?.(turn);
      const isLast = trace.turnThread[turn + 1] !== trace.turnThread[turn];
      const next = isLast ? undefined : given.prompts?.(turn + 1);
      const thread = trace.threadIds[trace.turnThread[turn]];
      const path = said?.kind === 'chat' ? '/v1/chat/completions' : '/v1/completions';
      const body = () => ({
        ...bodyOf(target, trace.outputTokens[turn]),
        ...(said === undefined ? expanded(expansion, turn, target) : spoken(said, next, target)),
      });
      return { thread, path, waits: waits[i], body };
    });
    return { id, startMs: begins[session], calls };
  });
}

/** What every call says: stream, greedy, and so many tokens. */
export function bodyOf(target: Target, outputTokens: number): Record<string, unknown> {
  return {
    model: target.model,
    max_tokens: Math.max(1, outputTokens),
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
    ...(!target.forced && target.ignoresEos && { ignore_eos: true }),
  };
}

function expanded(expansion: Expansion, turn: number, { ids, forced }: Target) {
  const { prompt, output } = expansion.turn(turn);
  const said = (tokens: Uint32Array) =>
    ids === undefined
      ? Array.from(tokens, (word) => ` ${PLAIN_WORDS[word]}`).join('')
      : Array.from(tokens);
  const isForced = forced && output.length > 0;
  return { prompt: said(prompt), ...(isForced && { nvext: { forced_output: said(output) } }) };
}

/** The answer to a conversation is what the thread's next prompt has after it. */
function spoken(
  said: RecordedPrompt,
  next: RecordedPrompt | undefined,
  { forced, tokens }: Target,
): Record<string, unknown> {
  if (said.kind === 'text') return { prompt: said.text };
  const messages = [...said.messages];
  const tools = [...said.tools];
  const fields = { messages, ...(tools.length > 0 && { tools }) };
  const answer = next?.kind === 'chat' ? next.messages[messages.length] : undefined;
  const isAnswer = (answer as { role?: unknown } | undefined)?.role === 'assistant';
  if (!forced || tokens === undefined || !isAnswer) return fields;
  const session = { id: '', tools, calls: [] };
  const forcedOutput = forcedAnswer(session, { messages, answer }, tokens);
  return { ...fields, max_tokens: undefined, nvext: { forced_output: forcedOutput } };
}

/** Ids of tokens that are plain ASCII words. */
export function plainVocabulary(tokens: Tokens): Uint32Array {
  const plain: number[] = [];
  for (let id = 0; id < tokens.vocabularySize; id++) {
    if (tokens.specials.has(id)) continue;
    const text = Buffer.from(tokens.bytesOf(id)).toString('latin1');
    if (/^ ?[a-zA-Z]+$/.test(text)) plain.push(id);
  }
  must(plain[0], 'a vocabulary has words');
  return Uint32Array.from(plain);
}

function turnsOf(trace: Trace, session: number): number[] {
  const first = trace.threadTurns[trace.sessionThreads[session]];
  const end = trace.threadTurns[trace.sessionThreads[session + 1]];
  const turns = Array.from({ length: end - first }, (_, i) => first + i);
  return turns.sort((a, b) => trace.startMs[a] - trace.startMs[b] || a - b);
}

/**
 * As recorded, within the session. A turn that waits for nothing, in a session that has begun, follows whatever was
 * sent before it: then a gap that is cut moves it as well.
 */
function waitsOf(trace: Trace, turns: readonly number[], thinkMsMax: number): ScriptedWait[][] {
  const { begin, on, delayMs, onDispatch } = trace.waits;
  const places = new Map(turns.map((turn, place) => [turn, place]));
  const found = turns.map((turn, place) => {
    const waits: ScriptedWait[] = [];
    for (let i = begin[turn]; i < begin[turn + 1]; i++) {
      const other = places.get(on[i]);
      if (other === undefined) continue;
      const delay = Math.min(delayMs[i], thinkMsMax);
      waits.push({ on: other, delayMs: delay, onDispatch: onDispatch[i] === 1 });
    }
    const gapMs = place === 0 ? 0 : trace.startMs[turn] - trace.startMs[turns[place - 1]];
    if (waits.length > 0 || gapMs <= 0) return waits;
    return [{ on: place - 1, delayMs: Math.min(gapMs, thinkMsMax), onDispatch: true }];
  });
  assert(leadsNowhereBack(found), 'calls of a trace wait for each other in a circle');
  return found;
}

function leadsNowhereBack(waits: readonly (readonly ScriptedWait[])[]): boolean {
  const open = waits.map(({ length }) => length);
  const followers = waits.map((): number[] => []);
  waits.forEach((list, call) => {
    for (const { on } of list) followers[on].push(call);
  });
  const free = open.flatMap((count, call) => (count === 0 ? [call] : []));
  for (let i = 0; i < free.length; i++) {
    for (const follower of followers[free[i]]) if (--open[follower] === 0) free.push(follower);
  }
  return free.length === waits.length;
}

/**
 * When each session begins, milliseconds after the first; 0 without a common clock. Stamps may be coarse
 * (Mooncake's are buckets of seconds): sessions of one stamp are spread evenly up to the next.
 */
function beginsOf(trace: Trace): Float64Array {
  const begins = new Float64Array(trace.sessionCount);
  if (trace.about.clock !== 'trace') return begins;
  const stamps = trace.sessionIds.map(
    (_, session) => trace.startMs[turnsOf(trace, session)[0]] ?? 0,
  );
  const order = stamps.map((_, session) => session).sort((a, b) => stamps[a] - stamps[b]);
  for (let i = 0; i < order.length; ) {
    const stampMs = stamps[order[i]];
    let end = i;
    while (end < order.length && stamps[order[end]] === stampMs) end++;
    const nextMs = end < order.length ? stamps[order[end]] : stampMs;
    for (let j = i; j < end; j++) {
      const spreadMs = ((nextMs - stampMs) * (j - i)) / (end - i);
      begins[order[j]] = stampMs - stamps[order[0]] + spreadMs;
    }
    i = end;
  }
  return begins;
}
