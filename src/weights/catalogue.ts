/** Models that `--model NAME` fetches from the hub. */
export interface CatalogueEntry {
  name: string;
  /** On the hub. */
  repository: string;
  file: string;
  /** About, as is `parameters`: the hub and the file say exactly. */
  bytes: number;
  /** SPDX. */
  licence: string;
  parameters: number;
  contextTokens: number;
  /** What it is good for, in one line. */
  line: string;
}

/** Best first, for an agent on an ordinary machine. */
export const CATALOGUE: readonly CatalogueEntry[] = [
  {
    name: 'qwen3-0.6b',
    repository: 'Qwen/Qwen3-0.6B-GGUF',
    file: 'Qwen3-0.6B-Q8_0.gguf',
    bytes: 639_000_000,
    licence: 'Apache-2.0',
    parameters: 600_000_000,
    contextTokens: 40_960,
    line: 'the smallest that reasons and calls tools; a coding agent can talk to it',
  },
  {
    name: 'qwen3-1.7b',
    repository: 'Qwen/Qwen3-1.7B-GGUF',
    file: 'Qwen3-1.7B-Q8_0.gguf',
    bytes: 1_830_000_000,
    licence: 'Apache-2.0',
    parameters: 1_720_000_000,
    contextTokens: 40_960,
    line: 'reasons and calls tools more reliably; wants 8 cores or patience',
  },
  {
    name: 'qwen3-4b',
    repository: 'Qwen/Qwen3-4B-GGUF',
    file: 'Qwen3-4B-Q4_K_M.gguf',
    bytes: 2_500_000_000,
    licence: 'Apache-2.0',
    parameters: 4_020_000_000,
    contextTokens: 40_960,
    line: 'writes usable code; wants a GPU or a fast laptop',
  },
  {
    name: 'qwen2.5-0.5b',
    repository: 'Qwen/Qwen2.5-0.5B-Instruct-GGUF',
    file: 'qwen2.5-0.5b-instruct-q4_0.gguf',
    bytes: 429_000_000,
    licence: 'Apache-2.0',
    parameters: 494_000_000,
    contextTokens: 32_768,
    line: 'little KV a token, so the fastest with long contexts; answers without thinking first',
  },
  {
    name: 'smollm2-360m',
    repository: 'HuggingFaceTB/SmolLM2-360M-Instruct-GGUF',
    file: 'smollm2-360m-instruct-q8_0.gguf',
    bytes: 386_000_000,
    licence: 'Apache-2.0',
    parameters: 362_000_000,
    contextTokens: 8_192,
    line: 'short English chats; too short a context for coding agents',
  },
  {
    name: 'smollm2-135m',
    repository: 'bartowski/SmolLM2-135M-Instruct-GGUF',
    file: 'SmolLM2-135M-Instruct-Q8_0.gguf',
    bytes: 145_000_000,
    licence: 'Apache-2.0',
    parameters: 135_000_000,
    contextTokens: 8_192,
    line: 'real sentences on two old cores; too short a context for coding agents',
  },
];
