/**
 * llama.cpp's C API through koffi, from the shared libraries that `libraries.ts` finds. The only file
 * that knows struct layouts; they are llama.h's of v0.4.0 and v0.5.0, pinned exactly in
 * package.json and checked against well-known defaults before anything is computed.
 *
 * A failed assertion in there ends the process: whoever calls validates first (see `context.ts`).
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import koffi from 'koffi';
import { must } from '../../base/assert.ts';
import type { Device } from '../../model/device.ts';
import { type Accelerator, findLibraries } from './libraries.ts';

/** An address in native memory. */
export type Pointer = bigint;

export interface ModelParams {
  n_gpu_layers: number;
  vocab_only: boolean;
}

export interface ContextParams {
  n_ctx: number;
  n_batch: number;
  n_ubatch: number;
  n_seq_max: number;
  n_outputs_max: number;
  n_threads: number;
  n_threads_batch: number;
  flash_attn_type: number;
  type_k: number;
  offload_kqv: boolean;
  no_perf: boolean;
  op_offload: boolean;
  kv_unified: boolean;
}

export interface Batch {
  n_tokens: number;
  token: Pointer;
  embd: null;
  pos: Pointer;
  n_seq_id: Pointer;
  seq_id: Pointer;
  logits: Pointer;
}

/** The functions we call, named as in llama.h. */
export interface Llama {
  version: string;
  /** What computes; layers and KV lie there. */
  device: Accelerator;
  supports_gpu_offload(): boolean;
  model_default_params(): ModelParams;
  context_default_params(): ContextParams;
  model_load_from_file(path: string, params: ModelParams): Pointer | null;
  init_from_model(model: Pointer, params: ContextParams): Pointer | null;
  free(context: Pointer): void;
  model_free(model: Pointer): void;
  model_get_vocab(model: Pointer): Pointer;
  vocab_n_tokens(vocab: Pointer): number;
  tokenize(
    vocab: Pointer,
    text: Uint8Array,
    length: number,
    tokens: Int32Array,
    tokensMax: number,
    addSpecial: boolean,
    parseSpecial: boolean,
  ): number;
  model_chat_template(model: Pointer, name: null): string | null;
  chat_apply_template(
    template: string,
    messages: { role: string; content: string }[],
    count: number,
    addAssistant: boolean,
    text: Uint8Array,
    length: number,
  ): number;
  get_memory(context: Pointer): Pointer;
  memory_seq_rm(memory: Pointer, sequence: number, from: number, to: number): boolean;
  state_seq_get_size(context: Pointer, sequence: number): number;
  state_seq_get_data(context: Pointer, to: Uint8Array, size: number, sequence: number): number;
  state_seq_set_data(context: Pointer, from: Uint8Array, size: number, sequence: number): number;
  decode(context: Pointer, batch: Batch): number;
  model_n_embd(model: Pointer): number;
  set_embeddings(context: Pointer, on: boolean): void;
  get_embeddings_ith(context: Pointer, index: number): Pointer | null;
  vocab_is_control(vocab: Pointer, token: number): boolean;
  vocab_is_eog(vocab: Pointer, token: number): boolean;
  get_logits_ith(context: Pointer, index: number): Pointer | null;
  sampler_chain_default_params(): object;
  sampler_chain_init(params: object): Pointer;
  sampler_chain_add(chain: Pointer, sampler: Pointer): void;
  /** Whoever takes one out frees it. */
  sampler_chain_remove(chain: Pointer, index: number): Pointer;
  sampler_free(sampler: Pointer): void;
  sampler_sample(sampler: Pointer, context: Pointer, index: number): number;
  /** `candidates` is a `llama_token_data_array`. */
  sampler_apply(sampler: Pointer, candidates: Pointer): void;
  /** A grammar that does not allow the token ends the process. */
  sampler_accept(sampler: Pointer, token: number): void;
  /** Null where the text is no grammar, or one that begins with itself. */
  sampler_init_grammar(vocab: Pointer, gbnf: string, root: string): Pointer | null;
  sampler_init_greedy(): Pointer;
  sampler_init_dist(seed: number): Pointer;
  sampler_init_top_k(k: number): Pointer;
  sampler_init_top_p(p: number, keepMin: number): Pointer;
  sampler_init_min_p(p: number, keepMin: number): Pointer;
  sampler_init_temp(temperature: number): Pointer;
  sampler_init_penalties(
    vocabulary: number,
    lastN: number,
    repeat: number,
    frequency: number,
    presence: number,
  ): Pointer;
}

/** Native memory that lives as long as the process, and a view of it. */
export function allocate(bytes: number): { pointer: Pointer; memory: ArrayBuffer } {
  const pointer = koffi.alloc('uint8_t', bytes) as unknown as Pointer;
  return { pointer, memory: koffi.view(pointer, bytes) };
}

/** Memory that the library owns. */
export function memoryAt(pointer: Pointer, bytes: number): ArrayBuffer {
  return koffi.view(pointer, bytes);
}

/** Warnings and errors of the library since they were last taken, one line each. */
const complaints: string[] = [];

export function takeComplaints(): string[] {
  return complaints.splice(0);
}

/** Loads the libraries for this device; throws one sentence where there are none, or no such device. */
export function loadLlama(wanted: Device): Llama {
  const libraries = findLibraries(wanted);
  if (libraries.kind === 'missing') throw new Error(libraries.reason);
  const { folder } = libraries;
  const files = readdirSync(folder);
  const find = (pattern: RegExp) =>
    join(
      folder,
      must(
        files.find((file) => pattern.test(file)),
        `${pattern} is in the package`,
      ),
    );
  koffi.load(find(/^(lib)?ggml-base\.(so|dylib|dll)$/), { global: true });
  const ggml = koffi.load(find(/^(lib)?ggml\.(\w+\.)?v[\d.]+\.(so|dylib|dll)$/), { global: true });
  const path = find(/^(lib)?llama\.(\w+\.)?v[\d.]+\.(so|dylib|dll)$/);
  const library = koffi.load(path, { global: true });
  declareStructs();
  listen(library);
  ggml.func('void ggml_backend_load_all_from_path(const char *)')(folder);
  library.func('void llama_backend_init()')();
  const functions = declareFunctions(library);
  const hasGpu = functions.supports_gpu_offload();
  if (!hasGpu && wanted !== 'auto' && wanted !== 'cpu') {
    const why = takeComplaints().at(-1) ?? 'its libraries name none';
    throw new Error(
      `llama.cpp finds no GPU for --device ${wanted} here (${why}); look at its driver, or use --device cpu.`,
    );
  }
  const llama: Llama = {
    version: must(/v[\d.]+\d/.exec(path), 'the library names its version')[0],
    device: hasGpu ? libraries.device : 'cpu',
    ...functions,
  };
  checkLayout(llama);
  return llama;
}

const pointer = 'void *';

function declareStructs(): void {
  koffi.struct('llama_model_params', {
    devices: pointer,
    tensor_buft_overrides: pointer,
    n_gpu_layers: 'int32_t',
    split_mode: 'int32_t',
    load_mode: 'int32_t',
    lazy_mode: 'int32_t',
    main_gpu: 'int32_t',
    tensor_split: pointer,
    progress_callback: pointer,
    progress_callback_user_data: pointer,
    kv_overrides: pointer,
    vocab_only: 'bool',
    check_tensors: 'bool',
    use_extra_bufts: 'bool',
    no_host: 'bool',
    no_alloc: 'bool',
    load_mtp: 'bool',
  });
  koffi.struct('llama_batch', {
    n_tokens: 'int32_t',
    token: pointer,
    embd: pointer,
    pos: pointer,
    n_seq_id: pointer,
    seq_id: pointer,
    logits: pointer,
  });
  koffi.struct('llama_chat_message', { role: 'const char *', content: 'const char *' });
  koffi.struct('llama_sampler_chain_params', { no_perf: 'bool' });
  declareContextParams();
}

function declareContextParams(): void {
  koffi.struct('llama_context_params', {
    n_ctx: 'uint32_t',
    n_batch: 'uint32_t',
    n_ubatch: 'uint32_t',
    n_seq_max: 'uint32_t',
    n_rs_seq: 'uint32_t',
    n_outputs_max: 'uint32_t',
    n_outputs_max_per_seq: 'uint32_t',
    n_threads: 'int32_t',
    n_threads_batch: 'int32_t',
    ctx_type: 'int32_t',
    rope_scaling_type: 'int32_t',
    pooling_type: 'int32_t',
    attention_type: 'int32_t',
    flash_attn_type: 'int32_t',
    rope_freq_base: 'float',
    rope_freq_scale: 'float',
    yarn_ext_factor: 'float',
    yarn_attn_factor: 'float',
    yarn_beta_fast: 'float',
    yarn_beta_slow: 'float',
    yarn_orig_ctx: 'uint32_t',
    defrag_thold: 'float',
    cb_eval: pointer,
    cb_eval_user_data: pointer,
    type_k: 'int32_t',
    type_v: 'int32_t',
    abort_callback: pointer,
    abort_callback_data: pointer,
    embeddings: 'bool',
    offload_kqv: 'bool',
    no_perf: 'bool',
    op_offload: 'bool',
    swa_full: 'bool',
    kv_unified: 'bool',
    samplers: pointer,
    n_samplers: 'size_t',
    ctx_other: pointer,
  });
}

type Library = ReturnType<typeof koffi.load>;

function declareFunctions(library: Library): Omit<Llama, 'version' | 'device'> {
  const f = (signature: string) => library.func(signature) as never;
  return {
    supports_gpu_offload: f('bool llama_supports_gpu_offload()'),
    model_default_params: f('llama_model_params llama_model_default_params()'),
    context_default_params: f('llama_context_params llama_context_default_params()'),
    model_load_from_file: f('void *llama_model_load_from_file(const char *, llama_model_params)'),
    init_from_model: f('void *llama_init_from_model(void *, llama_context_params)'),
    free: f('void llama_free(void *)'),
    model_free: f('void llama_model_free(void *)'),
    model_get_vocab: f('void *llama_model_get_vocab(void *)'),
    vocab_n_tokens: f('int32_t llama_vocab_n_tokens(void *)'),
    tokenize: f('int32_t llama_tokenize(void *, void *, int32_t, void *, int32_t, bool, bool)'),
    model_chat_template: f('const char *llama_model_chat_template(void *, const char *)'),
    chat_apply_template: f(
      'int32_t llama_chat_apply_template(const char *, llama_chat_message *, size_t, bool, void *, int32_t)',
    ),
    get_memory: f('void *llama_get_memory(void *)'),
    memory_seq_rm: f('bool llama_memory_seq_rm(void *, int32_t, int32_t, int32_t)'),
    state_seq_get_size: f('size_t llama_state_seq_get_size(void *, int32_t)'),
    state_seq_get_data: f('size_t llama_state_seq_get_data(void *, void *, size_t, int32_t)'),
    state_seq_set_data: f('size_t llama_state_seq_set_data(void *, void *, size_t, int32_t)'),
    decode: f('int32_t llama_decode(void *, llama_batch)'),
    model_n_embd: f('int32_t llama_model_n_embd(void *)'),
    set_embeddings: f('void llama_set_embeddings(void *, bool)'),
    get_embeddings_ith: f('void *llama_get_embeddings_ith(void *, int32_t)'),
    vocab_is_control: f('bool llama_vocab_is_control(void *, int32_t)'),
    vocab_is_eog: f('bool llama_vocab_is_eog(void *, int32_t)'),
    get_logits_ith: f('void *llama_get_logits_ith(void *, int32_t)'),
    sampler_chain_default_params: f(
      'llama_sampler_chain_params llama_sampler_chain_default_params()',
    ),
    sampler_chain_init: f('void *llama_sampler_chain_init(llama_sampler_chain_params)'),
    sampler_chain_add: f('void llama_sampler_chain_add(void *, void *)'),
    sampler_chain_remove: f('void *llama_sampler_chain_remove(void *, int32_t)'),
    sampler_free: f('void llama_sampler_free(void *)'),
    sampler_sample: f('int32_t llama_sampler_sample(void *, void *, int32_t)'),
    sampler_apply: f('void llama_sampler_apply(void *, void *)'),
    sampler_accept: f('void llama_sampler_accept(void *, int32_t)'),
    sampler_init_grammar: f('void *llama_sampler_init_grammar(void *, const char *, const char *)'),
    sampler_init_greedy: f('void *llama_sampler_init_greedy()'),
    sampler_init_dist: f('void *llama_sampler_init_dist(uint32_t)'),
    sampler_init_top_k: f('void *llama_sampler_init_top_k(int32_t)'),
    sampler_init_top_p: f('void *llama_sampler_init_top_p(float, size_t)'),
    sampler_init_min_p: f('void *llama_sampler_init_min_p(float, size_t)'),
    sampler_init_temp: f('void *llama_sampler_init_temp(float)'),
    sampler_init_penalties: f(
      'void *llama_sampler_init_penalties(int32_t, int32_t, float, float, float)',
    ),
  };
}

/** The library's log: warnings and errors are kept for whoever reports a failure, the rest dropped. */
function listen(library: Library): void {
  const proto = koffi.proto('void stator_log(int level, const char *text, void *data)');
  const keep = koffi.register((level: number, text: string) => {
    if (level >= 3 && level <= 4 && text.trim() !== '') complaints.push(text.trim());
    if (complaints.length > 50) complaints.shift();
  }, koffi.pointer(proto));
  library.func('void llama_log_set(void *, void *)')(keep, null);
}

/** A struct that moved would be a crash, not an exception: these defaults give it away. */
function checkLayout(llama: Llama): void {
  const model = llama.model_default_params();
  const context = llama.context_default_params();
  const known =
    model.n_gpu_layers === -1 &&
    model.vocab_only === false &&
    context.n_ctx === 512 &&
    context.n_batch === 2048 &&
    context.n_ubatch === 512 &&
    context.n_seq_max === 1 &&
    context.type_k === 1 &&
    context.flash_attn_type === -1 &&
    context.offload_kqv === true &&
    context.kv_unified === false;
  if (!known) {
    throw new Error(
      `llama.cpp ${llama.version} has another layout than the one Stator was made for; install the exact versions of package.json.`,
    );
  }
}
