import { assert } from '../base/assert.ts';
import { Prng } from '../base/prng.ts';
import type { TensorToWrite } from './gguf-write.ts';
import { F32, Q8_0 } from './tensor-type.ts';

/** Of a transformer in Qwen3's layout, whose output matrix is its embedding. */
export interface DemoShape {
  layers: number;
  width: number;
  heads: number;
  kvHeads: number;
  headWidth: number;
  feedForwardWidth: number;
}

/** Embeddings are small beside what layers add, or each token would call for itself again. */
const EMBEDDING = 1 / 4;
/** Of the embedding of a token that is hardly ever to be sampled, against that of others. */
const QUIET = 1 / 8;
/** How far apart logits lie: as in a trained model, few tokens lead. */
const LOGIT_DEVIATION = 4;

/**
 * Random weights: matrices of mean 0 and deviation 1/√inputs in Q8_0, norms of 1 in F32. One seed, one
 * model, on every machine: only integer arithmetic and square roots are used.
 *
 * Tokens that are not `loud` are hardly ever sampled. A small embedding does that, because it is the
 * output matrix too; as an input each layer's norm makes it as large as any other.
 */
export function demoTensors(
  shape: DemoShape,
  loud: readonly boolean[],
  seed: number,
): TensorToWrite[] {
  const { width, headWidth, feedForwardWidth } = shape;
  const queries = shape.heads * headWidth;
  const keys = shape.kvHeads * headWidth;
  const random = new Prng(seed);
  const matrix = (name: string, inputs: number, outputs: number) =>
    matrixOf(name, random, { inputs, outputs, scaleOf: () => 1 });
  const tensors = [
    matrixOf('token_embd.weight', random, {
      inputs: width,
      outputs: loud.length,
      scaleOf: (token) => (loud[token] ? EMBEDDING : EMBEDDING * QUIET),
    }),
  ];
  for (let layer = 0; layer < shape.layers; layer++) {
    const named = (part: string) => `blk.${layer}.${part}.weight`;
    tensors.push(
      norm(named('attn_norm'), width, 1),
      matrix(named('attn_q'), width, queries),
      matrix(named('attn_k'), width, keys),
      matrix(named('attn_v'), width, keys),
      norm(named('attn_q_norm'), headWidth, 1),
      norm(named('attn_k_norm'), headWidth, 1),
      matrix(named('attn_output'), queries, width),
      norm(named('ffn_norm'), width, 1),
      matrix(named('ffn_gate'), width, feedForwardWidth),
      matrix(named('ffn_up'), width, feedForwardWidth),
      matrix(named('ffn_down'), feedForwardWidth, width),
    );
  }
  tensors.push(norm('output_norm.weight', width, LOGIT_DEVIATION / EMBEDDING));
  return tensors;
}

function norm(name: string, size: number, weight: number): TensorToWrite {
  const data = new Uint8Array(new Float32Array(size).fill(weight).buffer);
  return { name, shape: [size], type: F32, data };
}

interface MatrixShape {
  inputs: number;
  outputs: number;
  /** Factor of one output's row. */
  scaleOf(output: number): number;
}

/** Q8_0 blocks, row by row: a half-precision scale, then 32 steps of 8 bits, of which 15 are used. */
function matrixOf(name: string, random: Prng, shape: MatrixShape): TensorToWrite {
  const { inputs, outputs } = shape;
  const { blockElements, blockBytes } = Q8_0;
  const blocksPerRow = inputs / blockElements;
  assert(Number.isInteger(blocksPerRow), 'rows are whole blocks');
  const prng = random.fork(name);
  const data = new Uint8Array(outputs * blocksPerRow * blockBytes);
  const steps = new Int8Array(data.buffer);
  let at = 0;
  for (let output = 0; output < outputs; output++) {
    const scale = halfBits(shape.scaleOf(output) / Math.sqrt(inputs) / STEP_DEVIATION);
    for (let block = 0; block < blocksPerRow; block++) {
      data[at++] = scale;
      data[at++] = scale >>> 8;
      for (let i = 0; i < blockElements; i += STEPS_PER_WORD) {
        const word = prng.uint32();
        for (let bit = 0; bit < 32; bit += 4) steps[at++] = stepOf((word >>> bit) & 15);
      }
    }
  }
  return { name, shape: [inputs, outputs], type: Q8_0, data };
}

const STEPS_PER_WORD = 8;
/** Of the steps that `stepOf` yields: 0 twice, ±1 … ±7 once, of 16. */
const STEP_DEVIATION = Math.sqrt(280 / 16);

/** Uniform bits would lean to -8: that one becomes 0, so that steps run from -7 to 7 and their mean is 0. */
function stepOf(nibble: number): number {
  return nibble === 0 ? 0 : nibble - 8;
}

/** IEEE 754 half precision of a positive number in its normal range, rounded to nearest. */
function halfBits(value: number): number {
  const [bits] = new Uint32Array(Float32Array.of(value).buffer);
  const rounded = bits + 0x1000;
  const exponent = (rounded >>> 23) - 112;
  assert(exponent > 0 && exponent < 31, 'a normal half');
  return (exponent << 10) | ((rounded >>> 13) & 0x3ff);
}
