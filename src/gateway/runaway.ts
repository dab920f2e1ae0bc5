/**
 * Stops programs that got stuck, where the configuration or the request's own headers say when: an agent
 * that makes the same tool calls turn after turn, a session that has used up its tokens. The refusal is
 * a mistake of the request in each wire's words, since those are what no client tries again.
 */
import { Lru } from '../base/lru.ts';
import type { RunawayConfig } from '../model/agent-config.ts';
import { GatewayError } from '../model/error.ts';
import type { Chat, Message, ToolCall } from '../model/request.ts';
import { textOf } from '../model/request.ts';
import type { Identity } from '../model/session.ts';
import type { Sink } from '../ports.ts';
import { type Headers, present } from '../wire/headers.ts';
import type { Prompt } from '../wire/wire.ts';

/** How often, and how much, at most; undefined: without end. */
interface Bounds {
  repeatsMax: number | undefined;
  tokensMax: number | undefined;
}

/** Programs whose stop was logged; of more the log tells again. */
const STOPPED_MAX = 10_000;

export class Runaway {
  #bounds: RunawayConfig;
  readonly #spentOf: (who: Identity) => number;
  readonly #sink: Sink;
  readonly #stopped = new Lru<string, true>(STOPPED_MAX);

  /** `spentOf`: tokens that were computed for a session, prompts and answers. */
  constructor(given: { bounds: RunawayConfig; spentOf: (who: Identity) => number; sink: Sink }) {
    this.#bounds = given.bounds;
    this.#spentOf = given.spentOf;
    this.#sink = given.sink;
  }

  /** For requests that come from now on. */
  bound(bounds: RunawayConfig): void {
    this.#bounds = bounds;
  }

  /** Throws `runaway_tool_calls` or `token_budget_exceeded`. */
  check(request: { who: Identity; prompt: Prompt; headers: Headers }): void {
    const { who, prompt, headers } = request;
    const { repeatsMax, tokensMax } = boundsOf(this.#bounds, headers);
    if (repeatsMax !== undefined && prompt.kind === 'chat') {
      if (repeatsOf(prompt.chat, repeatsMax) >= repeatsMax) {
        throw this.#stop(who, new GatewayError('runaway_tool_calls', loopSentence(repeatsMax)));
      }
    }
    if (tokensMax === undefined) return;
    const spent = this.#spentOf(who);
    if (spent < tokensMax) return;
    const sentence = budgetSentence(spent, tokensMax);
    throw this.#stop(who, new GatewayError('token_budget_exceeded', sentence));
  }

  /** Its client may well ask again: it is logged once. */
  #stop({ tenant, session }: Identity, error: GatewayError): GatewayError {
    const key = JSON.stringify([tenant, session, error.code]);
    if (this.#stopped.get(key) === undefined) {
      this.#stopped.set(key, true);
      const which = session === undefined ? 'A program' : `Session ${JSON.stringify(session)}`;
      const sentence = `${which} of tenant ${JSON.stringify(tenant)} was stopped: ${error.message}`;
      this.#sink.note({ kind: 'warning', sentence });
    }
    return error;
  }
}

function loopSentence(repeats: number): string {
  return `The agent made the same tool calls with the same arguments ${repeats} turns in a row, so it was stopped. Tell it something new to go on, or raise runaway.repeatsMax.`;
}

function budgetSentence(spent: number, tokensMax: number): string {
  return `This session has used ${spent} tokens of the ${tokensMax} it may, so it was stopped. Begin a new session, or raise runaway.tokensMax.`;
}

/** Headers bound a request further than the configuration, never less. */
function boundsOf({ repeatsMax, tokensMax }: RunawayConfig, headers: Headers): Bounds {
  return {
    repeatsMax: least(repeatsMax, headers, { name: 'x-stator-repeats-max', min: 2 }),
    tokensMax: least(tokensMax, headers, { name: 'x-stator-tokens-max', min: 1 }),
  };
}

/** What is no number, or less than makes sense, is refused: whoever sends a bound relies on it. */
function least(
  configured: number | undefined,
  headers: Headers,
  { name, min }: { name: string; min: number },
): number | undefined {
  const text = present(headers, name);
  if (text === undefined) return configured;
  if (!/^\d{1,15}$/.test(text) || Number(text) < min) {
    const sentence = `${name} must be a whole number from ${min} on.`;
    throw new GatewayError('invalid_request', sentence, { param: name });
  }
  return Math.min(configured ?? Number.POSITIVE_INFINITY, Number(text));
}

/**
 * Turns in a row, up to the conversation's end, that made the same calls with the same arguments; counted
 * up to `enough`. What a person says between them ends the row, what a harness adds does not.
 */
export function repeatsOf({ messages }: Pick<Chat, 'messages'>, enough: number): number {
  let last: readonly ToolCall[] | undefined;
  let count = 0;
  for (let i = messages.length - 1; i >= 0 && count < enough; i--) {
    const message = messages[i];
    if (message.role === 'user' && isSaid(message)) return count;
    if (message.role !== 'assistant' || message.toolCalls.length === 0) continue;
    if (last !== undefined && !areAlike(last, message.toolCalls)) return count;
    last = message.toolCalls;
    count++;
  }
  return count;
}

/** Claude Code puts its reminders into the user's mouth, between the results of tools. */
const REMINDERS = /<system-reminder>[\s\S]*?<\/system-reminder>/g;

function isSaid({ content }: Extract<Message, { role: 'user' }>): boolean {
  return textOf(content).replace(REMINDERS, '').trim() !== '';
}

/** Calls of one turn run side by side: their order says nothing. */
function areAlike(some: readonly ToolCall[], others: readonly ToolCall[]): boolean {
  if (some.length !== others.length) return false;
  const words = some.map(wordsOf).sort();
  return others
    .map(wordsOf)
    .sort()
    .every((word, i) => word === words[i]);
}

function wordsOf({ name, argumentsJson }: ToolCall): string {
  return `${name}\n${canonical(argumentsJson)}`;
}

/** The same for the same values, whatever the order of keys and the spaces; what is no JSON is itself. */
function canonical(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), (_key, value) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
      return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
    });
  } catch {
    return json.trim();
  }
}
