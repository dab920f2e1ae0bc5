/**
 * How engines of other makers hand the KV of a prompt to each other, as fields of their own requests.
 *
 *   vLLM (NIXL and other connectors)  `kv_transfer_params`: the prefill request says `do_remote_decode`;
 *                                     its answer's parameters go with the decode request as they are
 *   SGLang                            `bootstrap_host`, `bootstrap_port`, `bootstrap_room`: equal in both
 *                                     requests, which run at once and meet there
 *   TensorRT-LLM                      `disaggregated_params`: `context_only`, whose answer's parameters go
 *                                     with the second request as `generation_only`, with the prompt's ids
 *
 * Sources: vLLM tests/v1/kv_connector/nixl_integration, SGLang srt/disaggregation/mini_lb.py, TensorRT-LLM
 * serve/openai_disagg_service.py.
 */
import { unreachable } from '../base/assert.ts';
import type { Ticket, TicketParams } from '../model/ticket.ts';

type Fields = Record<string, unknown>;

/** Of a request for a prompt alone; SGLang's are those of the ticket. */
export function prefillFields(kind: 'vllm' | 'trtllm'): Fields {
  if (kind === 'trtllm') return { disaggregated_params: { request_type: 'context_only' } };
  const nobody = { remote_engine_id: null, remote_block_ids: null };
  const nowhere = { remote_host: null, remote_port: null };
  return {
    kv_transfer_params: {
      do_remote_decode: true,
      do_remote_prefill: false,
      ...nobody,
      ...nowhere,
    },
  };
}

/** Of the request whose answer goes on from there. */
export function ticketFields(ticket: Ticket | undefined): Fields {
  if (ticket === undefined) return {};
  switch (ticket.kind) {
    case 'vllm':
      return { kv_transfer_params: ticket.params };
    case 'sglang': {
      const { host, port, room } = ticket;
      return { bootstrap_host: host, bootstrap_port: port ?? null, bootstrap_room: room };
    }
    case 'trtllm': {
      const { params, promptIds } = ticket;
      return {
        disaggregated_params: { ...params, request_type: 'generation_only' },
        ...(promptIds !== undefined && { prompt_token_ids: promptIds }),
      };
    }
    default:
      return unreachable(ticket);
  }
}

/** From the answer to a prompt alone; undefined where the engine was not started to hand anything over. */
export function readTicket(kind: 'vllm' | 'trtllm', answer: unknown): Ticket | undefined {
  const { kv_transfer_params: transfer, choices, prompt_token_ids: ids } = fieldsOf(answer);
  if (kind === 'vllm') {
    return isParams(transfer) ? { kind, params: transfer } : undefined;
  }
  const { disaggregated_params: params } = fieldsOf(
    Array.isArray(choices) ? choices[0] : undefined,
  );
  if (!isParams(params)) return undefined;
  const isIds = Array.isArray(ids) && ids.every((id) => Number.isSafeInteger(id));
  return { kind, params, promptIds: isIds ? (ids as number[]) : undefined };
}

function fieldsOf(value: unknown): Fields {
  return isParams(value) ? value : {};
}

function isParams(value: unknown): value is TicketParams {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
