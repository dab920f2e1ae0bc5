/**
 * Writes a folder that vLLM serves: a tiny Qwen3 whose weights vLLM draws itself (`--load-format
 * dummy`), behind the demo model's tokenizer and chat template. Nothing is fetched.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEMO_TEMPLATE } from '../../src/weights/demo-template.ts';
import { demoVocabulary } from '../../src/weights/demo-vocabulary.ts';
import { GGUF_TOKEN_KINDS } from '../../src/weights/vocabulary.ts';

/** Qwen2's and Qwen3's, as their tokenizer.json has it. */
const PIECES =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const CONTEXT_TOKENS = 32_768;

/** Small enough that a core computes thousands of prompt tokens a second. */
const SHAPE = {
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 32,
};

export function writeModelFolder(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const { tokens, kinds, merges } = demoVocabulary();
  const special = tokens.flatMap((content, id) => {
    const kind = GGUF_TOKEN_KINDS[kinds[id]];
    return kind === 'normal' ? [] : [{ id, content, special: kind === 'control' }];
  });
  const id = (token: string) => tokens.indexOf(token);
  const write = (name: string, value: unknown) =>
    writeFileSync(join(folder, name), JSON.stringify(value, null, 1));
  const ends = { bos_token_id: id('<|endoftext|>'), eos_token_id: id('<|im_end|>') };
  write('config.json', {
    architectures: ['Qwen3ForCausalLM'],
    model_type: 'qwen3',
    ...SHAPE,
    ...ends,
    vocab_size: tokens.length,
    max_position_embeddings: CONTEXT_TOKENS,
    hidden_act: 'silu',
    rms_norm_eps: 1e-6,
    rope_theta: 1_000_000,
    initializer_range: 0.02,
    attention_bias: false,
    tie_word_embeddings: true,
    torch_dtype: 'bfloat16',
  });
  write('generation_config.json', ends);
  write('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: null,
    eos_token: '<|im_end|>',
    pad_token: '<|endoftext|>',
    model_max_length: CONTEXT_TOKENS,
    clean_up_tokenization_spaces: false,
    add_bos_token: false,
    chat_template: DEMO_TEMPLATE,
  });
  write('tokenizer.json', {
    version: '1.0',
    added_tokens: special.map((token) => ({
      ...token,
      ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
    })),
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: PIECES }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
      ],
    },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(
        tokens.flatMap((token, i) => (special.some((it) => it.id === i) ? [] : [[token, i]])),
      ),
      merges: merges.map((merge) => merge.split(' ')),
    },
  });
}
