/**
 * By which an engine that answers a request finds the KV of the prompt that another engine computed, in
 * the words of both; see wire/handoff.ts.
 */
export type Ticket =
  /** Of a vLLM connector: engine, blocks, address. Opaque here. */
  | { kind: 'vllm'; params: TicketParams }
  /** Where both SGLang engines meet. */
  | { kind: 'sglang'; host: string; port: number | undefined; room: number }
  /** Of TensorRT-LLM's context phase, with the prompt as that engine cut it. */
  | { kind: 'trtllm'; params: TicketParams; promptIds: readonly number[] | undefined };

export type TicketParams = Readonly<Record<string, unknown>>;
