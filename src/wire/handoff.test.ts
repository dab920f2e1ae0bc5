import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prefillFields, readTicket, ticketFields } from './handoff.ts';

test('vLLM’s parameters go from the one to the other as they are', () => {
  const { kv_transfer_params: asked } = prefillFields('vllm') as Record<string, object>;
  assert.deepEqual(asked, {
    do_remote_decode: true,
    do_remote_prefill: false,
    remote_engine_id: null,
    remote_block_ids: null,
    remote_host: null,
    remote_port: null,
  });
  const params = {
    ...{ do_remote_prefill: true, do_remote_decode: false, remote_engine_id: 'e-1' },
    ...{ remote_block_ids: [[3, 4], [9]], remote_host: '10.0.0.1', remote_port: 5600 },
    ...{ tp_size: 2, something_new: { nested: [1] } },
  };
  const ticket = readTicket('vllm', { id: 'cmpl-1', choices: [], kv_transfer_params: params });
  assert.deepEqual(ticketFields(ticket), { kv_transfer_params: params });
});

test('TensorRT-LLM’s context phase becomes its generation phase, with the ids it computed', () => {
  assert.deepEqual(prefillFields('trtllm'), {
    disaggregated_params: { request_type: 'context_only' },
  });
  const params = {
    ...{ request_type: 'context_only', first_gen_tokens: [7], ctx_request_id: 12 },
    encoded_opaque_state: 'AAAA',
  };
  const choices = [{ index: 0, finish_reason: 'length', disaggregated_params: params }];
  const ticket = readTicket('trtllm', { choices, prompt_token_ids: [1, 2, 3] });
  assert.deepEqual(ticketFields(ticket), {
    disaggregated_params: { ...params, request_type: 'generation_only' },
    prompt_token_ids: [1, 2, 3],
  });
  const idless = ticketFields(readTicket('trtllm', { choices, prompt_token_ids: null }));
  assert.deepEqual(Object.keys(idless), ['disaggregated_params']);
});

test('both of SGLang’s requests name one room', () => {
  const ticket = { kind: 'sglang', host: '10.0.0.1', port: 8998, room: 2 ** 52 + 1 } as const;
  assert.deepEqual(ticketFields(ticket), {
    bootstrap_host: '10.0.0.1',
    bootstrap_port: 8998,
    bootstrap_room: 2 ** 52 + 1,
  });
  assert.equal(ticketFields({ ...ticket, port: undefined }).bootstrap_port, null);
});

test('an engine that hands nothing over gives no ticket, whatever it says', () => {
  const answers = [undefined, null, 'x', [], {}, { kv_transfer_params: null, choices: [] }];
  const more = [{ kv_transfer_params: [1], choices: [{ disaggregated_params: 'x' }] }];
  for (const answer of [...answers, ...more]) {
    assert.equal(readTicket('vllm', answer), undefined);
    assert.equal(readTicket('trtllm', answer), undefined);
  }
  assert.deepEqual(ticketFields(undefined), {});
});
