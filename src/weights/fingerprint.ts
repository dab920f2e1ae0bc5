import type { Hash } from 'node:crypto';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import type { Gguf, GgufTensor, GgufValue } from './gguf.ts';

const SAMPLE_BYTES = 1024;
const HEX_DIGITS = 16;

/**
 * Names a model so that KV computed by one may be used by another exactly if they name it alike: a hash
 * of hyperparameters, vocabulary, tensor layout and 1 KiB from the middle of every tensor. Names,
 * descriptions and the chat template do not count. Some milliseconds, however large the file.
 */
export function fingerprintOf(gguf: Gguf): string {
  const hash = createHash('sha256');
  hash.update(`${gguf.fileBytes - gguf.dataOffset}\n`);
  for (const key of [...gguf.metadata.keys()].filter(counts).sort()) {
    add(hash, key, gguf.metadata.get(key) as GgufValue);
  }
  const file = openSync(gguf.path, 'r');
  try {
    for (const tensor of gguf.tensors) {
      hash.update(`${tensor.name} ${tensor.type.name} ${tensor.shape.join()}\n`);
      hash.update(sample(file, gguf.dataOffset, tensor));
    }
  } finally {
    closeSync(file);
  }
  return hash.digest('hex').slice(0, HEX_DIGITS);
}

function counts(key: string): boolean {
  if (key === 'general.architecture') return true;
  return !key.startsWith('general.') && key !== 'tokenizer.chat_template';
}

function add(hash: Hash, key: string, value: GgufValue): void {
  hash.update(`${key} ${value.type}\n`);
  if (value.type !== 'array') hash.update(`${value.value}\n`);
  else if (value.of === 'string' || value.of === 'bool') hash.update(JSON.stringify(value.values));
  else hash.update(value.values);
}

function sample(file: number, dataOffset: number, tensor: GgufTensor): Uint8Array {
  const bytes = new Uint8Array(Math.min(SAMPLE_BYTES, tensor.bytes));
  const position = dataOffset + tensor.offset + Math.floor((tensor.bytes - bytes.length) / 2);
  return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, position));
}
