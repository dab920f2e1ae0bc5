/**
 * One llama.cpp context: a stream of KV per slot, and a host store of blocks. Executes a scheduler's
 * plans synchronously. Everything is validated before it reaches C, where a failed assertion would
 * end the process.
 */
import { createHash } from 'node:crypto';
import koffi from 'koffi';
import { assert } from '../../base/assert.ts';
import type { Sampling } from '../../model/request.ts';
import type { Move, Sample, SequenceId, Slice, StepPlan, StepResult } from '../../model/step.ts';
import { type Llama, type Pointer, takeComplaints } from './binding.ts';
import { BlockCodec } from './block-codec.ts';
import { HostStore } from './host-store.ts';

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
}

/** llama.cpp lays out a stream in units of so many cells. */
export const CONTEXT_UNIT = 256;

const FLASH_ATTENTION_ON = 1;
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
  readonly #samplers = new Map<SequenceId, Pointer>();
  /** Sequences whose tokens come with a digest. */
  readonly #digested = new Set<SequenceId>();
  /** Tokens each slot holds. */
  readonly #lengths: number[];
  #codec: BlockCodec | undefined;
  #store: HostStore | undefined;
  #scratch = new Uint8Array(0);

  /** Loads the model; throws one sentence where the file cannot be loaded. */
  constructor(llama: Llama, settings: ContextSettings) {
    assert(settings.contextTokens % CONTEXT_UNIT === 0, 'a slot is whole units of cells');
    this.#llama = llama;
    this.#settings = settings;
    const modelParams = { ...llama.model_default_params(), n_gpu_layers: 0 };
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
        offload_kqv: false,
        op_offload: false,
        no_perf: true,
        kv_unified: false,
      }),
      `llama.cpp cannot make a context of ${settings.slots} slots with ${settings.contextTokens} tokens`,
    );
    this.#vocab = llama.model_get_vocab(this.#model);
    this.#memory = llama.get_memory(this.#context);
    this.vocabularySize = llama.vocab_n_tokens(this.#vocab);
    this.#batch = new BatchMemory(settings.batchTokens, settings.slots);
    this.#lengths = new Array<number>(settings.slots).fill(0);
  }

  step(plan: StepPlan): StepResult {
    for (const move of plan.moves) this.#move(move);
    const startNs = process.hrtime.bigint();
    const samples = new Map<SequenceId, Sample>();
    for (const group of callsOf(plan.slices)) {
      for (const { sequence, index } of this.#compute(group)) {
        samples.set(sequence, this.#sample(sequence, index));
      }
    }
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

  close(): void {
    for (const sampler of this.#samplers.values()) this.#llama.sampler_free(sampler);
    this.#samplers.clear();
    this.#llama.free(this.#context);
    this.#llama.model_free(this.#model);
  }

  #move(move: Move): void {
    switch (move.kind) {
      case 'open':
        this.#samplers.set(move.sequence, this.#makeSampler(move.sampling));
        if (move.digests) this.#digested.add(move.sequence);
        return;
      case 'close': {
        const sampler = this.#samplers.get(move.sequence);
        if (sampler !== undefined) this.#llama.sampler_free(sampler);
        this.#samplers.delete(move.sequence);
        this.#digested.delete(move.sequence);
        return;
      }
      case 'cut':
        return this.cut(move.slot, move.tokens);
      case 'copyOut':
        return this.copyOut(move.slot, move.indexes, move.handles);
      case 'copyIn':
        return this.copyIn(move.slot, move.handles);
    }
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
    const token = this.#llama.sampler_sample(sampler, this.#context, index);
    if (!this.#digested.has(sequence)) return { sequence, token };
    return { sequence, token, logitsDigest: digest(this.#logits(index)) };
  }

  #logits(index: number): Float32Array {
    const row = orThrow(this.#llama.get_logits_ith(this.#context, index), 'no logits were made');
    return new Float32Array(koffi.view(row, 4 * this.vocabularySize));
  }

  #saveState(slot: number): Uint8Array {
    const size = Number(this.#llama.state_seq_get_size(this.#context, slot));
    const state = this.#room(size).subarray(0, size);
    const written = Number(this.#llama.state_seq_get_data(this.#context, state, size, slot));
    if (written !== size) throw new Error(`llama.cpp cannot save a slot: ${reasons()}`);
    return state;
  }

  #room(bytes: number): Uint8Array {
    // What was there goes first: two of them would be more than the budget has.
    if (this.#scratch.length < bytes) this.#scratch = new Uint8Array(0);
    if (this.#scratch.length === 0) this.#scratch = new Uint8Array(bytes);
    return this.#scratch;
  }

  #makeSampler(sampling: Sampling): Pointer {
    const llama = this.#llama;
    const chain = llama.sampler_chain_init(llama.sampler_chain_default_params());
    const add = (sampler: Pointer) => llama.sampler_chain_add(chain, sampler);
    const { repetitionPenalty, frequencyPenalty, presencePenalty, temperature } = sampling;
    if (repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0) {
      const { vocabularySize } = this;
      add(
        llama.sampler_init_penalties(
          vocabularySize,
          PENALTY_TOKENS,
          repetitionPenalty,
          frequencyPenalty,
          presencePenalty,
        ),
      );
    }
    if (temperature === 0) {
      add(llama.sampler_init_greedy());
      return chain;
    }
    if (sampling.topK > 0) add(llama.sampler_init_top_k(sampling.topK));
    if (sampling.topP < 1) add(llama.sampler_init_top_p(sampling.topP, 1));
    if (sampling.minP > 0) add(llama.sampler_init_min_p(sampling.minP, 1));
    add(llama.sampler_init_temp(temperature));
    add(llama.sampler_init_dist(sampling.seed ?? Math.floor(Math.random() * 2 ** 32)));
    return chain;
  }
}

/** How far back penalties look, as llama.cpp's own server does by default. */
const PENALTY_TOKENS = 64;

/** The arrays of a `llama_batch`, in one piece of native memory that lives as long as the context. */
class BatchMemory {
  count = 0;
  readonly #tokens: Int32Array;
  readonly #positions: Int32Array;
  readonly #sequences: BigUint64Array;
  readonly #outputs: Int8Array;
  readonly #slotCells: Pointer;
  readonly #pointers: {
    token: Pointer;
    pos: Pointer;
    n_seq_id: Pointer;
    seq_id: Pointer;
    logits: Pointer;
  };

  constructor(tokensMax: number, slots: number) {
    const bytes = tokensMax * (4 + 4 + 4 + 8 + 1) + slots * 4 + 6 * 16;
    const base = koffi.alloc('uint8_t', bytes) as unknown as Pointer;
    const memory = koffi.view(base, bytes);
    let used = 0;
    const claim = (size: number) => {
      const at = used;
      used = (used + size + 15) & ~15;
      return { at, pointer: base + BigInt(at) };
    };
    const token = claim(4 * tokensMax);
    const pos = claim(4 * tokensMax);
    const counts = claim(4 * tokensMax);
    const sequences = claim(8 * tokensMax);
    const cells = claim(4 * slots);
    const outputs = claim(tokensMax);
    this.#tokens = new Int32Array(memory, token.at, tokensMax);
    this.#positions = new Int32Array(memory, pos.at, tokensMax);
    new Int32Array(memory, counts.at, tokensMax).fill(1);
    this.#sequences = new BigUint64Array(memory, sequences.at, tokensMax);
    const slotCells = new Int32Array(memory, cells.at, slots);
    for (let slot = 0; slot < slots; slot++) slotCells[slot] = slot;
    this.#slotCells = cells.pointer;
    this.#outputs = new Int8Array(memory, outputs.at, tokensMax);
    this.#pointers = {
      token: token.pointer,
      pos: pos.pointer,
      n_seq_id: counts.pointer,
      seq_id: sequences.pointer,
      logits: outputs.pointer,
    };
  }

  clear(): void {
    this.count = 0;
  }

  add(slice: Slice): void {
    const { tokens, position, slot } = slice;
    const sequence = this.#slotCells + BigInt(4 * slot);
    for (let i = 0; i < tokens.length; i++) {
      this.#tokens[this.count] = tokens[i];
      this.#positions[this.count] = position + i;
      this.#sequences[this.count] = sequence;
      this.#outputs[this.count] = slice.sample && i === tokens.length - 1 ? 1 : 0;
      this.count++;
    }
  }

  struct() {
    return { n_tokens: this.count, embd: null, ...this.#pointers };
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

/** Equal digests mean bit-equal logits. */
function digest(logits: Float32Array): string {
  const bytes = new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength);
  return createHash('sha256').update(bytes).digest('hex').slice(0, 32);
}

function orThrow<T>(value: T | null, claim: string): T {
  if (value === null) throw new Error(`${claim}: ${reasons()}`);
  return value;
}

function reasons(): string {
  const complaints = takeComplaints();
  return complaints.length === 0 ? 'it gave no reason' : complaints.slice(-3).join('; ');
}
