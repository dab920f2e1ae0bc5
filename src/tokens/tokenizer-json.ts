/**
 * Reads a Hugging Face tokenizer.json (the `tokenizers` library's file, 0.23), with the
 * tokenizer_config.json and chat template beside it, as far as they are BPE over bytes or over
 * characters with a fallback to bytes. Whatever could change an id and is not known here is refused
 * in words.
 */
import { BYTE_CHARACTERS } from '../model/byte-alphabet.ts';
import type { AddedToken, TextRules, TokenKind, Vocabulary } from '../model/vocabulary.ts';
import {
  type Fields,
  fields,
  flag,
  list,
  shown,
  text,
  tokenId,
  UnsupportedTokenizer,
} from './json-fields.ts';
import { endsAnswer } from './token-kinds.ts';
import { namesOf } from './tokenizer-config.ts';
import { normalizersOf, preTokenizingOf } from './tokenizer-json-steps.ts';

export interface TokenizerFiles {
  /** Parsed tokenizer.json. */
  tokenizer: unknown;
  /** Parsed tokenizer_config.json, where there is one. */
  config: unknown;
  /** Content of chat_template.jinja, where there is one; it comes before the config's template. */
  template: string | undefined;
}

export type TokenizerRead =
  | { kind: 'read'; vocabulary: Vocabulary }
  /** `reason` completes "… cannot be tokenized here, because …". */
  | { kind: 'unsupported'; reason: string };

export function readTokenizerJson(files: TokenizerFiles): TokenizerRead {
  try {
    return { kind: 'read', vocabulary: vocabularyOf(files) };
  } catch (thrown) {
    if (!(thrown instanceof UnsupportedTokenizer)) throw thrown;
    return { kind: 'unsupported', reason: thrown.message };
  }
}

function vocabularyOf({ tokenizer, config, template }: TokenizerFiles): Vocabulary {
  const file = fields(tokenizer, 'its tokenizer');
  const model = fields(file.model, 'the model of its tokenizer');
  refuseOthers(model);
  const vocab = fields(model.vocab, 'its vocabulary');
  const added = list(file.added_tokens ?? [], 'its added tokens').map(addedToken);
  const { tokens, kinds } = tokensOf(vocab, added);
  const rules = rulesOf(file, model, added);
  if (rules.alphabet === 'characters') {
    tokens.forEach((token, id) => {
      if (kinds[id] === 'normal' && /^<0x[0-9A-F]{2}>$/.test(token)) kinds[id] = 'byte';
    });
  } else refuseMissingBytes(vocab);
  const named = namesOf(config);
  const idOf = (name: string | undefined) => {
    const id = name === undefined ? -1 : tokens.indexOf(name);
    return id < 0 ? undefined : id;
  };
  const processed = beginOf(file.post_processor);
  const beginToken = idOf(named.begin) ?? processed;
  const endToken = idOf(named.end);
  return {
    algorithm: 'bpe',
    preTokenizer: rules,
    tokens,
    kinds,
    merges: list(model.merges, 'its merges').map(merge),
    endTokens: endsOf(tokens, kinds, endToken),
    beginToken,
    endToken,
    addsBegin: named.addsBegin ?? (processed !== undefined && processed === beginToken),
    template: template ?? named.template,
  };
}

function refuseOthers(model: Fields): void {
  const type = model.type ?? (model.merges === undefined ? undefined : 'BPE');
  if (type !== 'BPE') throw new UnsupportedTokenizer(`its tokenizer is of the type ${shown(type)}`);
  for (const name of ['continuing_subword_prefix', 'end_of_word_suffix']) {
    const value = model[name] ?? '';
    if (value !== '')
      throw new UnsupportedTokenizer(`its tokenizer has the ${name} ${shown(value)}`);
  }
  if ((model.dropout ?? 0) !== 0) throw new UnsupportedTokenizer('its tokenizer drops merges');
}

interface ListedToken extends AddedToken {
  isSpecial: boolean;
}

function addedToken(stated: unknown): ListedToken {
  const token = fields(stated, 'an added token');
  const content = text(token.content, 'an added token');
  if (content === '') throw new UnsupportedTokenizer('one of its added tokens is empty');
  const what = `its added token ${shown(content)}`;
  const isSpecial = flag(token.special, what, false);
  const added = {
    id: tokenId(token.id, what),
    text: content,
    normalized: flag(token.normalized, what, !isSpecial),
    stripsLeft: flag(token.lstrip, what, false),
    stripsRight: flag(token.rstrip, what, false),
    wholeWord: flag(token.single_word, what, false),
    isSpecial,
  };
  const strips = added.stripsLeft || added.stripsRight;
  if (strips && /^\p{White_Space}|\p{White_Space}$/u.test(content)) {
    throw new UnsupportedTokenizer(`${what} strips white space and has some of its own`);
  }
  return added;
}

/** Ids that nobody has stand for an empty, unused token. */
function tokensOf(
  vocab: Fields,
  added: readonly ListedToken[],
): { tokens: string[]; kinds: TokenKind[] } {
  const entries = Object.entries(vocab);
  const ids = entries.map(([token, id]) => tokenId(id, shown(token)));
  const count = 1 + [...ids, ...added.map(({ id }) => id)].reduce((a, b) => Math.max(a, b), -1);
  const tokens = new Array<string>(count).fill('');
  const kinds = new Array<TokenKind>(count).fill('unused');
  entries.forEach(([token], i) => {
    if (tokens[ids[i]] !== '') throw new UnsupportedTokenizer(`two tokens have the id ${ids[i]}`);
    tokens[ids[i]] = token;
    kinds[ids[i]] = 'normal';
  });
  for (const { id, text: content, isSpecial } of added) {
    const own = Object.hasOwn(vocab, content) ? vocab[content] : id;
    if (own !== id || (tokens[id] !== '' && tokens[id] !== content)) {
      throw new UnsupportedTokenizer(`its added token ${shown(content)} has another token's id`);
    }
    tokens[id] = content;
    kinds[id] = isSpecial ? 'control' : 'userDefined';
  }
  return { tokens, kinds };
}

function rulesOf(file: Fields, model: Fields, added: readonly ListedToken[]): TextRules {
  const pre = preTokenizingOf(file.pre_tokenizer);
  const falls = flag(model.byte_fallback, 'byte_fallback', false);
  if (pre.alphabet === undefined && !falls) {
    throw new UnsupportedTokenizer('its tokenizer has no tokens for the bytes of other characters');
  }
  if (pre.alphabet === 'bytes' && falls) {
    throw new UnsupportedTokenizer('its tokenizer falls back to bytes and is made of them');
  }
  if (pre.normalizers.length > 0 && added.some(({ normalized }) => normalized)) {
    throw new UnsupportedTokenizer(
      'it has normalized added tokens and the pre-tokenizer Metaspace',
    );
  }
  return {
    added: added.map(({ isSpecial: _, ...token }) => token),
    normalizers: [...normalizersOf(file.normalizer), ...pre.normalizers],
    splits: pre.splits,
    ignoreMerges: flag(model.ignore_merges, 'ignore_merges', false),
    alphabet: pre.alphabet ?? 'characters',
  };
}

function merge(stated: unknown): string | readonly [string, string] {
  if (typeof stated === 'string') return stated;
  const pair = list(stated, 'a merge');
  if (pair.length === 2 && typeof pair[0] === 'string' && typeof pair[1] === 'string') {
    return [pair[0], pair[1]];
  }
  throw new UnsupportedTokenizer('one of its merges is no pair');
}

/** Text of any language must spell: UTF-8 uses all bytes but 13. */
function refuseMissingBytes(vocab: Fields): void {
  const missing = BYTE_CHARACTERS.findIndex(
    (character, byte) => !Object.hasOwn(vocab, character) && byte < 0xf5 && !UNUSED.has(byte),
  );
  if (missing >= 0) throw new UnsupportedTokenizer(`it has no token for the byte ${missing}`);
}

const UNUSED: ReadonlySet<number> = new Set([0xc0, 0xc1]);

/** The first token of what the post-processor makes of one text, where that is a special one. */
function beginOf(stated: unknown): number | undefined {
  if (stated === null || stated === undefined) return undefined;
  const processor = fields(stated, 'its post-processor');
  if (processor.type === 'Sequence') {
    const parts = list(processor.processors, 'its sequence of post-processors');
    return parts.map(beginOf).find((id) => id !== undefined);
  }
  if (processor.type !== 'TemplateProcessing') return undefined;
  const [first] = list(processor.single, 'the template of its post-processor');
  const special = fields(first, 'the template of its post-processor').SpecialToken;
  if (special === undefined) return undefined;
  const name = text(fields(special, 'its first special token').id, 'its first special token');
  const known = fields(processor.special_tokens, 'the tokens of its post-processor');
  const [id] = list(fields(known[name], shown(name)).ids, `the ids of ${shown(name)}`);
  return tokenId(id, shown(name));
}

function endsOf(tokens: readonly string[], kinds: readonly TokenKind[], end: number | undefined) {
  const ends = new Set(end === undefined ? [] : [end]);
  const named = new Set<string>();
  tokens.forEach((token, id) => {
    if (kinds[id] !== 'control' || !endsAnswer(token)) return;
    ends.add(id);
    named.add(token);
  });
  // Where Harmony's tokens end an answer, '<|end|>' only ends one of its messages.
  if (named.has('<|call|>') && named.has('<|return|>')) ends.delete(tokens.indexOf('<|end|>'));
  return [...ends].sort((a, b) => a - b);
}
