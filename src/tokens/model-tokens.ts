/** Text ↔ tokens of one model, built from what its file says of tokenizer and chat template. */
import { must } from '../base/assert.ts';
import { GatewayError } from '../model/error.ts';
import type { AnswerFrame, Chat } from '../model/request.ts';
import type { Vocabulary } from '../model/vocabulary.ts';
import type { BlockHasher, Decoder, PartParser, Tokens } from '../ports.ts';
import { frameOf } from './answer-frame.ts';
import { ChainHasher } from './block-hash.ts';
import { type Bpe, buildBpe, specialTexts } from './bpe.ts';
import { TokenTexts } from './decoder.ts';
import type { MergeRules } from './merge-rules.ts';
import { AnswerParser } from './parsers/answer-parser.ts';
import {
  type Dialect,
  dialectOf,
  markersOf,
  opensReasoning,
  type ParserNames,
} from './parsers/dialect.ts';
import { renderChat, type TokenNames } from './render.ts';
import { type RenderForm, renderFormOf } from './render-form.ts';
import { Template } from './template/template.ts';
import { TemplateError } from './template/template-error.ts';

export interface ModelTokensOptions {
  vocabulary: Vocabulary;
  /** Its merge rules, where they were worked out before. */
  rules?: MergeRules;
  /** Named in the reason why a model is not exact. */
  model: string;
  /** Of weights and tokenizer: nothing is shared across fingerprints. */
  fingerprint: string;
  /** Name of the adapter the model runs with; none where absent. */
  lora?: string;
  blockTokens: number;
  /** For templates that write the date. */
  now: () => Date;
  /** What answers are taken apart by, where the template is not to decide. */
  parsers?: ParserNames;
}

/** Each `reason` is one sentence. */
export type ModelTokensBuilt =
  | { kind: 'exact'; tokens: ModelTokens }
  /** Text becomes ids, but conversations must be rendered elsewhere: `render` refuses them. */
  | { kind: 'noTemplate'; tokens: ModelTokens; reason: string }
  | { kind: 'unsupported'; reason: string };

export class ModelTokens implements Tokens {
  readonly vocabularySize: number;
  readonly specials: ReadonlyMap<number, string>;
  readonly charactersPerTokenMax: number;
  readonly endTokens: ReadonlySet<number>;
  readonly hasher: BlockHasher;
  readonly #bpe: Bpe;
  readonly #texts: TokenTexts;
  readonly #rendering: Rendering;
  readonly #names: TokenNames;
  readonly #dialect: Dialect;
  /** Whether the prompt of a chat that was rendered ends inside reasoning. */
  readonly #opens = new WeakMap<Chat, boolean>();

  static build(options: ModelTokensOptions): ModelTokensBuilt {
    const { vocabulary, model } = options;
    const built = buildBpe(vocabulary, options.rules);
    if (built.kind === 'unsupported') {
      const reason = `The text of ${model} cannot be tokenized here, because ${built.reason}.`;
      return { kind: 'unsupported', reason };
    }
    const without = (why: string): ModelTokensBuilt => {
      const reason = `Conversations with ${model} pass through as they come, because ${why}.`;
      const tokens = new ModelTokens(options, built.bpe, { kind: 'none', reason });
      return { kind: 'noTemplate', tokens, reason };
    };
    if (vocabulary.template === undefined) return without('it has no chat template');
    try {
      const template = new Template(vocabulary.template, options.now);
      const rendering: Rendering = { kind: 'template', template, form: renderFormOf(template) };
      return { kind: 'exact', tokens: new ModelTokens(options, built.bpe, rendering) };
    } catch (thrown) {
      if (!(thrown instanceof TemplateError)) throw thrown;
      return without(thrown.message);
    }
  }

  private constructor(options: ModelTokensOptions, bpe: Bpe, rendering: Rendering) {
    const { vocabulary } = options;
    this.vocabularySize = vocabulary.tokens.length;
    this.specials = specialTexts(vocabulary);
    // Written in the byte alphabet a token has a character per byte: never fewer than the text has.
    this.charactersPerTokenMax = vocabulary.tokens.reduce((n, text) => Math.max(n, text.length), 1);
    this.endTokens = new Set(vocabulary.endTokens);
    this.hasher = new ChainHasher(options);
    this.#bpe = bpe;
    this.#dialect = dialectOf(vocabulary.template ?? '', options.parsers);
    const shown = new Set(markersOf(this.#dialect));
    for (const id of vocabulary.endTokens) shown.delete(vocabulary.tokens[id]);
    this.#texts = new TokenTexts(vocabulary, shown);
    this.#rendering = rendering;
    this.#names = tokenNames(vocabulary);
  }

  render(chat: Chat): string {
    const rendering = this.#rendering;
    if (rendering.kind === 'none') throw new GatewayError('invalid_request', rendering.reason);
    const { template, form } = rendering;
    const prompt = renderChat(template, chat, { ...this.#names, form });
    this.#opens.set(chat, opensReasoning(this.#dialect, prompt));
    return prompt;
  }

  /** No beginning-of-text token is put in front: chat templates write their own. */
  encode(text: string): Uint32Array {
    return this.#bpe.encode(text);
  }

  count(chat: Chat): number {
    return this.#bpe.count(this.render(chat));
  }

  decoder(): Decoder {
    return this.#texts.decoder();
  }

  parser(chat: Chat): PartParser {
    const dialect = this.#dialect;
    const isOpen = dialect.reasoning !== undefined && this.#isOpen(chat);
    return new AnswerParser({ dialect, isOpen, tools: chat.tools, callId: callIds(chat, dialect) });
  }

  frame(chat: Chat): AnswerFrame {
    const isOpen = this.#dialect.reasoning !== undefined && this.#isOpen(chat);
    return frameOf(this.#dialect, { isOpen, mayReason: isOpen || chat.thinking !== false });
  }

  bytesOf(id: number): Uint8Array {
    const { bytes } = this.#texts.piece(id);
    const special = this.specials.get(id);
    return bytes.length > 0 || special === undefined ? bytes : new TextEncoder().encode(special);
  }

  #isOpen(chat: Chat): boolean {
    return this.#opens.get(chat) ?? opensReasoning(this.#dialect, this.render(chat));
  }
}

type Rendering =
  | { kind: 'template'; template: Template; form: RenderForm }
  | { kind: 'none'; reason: string };

function tokenNames({ tokens, beginToken, endToken }: Vocabulary): TokenNames {
  const names: TokenNames = {};
  if (beginToken !== undefined) names.bos_token = tokens[beginToken];
  if (endToken !== undefined) names.eos_token = tokens[endToken];
  return names;
}

/**
 * Names for new tool calls: what the model wrote, or counted on through the conversation, so that a
 * replay names them alike.
 */
function callIds(chat: Chat, { calls }: Dialect): (written: string | undefined) => string {
  const taken = new Set<string>();
  for (const message of chat.messages) {
    if (message.role === 'assistant') for (const { id } of message.toolCalls) taken.add(id);
  }
  let next = taken.size;
  return (written) => {
    let id = written;
    while (id === undefined || taken.has(id))
      id = must(calls, 'calls have a format').callId(next++);
    taken.add(id);
    return id;
  };
}
