import {
  SENTENCE_PIECE,
  SENTENCE_PIECE_LED,
  type TokenKind,
  type Vocabulary,
} from '../model/vocabulary.ts';
import type { Gguf } from './gguf.ts';
import { GgufError } from './gguf.ts';

/**
 * What a model file says of its tokenizer and chat template, completed as llama.cpp v0.5.0 completes
 * it (llama-vocab.cpp), so that both end answers at the same tokens. Throws `GgufError` where the file
 * has no vocabulary, or one on which llama.cpp would abort.
 */
export function vocabularyOf(gguf: Gguf): Vocabulary {
  const tokens = tokensOf(gguf);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  if (ids.size < tokens.length) {
    throw new GgufError(`${gguf.path} lists a token twice; convert the model again.`);
  }
  const beginToken = idUnder(gguf, 'bos', tokens.length);
  const algorithm = gguf.text('tokenizer.ggml.model');
  const preTokenizer = preTokenizerOf(gguf);
  const scores = algorithm === 'llama' ? gguf.numbers('tokenizer.ggml.scores') : undefined;
  const merged = algorithm === 'gpt2' || algorithm === 'gemma4' || scores?.length === tokens.length;
  const begins = algorithm === 'llama' || algorithm === 'bert' || BEGINNERS.has(preTokenizer);
  const addsBegin = gguf.flag('tokenizer.ggml.add_bos_token') ?? begins;
  const endTokens = endTokensOf(gguf, ids);
  return {
    algorithm: merged ? 'bpe' : 'other',
    preTokenizer,
    tokens,
    kinds: kindsOf(gguf, tokens, endTokens),
    merges: scores ? Float32Array.from(scores) : (gguf.texts('tokenizer.ggml.merges') ?? []),
    endTokens: [...endTokens],
    beginToken,
    endToken: idUnder(gguf, 'eos', tokens.length),
    addsBegin: addsBegin && beginToken !== undefined,
    template: gguf.text('tokenizer.chat_template'),
  };
}

/** Named by the file, or by its tokenizer where that cuts in one way only. */
function preTokenizerOf(gguf: Gguf): string {
  // To llama.cpp, special tokens of these models take along the white space after them.
  if (/phi-?3/i.test(gguf.text('general.name') ?? '')) return 'phi-3';
  switch (gguf.text('tokenizer.ggml.model')) {
    case 'gemma4':
      return 'gemma4';
    case 'llama':
      return gguf.flag('tokenizer.ggml.add_space_prefix') === false
        ? SENTENCE_PIECE
        : SENTENCE_PIECE_LED;
    default:
      return gguf.text('tokenizer.ggml.pre') || 'default';
  }
}

/** Token kinds by llama.cpp's number for them; 0 is "undefined", and such tokens act as normal ones. */
export const GGUF_TOKEN_KINDS = [
  undefined,
  'normal',
  'unknown',
  'control',
  'userDefined',
  'unused',
  'byte',
] as const satisfies readonly (TokenKind | undefined)[];

/** Pre-tokenizers of models that begin with a token unless their file says otherwise. */
const BEGINNERS: ReadonlySet<string> = new Set([
  'llama3',
  'llama-v3',
  'llama-bpe',
  'falcon3',
  'falcon-h1',
  'pixtral',
  'midm-2.0',
  'lfm2',
  'jina-v5-nano',
  'tekken',
  'chameleon',
]);

/** Tokens that end an answer by their text alone. */
const ENDING: ReadonlySet<string> = new Set([
  '<|eot_id|>',
  '<|im_end|>',
  '<|end|>',
  '<|return|>',
  '<|call|>',
  '<|flush|>',
  '<|calls|>',
  '<end_of_turn>',
  '<|endoftext|>',
  '</s>',
  '<|eom_id|>',
  '<EOT>',
  '_<EOT>',
  '[EOT]',
  '[EOS]',
  '<|end_of_text|>',
  '<end_of_utterance>',
  '<eos>',
  '<turn|>',
  '<|tool_response>',
  '<｜end▁of▁sentence｜>',
  '[e~[',
]);

/** Fill-in-the-middle markers that end an answer too, by the key that can name another. */
const ENDING_MARKERS: ReadonlyMap<string, readonly string[]> = new Map([
  ['fim_pad', ['<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>', '[PAD]']],
  ['fim_rep', ['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>']],
  ['fim_sep', ['<|file_sep|>']],
]);

/** Harmony's channel markers, which llama.cpp always shows. */
const SHOWN: ReadonlySet<string> = new Set([
  '<|channel|>',
  '<|message|>',
  '<|start|>',
  '<|constrain|>',
]);

function tokensOf(gguf: Gguf): readonly string[] {
  const tokens = gguf.texts('tokenizer.ggml.tokens');
  if (tokens === undefined || tokens.length === 0) {
    throw new GgufError(`${gguf.path} holds no vocabulary; take a file that was made with one.`);
  }
  return tokens.map((token, id) => (token === '' ? `[EMPTY_${id}]` : token));
}

function kindsOf(gguf: Gguf, tokens: readonly string[], ends: ReadonlySet<number>): TokenKind[] {
  const stated = gguf.numbers('tokenizer.ggml.token_type');
  if (stated !== undefined && stated.length < tokens.length) {
    throw new GgufError(`${gguf.path} has fewer token types than tokens; convert the model again.`);
  }
  const markers = new Set([...ENDING_MARKERS.values()].flat());
  return tokens.map((token, id) => {
    if (SHOWN.has(token)) return 'userDefined';
    if (ENDING.has(token) && !ends.has(id)) return token === '</s>' ? 'normal' : 'userDefined';
    if (ENDING.has(token) || markers.has(token)) return 'control';
    return GGUF_TOKEN_KINDS[stated?.[id] ?? 1] ?? 'normal';
  });
}

function endTokensOf(gguf: Gguf, ids: ReadonlyMap<string, number>): Set<number> {
  const ends = new Set<number>();
  const add = (id: number | undefined) => {
    if (id !== undefined) ends.add(id);
  };
  for (const [marker, texts] of ENDING_MARKERS) {
    const byText = texts.find((text) => ids.has(text));
    add(idUnder(gguf, marker, ids.size) ?? (byText === undefined ? undefined : ids.get(byText)));
  }
  for (const token of ENDING) add(ids.get(token));
  for (const key of ['eos', 'eot', 'eom']) add(idUnder(gguf, key, ids.size));
  const has = (token: string) => ids.has(token);
  const drop = (token: string) => {
    const id = ids.get(token);
    if (id !== undefined) ends.delete(id);
  };
  // Where Harmony's tokens end an answer, '<|end|>' only ends one of its messages.
  const calls = has('<|call|>') || has('<|calls|>');
  if (calls && (has('<|return|>') || has('<|flush|>'))) drop('<|end|>');
  if (has('<|tool_response>')) drop('</s>');
  return new Set([...ends].sort((a, b) => a - b));
}

function idUnder(gguf: Gguf, name: string, tokenCount: number): number | undefined {
  const id = gguf.number(`tokenizer.ggml.${name}_token_id`);
  const known = id !== undefined && Number.isInteger(id) && id >= 0 && id < tokenCount;
  return known ? id : undefined;
}
