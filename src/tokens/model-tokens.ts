/** Text ↔ tokens of one model, built from what its file says of tokenizer and chat template. */
import { GatewayError } from '../model/error.ts';
import type { Chat } from '../model/request.ts';
import type { Vocabulary } from '../model/vocabulary.ts';
import type { BlockHasher, Decoder, PartParser, Tokens } from '../ports.ts';
import { ChainHasher } from './block-hash.ts';
import { type Bpe, buildBpe } from './bpe.ts';
import { TokenTexts } from './decoder.ts';
import { dialectOf, opensReasoning } from './parsers/dialect.ts';
import { type Dialect, HermesParser } from './parsers/hermes.ts';
import { renderChat, type TokenNames } from './render.ts';
import { Template } from './template/template.ts';
import { TemplateError } from './template/template-error.ts';

export interface ModelTokensOptions {
  vocabulary: Vocabulary;
  /** Named in the reason why a model is not exact. */
  model: string;
  /** Of weights and tokenizer: nothing is shared across fingerprints. */
  fingerprint: string;
  blockTokens: number;
  /** For templates that write the date. */
  now: () => Date;
}

/** Each `reason` is one sentence. */
export type ModelTokensBuilt =
  | { kind: 'exact'; tokens: ModelTokens }
  /** Text becomes ids, but conversations must be rendered elsewhere: `render` refuses them. */
  | { kind: 'noTemplate'; tokens: ModelTokens; reason: string }
  | { kind: 'unsupported'; reason: string };

export class ModelTokens implements Tokens {
  readonly vocabularySize: number;
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
    const built = buildBpe(vocabulary);
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
      const rendering: Rendering = { kind: 'template', template, source: vocabulary.template };
      return { kind: 'exact', tokens: new ModelTokens(options, built.bpe, rendering) };
    } catch (thrown) {
      if (!(thrown instanceof TemplateError)) throw thrown;
      return without(thrown.message);
    }
  }

  private constructor(options: ModelTokensOptions, bpe: Bpe, rendering: Rendering) {
    const { vocabulary } = options;
    this.vocabularySize = vocabulary.tokens.length;
    // Written in the byte alphabet a token has a character per byte: never fewer than the text has.
    this.charactersPerTokenMax = vocabulary.tokens.reduce((n, text) => Math.max(n, text.length), 1);
    this.endTokens = new Set(vocabulary.endTokens);
    this.hasher = new ChainHasher(options);
    this.#bpe = bpe;
    this.#texts = new TokenTexts(vocabulary);
    this.#rendering = rendering;
    this.#names = tokenNames(vocabulary);
    this.#dialect = dialectOf(vocabulary.template ?? '');
  }

  render(chat: Chat): string {
    const rendering = this.#rendering;
    if (rendering.kind === 'none') throw new GatewayError('invalid_request', rendering.reason);
    // Where the template takes arguments as text, the model's own words stay as they are: written
    // anew, with other spaces, they would not continue what it computed.
    const argumentsAsText = /arguments is string/.test(rendering.source);
    const prompt = renderChat(rendering.template, chat, { ...this.#names, argumentsAsText });
    this.#opens.set(chat, opensReasoning(prompt));
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
    return new HermesParser({ ...this.#dialect, thinking: this.#thinking(chat) }, callIds(chat));
  }

  #thinking(chat: Chat): Dialect['thinking'] {
    if (this.#dialect.thinking === 'none') return 'none';
    const opens = this.#opens.get(chat) ?? opensReasoning(this.render(chat));
    return opens ? 'open' : 'optional';
  }
}

type Rendering =
  | { kind: 'template'; template: Template; source: string }
  | { kind: 'none'; reason: string };

function tokenNames({ tokens, beginToken, endToken }: Vocabulary): TokenNames {
  const names: TokenNames = {};
  if (beginToken !== undefined) names.bos_token = tokens[beginToken];
  if (endToken !== undefined) names.eos_token = tokens[endToken];
  return names;
}

/** Names for new tool calls, counted on through the conversation: a replay names them alike. */
function callIds(chat: Chat): () => string {
  const taken = new Set<string>();
  for (const message of chat.messages) {
    if (message.role === 'assistant') for (const { id } of message.toolCalls) taken.add(id);
  }
  let next = taken.size;
  return () => {
    while (taken.has(`call_${next}`)) next++;
    return `call_${next++}`;
  };
}
