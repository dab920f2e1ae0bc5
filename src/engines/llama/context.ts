/**
 * One llama.cpp context: a stream of KV per slot, and a host store of blocks. Executes a scheduler's
 * plans synchronously. Everything is validated before it reaches C, where a failed assertion would
 * end the process.
 */
import { assert } from '../../base/assert.ts';
import type { Device } from '../../model/device.ts';
import type {
  Handle,
  Move,
  Sample,
  SequenceId,
  Slice,
  StepPlan,
  StepResult,
} from '../../model/step.ts';
import { BatchMemory } from './batch-memory.ts';
import { type Llama, memoryAt, type Pointer, takeComplaints } from './binding.ts';
import { BlockCodec } from './block-codec.ts';
import type { FileStore } from './file-store.ts';
import { HostStore } from './host-store.ts';
import { Samplers } from './sampler.ts';

export interface ContextSettings {
  model: string;
  slots: number;
  /** Per slot; a multiple of `CONTEXT_UNIT`. */
  contextTokens: number;
  /** Most tokens of one step. */
  batchTokens: number;
  blockTokens: number;
  hostBlocks: number;
  threads: number;
  device: Device;
}

/** llama.cpp lays out a stream in units of so many cells. */
export const CONTEXT_UNIT = 256;

const FLASH_ATTENTION_ON = 1;
const ALL_LAYERS = -1;
const TYPE_F16 = 1;

export class LlamaContext {
  readonly vocabularySize: number;
  readonly #llama: Llama;
  readonly #settings: ContextSettings;
  readonly #model: Pointer;
  readonly #context: Pointer;
  readonly #vocab: Pointer;
  readonly #memory: Pointer;
  readonly #batch: BatchMemory;
  readonly #samplers: Samplers;
  /** Tokens each slot holds. */
  readonly #lengths: number[];
  #codec: BlockCodec | undefined;
  #store: HostStore | undefined;
  #files: FileStore | undefined;
  #scratch = new Uint8Array(0);
  /** The slot whose state lies in `#scratch`, until one of them changes. */
  #saved: { slot: number; state: Uint8Array } | undefined;

  /** Loads the model; throws one sentence where the file cannot be loaded. */
  constructor(llama: Llama, settings: ContextSettings) {
    assert(settings.contextTokens % CONTEXT_UNIT === 0, 'a slot is whole units of cells');
    this.#llama = llama;
    this.#settings = settings;
    const isGpu = llama.device !== 'cpu';
    const modelParams = { ...llama.model_default_params(), n_gpu_layers: isGpu ? ALL_LAYERS : 0 };
    this.#model = orThrow(
      llama.model_load_from_file(settings.model, modelParams),
      `llama.cpp cannot load ${settings.model}`,
    );
    this.#context = orThrow(
      llama.init_from_model(this.#model, {
        ...llama.context_default_params(),
        n_ctx: settings.slots * settings.contextTokens,
        n_batch: settings.batchTokens,
        n_ubatch: Math.min(512, settings.batchTokens),
        n_seq_max: settings.slots,
        n_outputs_max: settings.slots,
        n_threads: settings.threads,
        n_threads_batch: settings.threads,
        flash_attn_type: FLASH_ATTENTION_ON,
        type_k: TYPE_F16,
        offload_kqv: isGpu,
        op_offload: isGpu,
        no_perf: true,
        kv_unified: false,
      }),
      `llama.cpp cannot make a context of ${settings.slots} slots with ${settings.contextTokens} tokens`,
    );
    this.#vocab = llama.model_get_vocab(this.#model);
    this.#memory = llama.get_memory(this.#context);
    this.vocabularySize = llama.vocab_n_tokens(this.#vocab);
    this.#samplers = new Samplers({
      llama,
      context: this.#context,
      vocab: this.#vocab,
      vocabularySize: this.vocabularySize,
    });
    this.#batch = new BatchMemory(settings.batchTokens, settings.slots);
    this.#lengths = new Array<number>(settings.slots).fill(0);
  }

  step(plan: StepPlan): StepResult {
    for (const move of plan.moves) this.#move(move);
    const startNs = process.hrtime.bigint();
    const samples = new Map<SequenceId, Sample>();
    const [vectors, others] = this.#vectorsApart(plan.slices);
    for (const group of callsOf(others)) {
      for (const { sequence, index } of this.#compute(group)) {
        samples.set(sequence, this.#sample(sequence, index));
      }
    }
    for (const slice of vectors) samples.set(slice.sequence, this.#embed(slice));
    const elapsedUs = Number((process.hrtime.bigint() - startNs) / 1000n);
    const inOrder = plan.slices.flatMap(({ sequence }) => samples.get(sequence) ?? []);
    return { samples: inOrder, elapsedUs };
  }

  /** Logits of the slice's last token, copied; for self-tests. */
  logitsOf(slice: Slice): Float32Array {
    const [output] = this.#compute([{ ...slice, sample: true }]);
    return this.#logits(output.index).slice();
  }

  cut(slot: number, tokens: number): void {
    assert(tokens <= this.#lengths[slot], 'a slot is cut to what it holds');
    if (tokens === this.#lengths[slot]) return;
    this.#saved = undefined;
    const done = this.#llama.memory_seq_rm(this.#memory, slot, tokens, -1);
    if (!done) throw new Error('llama.cpp cannot cut this model’s KV back');
    this.#lengths[slot] = tokens;
  }

  /** Ids of a text as llama.cpp's own tokenizer makes them, special tokens recognised. */
  tokenize(text: string): Int32Array {
    const bytes = new TextEncoder().encode(text);
    const ids = new Int32Array(bytes.length + 8);
    const { tokenize } = this.#llama;
    const count = tokenize(this.#vocab, bytes, bytes.length, ids, ids.length, false, true);
    assert(count >= 0, 'a text has no more tokens than bytes');
    return ids.slice(0, count);
  }

  /**
   * A conversation as llama.cpp's built-in version of the model's template writes it (no tools).
   * Throws where it knows no such template.
   */
  applyTemplate(messages: { role: string; content: string }[]): string {
    const template = this.#llama.model_chat_template(this.#model, null) ?? 'chatml';
    const characters = messages.reduce((sum, { content }) => sum + content.length + 64, 64);
    const text = new Uint8Array(4 * characters);
    const { chat_apply_template: apply } = this.#llama;
    const bytes = apply(template, messages, messages.length, true, text, text.length);
    if (bytes < 0 || bytes > text.length) {
      throw new Error('llama.cpp knows no template like this model’s');
    }
    return new TextDecoder().decode(text.subarray(0, bytes));
  }

  /** Bytes of a block in the host store; undefined before blocks were ever copied. */
  get blockBytes(): number | undefined {
    return this.#codec?.blockBytes;
  }

  /** Copies of blocks of the host store, one after the other. */
  readBlocks(handles: readonly Handle[]): Uint8Array {
    const store = this.#hostStore();
    const blocks = handles.map((handle) => store.get(handle));
    const bytes = new Uint8Array(blocks.reduce((sum, block) => sum + block.length, 0));
    let at = 0;
    for (const block of blocks) {
      bytes.set(block, at);
      at += block.length;
    }
    return bytes;
  }

  /** As many blocks as `bytes` has, into places of the host store. */
  writeBlocks(handles: readonly Handle[], bytes: Uint8Array): void {
    const store = this.#hostStore();
    const { hostBlocks } = this.#settings;
    const blockBytes = this.blockBytes ?? 0;
    assert(bytes.length === handles.length * blockBytes, 'each place gets a block');
    handles.forEach((handle, i) => {
      assert(handle >= 0 && handle < hostBlocks, 'a handle lies in the host store');
      store.claim(handle).set(bytes.subarray(i * blockBytes, (i + 1) * blockBytes));
    });
  }

  /** Files are written and read through this from now on. */
  useFiles(files: FileStore): void {
    this.#files = files;
  }

  close(): void {
    this.#samplers.free();
    this.#llama.free(this.#context);
    this.#llama.model_free(this.#model);
  }

  #move(move: Move): void {
    switch (move.kind) {
      case 'open':
        return this.#samplers.open(move.sequence, move.sampling, move.wants);
      case 'close':
        return this.#samplers.close(move.sequence);
      case 'cut':
        return this.cut(move.slot, move.tokens);
      case 'copyOut':
        return this.copyOut(move.slot, move.indexes, move.handles);
      case 'copyIn':
        return this.copyIn(move.slot, move.handles);
      case 'save':
        return this.#save(move);
      case 'load': {
        const { handles } = move;
        const store = this.#hostStore();
        this.#files?.load(move.file, move.indexes, (position, block) => {
          store.claim(handles[position]).set(block);
        });
        return;
      }
      case 'drop':
        this.#files?.drop(move.file);
    }
  }

  #save({ file, content, source }: Extract<Move, { kind: 'save' }>): void {
    if (source.kind === 'host') {
      const store = this.#hostStore();
      this.#files?.save(file, content, (i, target) => target.set(store.get(source.handles[i])));
      return;
    }
    const state = this.#saveState(source.slot);
    const codec = this.#codec;
    assert(codec !== undefined, 'the self-test has learned the layout');
    this.#files?.save(file, content, (i, target) => codec.read(state, source.indexes[i], target));
  }

  #hostStore(): HostStore {
    assert(this.#store !== undefined, 'the self-test has made the host store');
    return this.#store;
  }

  copyOut(slot: number, indexes: readonly number[], handles: readonly number[]): void {
    const { blockTokens, hostBlocks } = this.#settings;
    const state = this.#saveState(slot);
    this.#codec ??= new BlockCodec(state, blockTokens);
    this.#store ??= new HostStore(this.#codec.blockBytes);
    for (let i = 0; i < indexes.length; i++) {
      assert(handles[i] >= 0 && handles[i] < hostBlocks, 'a handle lies in the host store');
      assert((indexes[i] + 1) * blockTokens <= this.#lengths[slot], 'a block lies in its slot');
      this.#codec.read(state, indexes[i], this.#store.claim(handles[i]));
    }
  }

  copyIn(slot: number, handles: readonly number[]): void {
    const codec = this.#codec;
    const store = this.#store;
    assert(codec !== undefined && store !== undefined, 'blocks go out before they come in');
    const tokens = handles.length * this.#settings.blockTokens;
    assert(tokens <= this.#settings.contextTokens, 'a slot holds what is rebuilt in it');
    this.#saved = undefined;
    const state = this.#room(codec.stateBytes(tokens));
    const blocks = handles.map((handle) => store.get(handle));
    const bytes = codec.write(blocks, state);
    const read = Number(
      this.#llama.state_seq_set_data(this.#context, state.subarray(0, bytes), bytes, slot),
    );
    if (read !== bytes) throw new Error(`llama.cpp refused a rebuilt state: ${reasons()}`);
    this.#lengths[slot] = tokens;
  }

  /** Fills the batch and decodes it; says at which index each sampling slice has its logits. */
  #compute(slices: readonly Slice[]): { sequence: SequenceId; index: number }[] {
    if (slices.length === 0) return [];
    const outputs: { sequence: SequenceId; index: number }[] = [];
    this.#saved = undefined;
    this.#batch.clear();
    let lastSlot = -1;
    for (const slice of slices) {
      const { slot, tokens, position } = slice;
      assert(slot > lastSlot && slot < this.#settings.slots, 'slots ascend');
      assert(tokens.length > 0, 'a slice has a token');
      assert(position === this.#lengths[slot], 'a slice continues what its slot holds');
      assert(position + tokens.length <= this.#settings.contextTokens, 'a slot has room');
      assert(this.#batch.count + tokens.length <= this.#settings.batchTokens, 'a batch has room');
      for (const token of tokens) assert(token < this.vocabularySize, 'ids are in the vocabulary');
      this.#batch.add(slice);
      if (slice.sample) outputs.push({ sequence: slice.sequence, index: this.#batch.count - 1 });
      this.#lengths[slot] += tokens.length;
      lastSlot = slot;
    }
    const code = this.#llama.decode(this.#context, this.#batch.struct());
    if (code !== 0) throw new Error(`llama_decode answered ${code}: ${reasons()}`);
    return outputs;
  }

  #sample(sequence: SequenceId, index: number): Sample {
    const sampler = this.#samplers.get(sequence);
    assert(sampler !== undefined, 'a sequence opens before it samples');
    return { sequence, ...sampler.sample(index, () => this.#logits(index)) };
  }

  #vectorsApart(slices: readonly Slice[]): [Slice[], Slice[]] {
    const isVector = ({ sample, sequence }: Slice) =>
      sample && this.#samplers.get(sequence)?.isEmbedding === true;
    return [slices.filter(isVector), slices.filter((slice) => !isVector(slice))];
  }

  /** With embeddings on, llama.cpp makes outputs of all tokens: only the last is computed so. */
  #embed(slice: Slice): Sample {
    const { sequence, tokens, position } = slice;
    const last = tokens.length - 1;
    if (last > 0) this.#compute([{ ...slice, tokens: tokens.slice(0, last), sample: false }]);
    this.#llama.set_embeddings(this.#context, true);
    const alone = { ...slice, tokens: tokens.slice(last), position: position + last };
    const [{ index }] = this.#compute([alone]);
    this.#llama.set_embeddings(this.#context, false);
    return { sequence, token: 0, vector: this.#vector(index) };
  }

  /** What the last layer made of the output's token, scaled to length 1. */
  #vector(index: number): Float32Array {
    const row = this.#llama.get_embeddings_ith(this.#context, index);
    const size = this.#llama.model_n_embd(this.#model);
    const raw = new Float32Array(memoryAt(orThrow(row, 'no vector was made'), 4 * size));
    const norm = Math.hypot(...raw);
    return raw.map((value) => (norm === 0 ? 0 : value / norm));
  }

  #logits(index: number): Float32Array {
    const row = orThrow(this.#llama.get_logits_ith(this.#context, index), 'no logits were made');
    return new Float32Array(memoryAt(row, 4 * this.vocabularySize));
  }

  #saveState(slot: number): Uint8Array {
    if (this.#saved?.slot === slot) return this.#saved.state;
    this.#saved = undefined;
    const size = Number(this.#llama.state_seq_get_size(this.#context, slot));
    const state = this.#room(size).subarray(0, size);
    const written = Number(this.#llama.state_seq_get_data(this.#context, state, size, slot));
    if (written !== size) throw new Error(`llama.cpp cannot save a slot: ${reasons()}`);
    this.#saved = { slot, state };
    return state;
  }

  #room(bytes: number): Uint8Array {
    // What was there goes first: two of them would be more than the budget has.
    if (this.#scratch.length < bytes) this.#scratch = new Uint8Array(0);
    if (this.#scratch.length === 0) this.#scratch = new Uint8Array(bytes);
    return this.#scratch;
  }
}

/**
 * Slices that are computed in one call: decoding sequences together, each prompt chunk alone. Mixed,
 * llama.cpp takes one token of each sequence first and what is left of the chunk after it, which then
 * is no whole tile any more (measured: 64 + 3 tokens in 52 ms mixed, in 22 ms apart).
 */
function callsOf(slices: readonly Slice[]): Slice[][] {
  const decoding = slices.filter(({ tokens }) => tokens.length === 1);
  const prompts = slices.filter(({ tokens }) => tokens.length > 1);
  return [...(decoding.length > 0 ? [decoding] : []), ...prompts.map((slice) => [slice])];
}

function orThrow<T>(value: T | null, claim: string): T {
  if (value === null) throw new Error(`${claim}: ${reasons()}`);
  return value;
}

function reasons(): string {
  const complaints = takeComplaints();
  return complaints.length === 0 ? 'it gave no reason' : complaints.slice(-3).join('; ');
}
