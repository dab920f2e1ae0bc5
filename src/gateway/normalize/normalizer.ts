/**
 * What clients change from request to request although nothing changed, made equal before a prompt is
 * rendered and hashed. Only for models whose prompts become tokens here: what passes through leaves as
 * it came.
 *
 *   at the door (wires)   cache_control · string or block · ids of items and messages: never read
 *   always                billing block dropped
 *   where seen to change  order of tools · ids of calls, in a template that prints them
 *
 * What a rule saved is estimated, not measured: characters / 4 of what the thread's last request had
 * behind the first place that the rule made equal. Rules are counted apart, so they may overlap.
 */
import { createHash } from 'node:crypto';
import { Lru } from '../../base/lru.ts';
import type { Receipt } from '../../model/receipt.ts';
import { type Chat, textOf } from '../../model/request.ts';
import type { Identity } from '../../model/session.ts';
import type { Tokens } from '../../ports.ts';
import type { Ask } from '../../wire/wire.ts';
import type { ServedModel } from '../models.ts';
import { type Unbilled, withoutBillingBlock } from './billing-block.ts';
import { printsCallIds, withKnownIds } from './call-ids.ts';
import { encodingOf, encodingSaved, messageCharacters } from './encoding.ts';
import { ThreadMemories, type ThreadMemory } from './thread-memories.ts';
import { orderKept, reordered } from './tool-order.ts';

export type Applied = Receipt['normalised'];
type Rule = Applied[number]['rule'];

export interface NormalizerSettings {
  /** Drop Claude Code's billing block. */
  billingBlock: boolean;
  /** Keep the order of tools that a thread began with. */
  toolOrder: boolean;
  /** Keep the ids that calls had at first. */
  callIds: boolean;
  /** What is remembered of all threads takes at most this. */
  memoryBytes: number;
}

/** A request on its way to be rendered. */
export interface Incoming {
  /** As the client sent it, parsed. */
  body: unknown;
  ask: Ask;
  model: ServedModel;
  who: Identity;
}

export interface Normalised {
  ask: Ask;
  /** Rules that changed the request, or without which less of it could be reused. */
  applied: Applied;
}

const CHARACTERS_PER_TOKEN = 4;

/** System prompts of which the last billing block is remembered. */
const BILLED_MAX = 1024;

export class Normalizer {
  readonly #settings: NormalizerSettings;
  readonly #threads: ThreadMemories;
  readonly #billed = new Lru<string, string>(BILLED_MAX);

  constructor(settings: NormalizerSettings) {
    this.#settings = settings;
    this.#threads = new ThreadMemories(settings.memoryBytes);
  }

  /** The given ask and body stay as they are. */
  normalise({ body, ask, model, who }: Incoming): Normalised {
    if (ask.prompt.kind !== 'chat' || model.tokens === undefined) return { ask, applied: [] };
    const saved = new Map<Rule, number>();
    const owner = [who.tenant, model.name];
    let { chat } = ask.prompt;
    const unbilled = this.#unbilled(chat);
    if (unbilled !== undefined) {
      chat = unbilled.chat;
      saved.set('billingBlock', this.#billedBefore(owner, unbilled));
    }
    const thread = digestOf([...owner, who.thread ?? '', ...openingOf(chat)]);
    const before = this.#threads.find(thread);
    const encoding = encodingOf(body);
    const encodings = encodingSaved(before.encoding, encoding);
    if (encodings.cacheControl > 0) saved.set('cacheControl', encodings.cacheControl);
    if (encodings.textBlock > 0) saved.set('textBlock', encodings.textBlock);
    const kept = this.#asBefore(chat, before, { tokens: model.tokens, saved });
    this.#threads.keep(thread, { ...kept.memory, encoding });
    return {
      ask: { ...ask, prompt: { kind: 'chat', chat: kept.chat } },
      applied: Array.from(saved, ([rule, characters]) => ({
        rule,
        savedTokens: Math.round(characters / CHARACTERS_PER_TOKEN),
      })),
    };
  }

  /** For counting: what would be rendered, while nothing is remembered of it. */
  counted(ask: Ask): Ask {
    if (ask.prompt.kind !== 'chat') return ask;
    const unbilled = this.#unbilled(ask.prompt.chat);
    return unbilled === undefined ? ask : { ...ask, prompt: { kind: 'chat', chat: unbilled.chat } };
  }

  #unbilled(chat: Chat): Unbilled | undefined {
    return this.#settings.billingBlock ? withoutBillingBlock(chat) : undefined;
  }

  /** Characters of tools and system prompt, where these came with another block the last time. */
  #billedBefore(owner: readonly string[], { chat, block }: Unbilled): number {
    const [system] = openingOf(chat);
    const names = chat.tools.map(({ name }) => name);
    const prompt = digestOf([...owner, system, ...names]);
    const last = this.#billed.get(prompt);
    this.#billed.set(prompt, digestOf([block]));
    if (last === undefined || last === digestOf([block])) return 0;
    return system.length + JSON.stringify(chat.tools).length;
  }

  #asBefore(
    chat: Chat,
    before: ThreadMemory,
    { tokens, saved }: { tokens: Tokens; saved: Map<Rule, number> },
  ): { chat: Chat; memory: Omit<ThreadMemory, 'encoding'> } {
    let { tools, messages } = chat;
    let { toolNames, calls } = before;
    const { toolOrder, callIds } = this.#settings;
    if (toolOrder) {
      const order = reordered(tools, toolNames);
      if (order !== undefined) {
        tools = order.tools;
        const moved = JSON.stringify(tools.slice(order.first)).length;
        saved.set('toolOrder', moved + messageCharacters(before.encoding));
      }
      toolNames = orderKept(tools, toolNames);
    }
    if (callIds && printsCallIds(tokens)) {
      const renamed = withKnownIds(messages, calls);
      ({ messages, calls } = renamed);
      if (renamed.first !== undefined) {
        const ahead = messages.slice(0, renamed.first);
        const characters = ahead.reduce((sum, { content }) => sum + textOf(content).length, 0);
        saved.set('callIds', Math.max(0, messageCharacters(before.encoding) - characters));
      }
    }
    return { chat: { ...chat, tools, messages }, memory: { toolNames, calls } };
  }
}

/**
 * System prompt and first user message: with the thread's name, if it has one, what tells a
 * conversation from the titles and compactions that go by the same name.
 */
function openingOf({ messages }: Chat): [system: string, user: string] {
  const system = messages[0]?.role === 'system' ? textOf(messages[0].content) : '';
  const user = messages.find(({ role }) => role === 'user');
  return [system, user === undefined ? '' : textOf(user.content)];
}

/** Lengths go in too, so that no two lists of texts are cut from one text. */
function digestOf(texts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:`).update(text);
  return hash.digest('base64');
}
