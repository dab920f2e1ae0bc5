/** The bare loop's own process: one call at a time, answered in order. */
import {
  allocate,
  type Batch,
  type Llama,
  loadLlama,
  type Pointer,
  takeComplaints,
} from '../engines/llama/binding.ts';
import type { BareAnswer, BareCall, BareSettings } from './bare-loop.ts';
import { Stopwatch, type Took } from './stopwatch.ts';

let loop: Loop | undefined;

process.on('message', (call: BareCall) => process.send?.(answer(call)));
process.on('disconnect', () => process.exit());

function answer(call: BareCall): BareAnswer {
  try {
    if (call.kind === 'open') {
      loop = new Loop(loadLlama('cpu'), call.settings);
      return { kind: 'opened' };
    }
    if (loop === undefined) throw new Error('a loop is opened before it runs');
    const took = call.kind === 'prefill' ? loop.prefill(call.chunks) : loop.decode(call);
    return { kind: 'took', took };
  } catch (error) {
    return { kind: 'failed', message: (error as Error).message };
  }
}

const FLASH_ATTENTION_ON = 1;

class Loop {
  readonly #llama: Llama;
  readonly #context: Pointer;
  readonly #memory: Pointer;
  readonly #sampler: Pointer;
  readonly #vocabularySize: number;
  readonly #tokens: Int32Array;
  readonly #positions: Int32Array;
  readonly #slots: Int32Array;
  readonly #outputs: Int8Array;
  readonly #batch: Batch;

  constructor(llama: Llama, settings: BareSettings) {
    const { model: path, slots, contextTokens, batchTokens, threads } = settings;
    this.#llama = llama;
    const model = llama.model_load_from_file(path, {
      ...llama.model_default_params(),
      n_gpu_layers: 0,
    });
    if (model === null)
      throw new Error(`llama.cpp cannot load ${path}: ${takeComplaints().at(-1)}`);
    const context = llama.init_from_model(model, {
      ...llama.context_default_params(),
      n_ctx: slots * contextTokens,
      n_batch: batchTokens,
      n_ubatch: batchTokens,
      n_seq_max: slots,
      n_outputs_max: slots,
      n_threads: threads,
      n_threads_batch: threads,
      flash_attn_type: FLASH_ATTENTION_ON,
      offload_kqv: false,
      op_offload: false,
      no_perf: true,
    });
    if (context === null) throw new Error(`llama.cpp makes no context: ${takeComplaints().at(-1)}`);
    this.#context = context;
    this.#memory = llama.get_memory(context);
    this.#vocabularySize = llama.vocab_n_tokens(llama.model_get_vocab(model));
    this.#sampler = llama.sampler_chain_init(llama.sampler_chain_default_params());
    llama.sampler_chain_add(this.#sampler, llama.sampler_init_greedy());
    const room = Math.max(batchTokens, slots);
    const ints = () => {
      const { pointer, memory } = allocate(4 * room);
      return { pointer, array: new Int32Array(memory) };
    };
    const [tokens, positions, ones, slotIds] = [ints(), ints(), ints(), ints()];
    const slotCells = allocate(8 * room);
    const outputs = allocate(room);
    new BigUint64Array(slotCells.memory).forEach((_, i, cells) => {
      cells[i] = slotIds.pointer + BigInt(4 * i);
    });
    ones.array.fill(1);
    this.#tokens = tokens.array;
    this.#positions = positions.array;
    this.#slots = slotIds.array;
    this.#outputs = new Int8Array(outputs.memory);
    this.#batch = {
      n_tokens: 0,
      token: tokens.pointer,
      embd: null,
      pos: positions.pointer,
      n_seq_id: ones.pointer,
      seq_id: slotCells.pointer,
      logits: outputs.pointer,
    };
  }

  prefill(chunks: readonly number[]): Took {
    this.#clear(0);
    const watch = new Stopwatch();
    let position = 0;
    chunks.forEach((count, i) => {
      this.#chunk({ slot: 0, position, count, last: i === chunks.length - 1 });
      position += count;
    });
    this.#llama.sampler_sample(this.#sampler, this.#context, -1);
    return watch.read();
  }

  decode({ batch, context, steps }: { batch: number; context: number; steps: number }): Took {
    const width = this.#tokens.length;
    for (let slot = 0; slot < batch; slot++) {
      this.#clear(slot);
      for (let position = 0; position < context; position += width) {
        const count = Math.min(width, context - position);
        this.#chunk({ slot, position, count, last: false });
      }
    }
    const next = Array.from({ length: batch }, (_, slot) => this.#token(slot, context));
    const watch = new Stopwatch();
    for (let step = 0; step < steps; step++) {
      for (let slot = 0; slot < batch; slot++) {
        this.#put(slot, { slot, token: next[slot], position: context + step, output: 1 });
      }
      this.#decode(batch);
      for (let slot = 0; slot < batch; slot++) {
        next[slot] = this.#llama.sampler_sample(this.#sampler, this.#context, slot);
      }
    }
    return watch.read();
  }

  #chunk(given: { slot: number; position: number; count: number; last: boolean }): void {
    const { slot, position, count, last } = given;
    for (let i = 0; i < count; i++) {
      const output = last && i === count - 1 ? 1 : 0;
      const token = this.#token(slot, position + i);
      this.#put(i, { slot, token, position: position + i, output });
    }
    this.#decode(count);
  }

  #put(at: number, given: { slot: number; token: number; position: number; output: 0 | 1 }): void {
    this.#tokens[at] = given.token;
    this.#positions[at] = given.position;
    this.#slots[at] = given.slot;
    this.#outputs[at] = given.output;
  }

  #decode(count: number): void {
    const code = this.#llama.decode(this.#context, { ...this.#batch, n_tokens: count });
    if (code !== 0) throw new Error(`llama_decode answered ${code}: ${takeComplaints().at(-1)}`);
  }

  #clear(slot: number): void {
    this.#llama.memory_seq_rm(this.#memory, slot, 0, -1);
  }

  #token(slot: number, position: number): number {
    return (position * 7919 + slot * 131 + 13) % this.#vocabularySize;
  }
}
