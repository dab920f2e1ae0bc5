/** Engines that a gateway can stand in front of; `engines/upstreams.ts` builds each. */
export const ENGINE_KINDS = [
  'stator',
  'vllm',
  'sglang',
  'trtllm',
  'llama-server',
  'ollama',
  'openai',
  'anthropic',
] as const;
export type EngineKind = (typeof ENGINE_KINDS)[number];
