/**
 * Which orders of turns a template takes. Agents put instructions in mid-conversation, send several
 * messages of one role in a row, and words behind the results of tools. Many templates refuse that;
 * some gather all instructions at the front, where each new one would cost the whole prefix. What a
 * template does not take where it stands is told to the model there in another way.
 */
import type { Content, Message } from '../model/request.ts';
import { textOf } from '../model/request.ts';
import type { Template } from './template/template.ts';
import { PROBE_CALL_ID, probe, writesInOrder } from './template-probe.ts';

export interface TurnForm {
  /** Where instructions may stand; elsewhere they are the user's words. */
  system: 'anywhere' | 'first' | 'never';
  /** Messages of one role in a row are one. */
  mergesRuns: boolean;
  /** The user's words behind the results of tools belong to the last of these. */
  mergesAfterTools: boolean;
  /** Ids of calls are nine letters and digits. */
  shortCallIds: boolean;
}

export function turnFormOf(
  template: Template,
  given: { contentOf: (text: string) => unknown; calling: (id: string) => unknown[] },
): TurnForm {
  const { contentOf, calling } = given;
  const says = (role: string, text: string) => ({ role, content: contentOf(text) });
  const [one, two] = [says('user', ONE), says('user', TWO)];
  const rule = says('system', RULE);
  const takes = (messages: unknown[], ...words: string[]) =>
    writesInOrder(probe(template, messages), words);
  const midway =
    takes([one, says('assistant', SAID), rule, two], ONE, RULE, TWO) &&
    takes([one, rule], ONE, RULE);
  const called = [one, ...calling(PROBE_CALL_ID)];
  const calls = takes(called, ONE);
  return {
    system: midway ? 'anywhere' : takes([rule, one], RULE, ONE) ? 'first' : 'never',
    mergesRuns: !takes([one, two], ONE, TWO),
    mergesAfterTools: calls && !takes([...called, two], ONE, TWO),
    shortCallIds: calls && !takes([one, ...calling(LONG_CALL_ID)], ONE),
  };
}

const ONE = 'Which way to the sea?';
const TWO = 'And from there?';
const RULE = 'Answer in rhymes.';
const SAID = 'To the left.';
const LONG_CALL_ID = 'call_0123456789abcdef';

/** The same conversation, in turns that the template takes. */
export function fittingTurns(messages: readonly Message[], form: TurnForm): Message[] {
  const turns: Message[] = [];
  let leads = true;
  for (const message of messages) {
    leads &&= message.role === 'system';
    const turn = withSystem(form.shortCallIds ? withShortIds(message) : message, form, leads);
    const last = turns[turns.length - 1];
    const merged = last === undefined ? undefined : merge(last, turn, form);
    if (merged === undefined) turns.push(turn);
    else turns[turns.length - 1] = merged;
  }
  return turns;
}

/** Instructions where there must be none; in mid-conversation marked as what they are. */
function withSystem(message: Message, { system }: TurnForm, leads: boolean): Message {
  if (message.role !== 'system' || system === 'anywhere') return message;
  if (leads) return system === 'first' ? message : { role: 'user', content: message.content };
  const text = `<system-reminder>\n${textOf(message.content)}\n</system-reminder>`;
  return { role: 'user', content: [{ kind: 'text', text }] };
}

/** Undefined where both may stand beside each other. */
function merge(before: Message, next: Message, form: TurnForm): Message | undefined {
  const content: Content[] = [...before.content, ...next.content];
  if (before.role === 'system' && next.role === 'system') {
    return form.system === 'anywhere' ? undefined : { ...before, content };
  }
  if (next.role === 'user' && before.role === 'tool') {
    return form.mergesAfterTools ? { ...before, content } : undefined;
  }
  if (!form.mergesRuns) return undefined;
  if (before.role === 'user' && next.role === 'user') return { ...before, content };
  if (before.role !== 'assistant' || next.role !== 'assistant') return undefined;
  const reasoning = [before.reasoning, next.reasoning].filter((text) => text !== undefined);
  return {
    role: 'assistant',
    content,
    reasoning: reasoning.length === 0 ? undefined : reasoning.join('\n'),
    toolCalls: [...before.toolCalls, ...next.toolCalls],
  };
}

function withShortIds(message: Message): Message {
  if (message.role === 'tool') return { ...message, toolCallId: shortId(message.toolCallId) };
  if (message.role !== 'assistant') return message;
  const toolCalls = message.toolCalls.map((call) => ({ ...call, id: shortId(call.id) }));
  return { ...message, toolCalls };
}

/** An id that came from elsewhere, as the same nine characters at each turn. */
function shortId(id: string): string {
  if (/^[A-Za-z0-9]{9}$/.test(id)) return id;
  // Two lanes of FNV-1a: one would let two calls of a long session share a name.
  let low = 0x811c9dc5;
  let high = 0x01000193;
  for (let i = 0; i < id.length; i++) {
    low = Math.imul(low ^ id.charCodeAt(i), 0x01000193) >>> 0;
    high = Math.imul(high ^ low, 0x01000193) >>> 0;
  }
  const digits = low.toString(36).padStart(7, '0') + high.toString(36).padStart(7, '0');
  return digits.slice(0, 3) + digits.slice(-6);
}
