/** Each kind of engine that a gateway can stand in front of, and who drives it. */
import type { EngineKind } from '../model/engine-kind.ts';
import type { Upstream } from '../ports.ts';
import { AnthropicUpstream, OpenaiUpstream } from './hosted-upstream.ts';
import { LlamaServerUpstream } from './llama-server-upstream.ts';
import { OllamaUpstream } from './ollama-upstream.ts';
import { SglangUpstream } from './sglang-upstream.ts';
import { StatorUpstream } from './stator-upstream.ts';
import { TrtllmUpstream } from './trtllm-upstream.ts';
import type { UpstreamGiven } from './upstream-given.ts';
import { VllmUpstream } from './vllm-upstream.ts';

export const UPSTREAMS: Readonly<Record<EngineKind, (given: UpstreamGiven) => Upstream>> = {
  stator: (given) => new StatorUpstream(given),
  vllm: (given) => new VllmUpstream(given),
  sglang: (given) => new SglangUpstream(given),
  trtllm: (given) => new TrtllmUpstream(given),
  'llama-server': (given) => new LlamaServerUpstream(given),
  ollama: (given) => new OllamaUpstream(given),
  openai: (given) => new OpenaiUpstream(given),
  anthropic: (given) => new AnthropicUpstream(given),
};
