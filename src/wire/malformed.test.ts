/** Bodies that no wire takes: each is refused with one sentence that names the field. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../model/error.ts';
import { anthropicMessages } from './anthropic-messages.ts';
import { openaiChat } from './openai-chat.ts';
import { openaiCompletions } from './openai-completions.ts';
import type { Wire } from './wire.ts';

const USER = { role: 'user', content: 'SECRET' };
const GOOD: [Wire, Record<string, unknown>][] = [
  [openaiChat, { model: 'm', messages: [USER] }],
  [anthropicMessages, { model: 'm', max_tokens: 9, messages: [USER] }],
  [openaiCompletions, { model: 'm', prompt: 'SECRET' }],
];
const [CHAT, MESSAGES, COMPLETIONS] = GOOD;

const message = (changes: unknown) => ({ messages: [USER, changes] });
const content = (...blocks: unknown[]) => ({ messages: [{ role: 'user', content: blocks }] });
const said = (...blocks: unknown[]) => ({ messages: [{ role: 'assistant', content: blocks }] });

/** What is changed in a good body, and the field that the sentence must name. */
const BOTH: [Record<string, unknown>, string][] = [
  [{ model: undefined }, 'model'],
  [{ model: 5 }, 'model'],
  [{ messages: undefined }, 'messages'],
  [{ messages: [] }, 'messages'],
  [{ messages: 'hello' }, 'messages'],
  [{ messages: [null] }, 'messages[0]'],
  [message({ content: 'x' }), 'messages[1].role'],
  [message({ role: 'wizard', content: 'x' }), 'messages[1].role'],
  [message({ role: 'user', content: 5 }), 'messages[1].content'],
  [content('text'), 'messages[0].content[0]'],
  [content({ type: 'text' }), 'messages[0].content[0].text'],
  [content({ text: 'x' }), 'messages[0].content[0].type'],
  [content({ type: 'input_audio' }), 'messages[0].content[0].type'],
  [{ max_tokens: 0 }, 'max_tokens'],
  [{ max_tokens: -1 }, 'max_tokens'],
  [{ max_tokens: 1.5 }, 'max_tokens'],
  [{ max_tokens: '100' }, 'max_tokens'],
  [{ temperature: 'hot' }, 'temperature'],
  [{ temperature: -0.1 }, 'temperature'],
  [{ temperature: 2.1 }, 'temperature'],
  [{ top_p: 1.01 }, 'top_p'],
  [{ stream: 'yes' }, 'stream'],
  [{ tools: {} }, 'tools'],
  [{ tools: [5] }, 'tools[0]'],
  [{ nvext: [] }, 'nvext'],
  [{ nvext: { agent_hints: 'fast' } }, 'nvext.agent_hints'],
  [{ nvext: { agent_hints: { osl: -4 } } }, 'nvext.agent_hints.osl'],
  [{ nvext: { extra_fields: [1] } }, 'nvext.extra_fields[0]'],
  [{ nvext: { cache_salt: 5 } }, 'nvext.cache_salt'],
];

const CHAT_ONLY: [Record<string, unknown>, string][] = [
  [{ n: 129 }, 'n'],
  [{ n: 1.5 }, 'n'],
  [{ n: 0 }, 'n'],
  [{ logprobs: 5 }, 'logprobs'],
  [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
  [{ top_logprobs: 3 }, 'top_logprobs'],
  [{ response_format: { type: 'xml' } }, 'response_format.type'],
  [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema'],
  [
    { response_format: { type: 'json_schema', json_schema: { name: 'x' } } },
    'response_format.json_schema.schema',
  ],
  [{ structured_outputs: 'json' }, 'structured_outputs'],
  [{ structured_outputs: { json: '{' } }, 'structured_outputs.json'],
  [{ structured_outputs: { regex: 5 } }, 'structured_outputs.regex'],
  [{ structured_outputs: { choice: [1] } }, 'structured_outputs.choice[0]'],
  [{ structured_outputs: { regex: 'a', choice: ['a'] } }, 'structured_outputs.json'],
  [{ guided_json: [] }, 'guided_json'],
  [{ top_k: 1.5 }, 'top_k'],
  [{ ignore_eos: 'yes' }, 'ignore_eos'],
  [{ min_tokens: -1 }, 'min_tokens'],
  [{ stop_token_ids: ['a'] }, 'stop_token_ids[0]'],
  [{ skip_special_tokens: 1 }, 'skip_special_tokens'],
  [{ truncate_prompt_tokens: 0 }, 'truncate_prompt_tokens'],
  [{ truncate_prompt_tokens: -2 }, 'truncate_prompt_tokens'],
  [{ parallel_tool_calls: 'no' }, 'parallel_tool_calls'],
  [{ tool_choice: 'required' }, 'tool_choice'],
  [
    { tools: [{ function: { name: 'a' } }], tool_choice: { function: { name: 'b' } } },
    'tool_choice',
  ],
  [{ response_format: 'json' }, 'response_format'],
  [{ max_completion_tokens: 0 }, 'max_completion_tokens'],
  [{ stop: '' }, 'stop[0]'],
  [{ stop: ['a', ''] }, 'stop[1]'],
  [{ stop: [5] }, 'stop[0]'],
  [{ stop: Array.from({ length: 17 }, String) }, 'stop'],
  [{ seed: 1.5 }, 'seed'],
  [{ top_k: -2 }, 'top_k'],
  [{ frequency_penalty: 3 }, 'frequency_penalty'],
  [{ stream_options: true }, 'stream_options'],
  [{ stream_options: { include_usage: 1 } }, 'stream_options.include_usage'],
  [{ tool_choice: 'always' }, 'tool_choice'],
  [{ tool_choice: { type: 'function' } }, 'tool_choice.function'],
  [{ tool_choice: { function: {} } }, 'tool_choice.function.name'],
  [{ tools: [{ type: 'function' }] }, 'tools[0].function'],
  [{ tools: [{ function: { name: 'x', parameters: [] } }] }, 'tools[0].function.parameters'],
  [{ chat_template_kwargs: { enable_thinking: 'no' } }, 'chat_template_kwargs.enable_thinking'],
  [{ prompt_cache_key: 5 }, 'prompt_cache_key'],
  [message({ role: 'tool', content: 'x' }), 'messages[1].tool_call_id'],
  [content({ type: 'image_url', image_url: 'x' }), 'messages[0].content[0].image_url'],
  [message({ role: 'assistant', tool_calls: [{}] }), 'messages[1].tool_calls[0].function'],
  [
    message({ role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: {} } }] }),
    'messages[1].tool_calls[0].function.arguments',
  ],
];

const MESSAGES_ONLY: [Record<string, unknown>, string][] = [
  [{ max_tokens: undefined }, 'max_tokens'],
  [{ temperature: 1.1 }, 'temperature'],
  [{ top_k: -1 }, 'top_k'],
  [{ stop_sequences: [''] }, 'stop_sequences[0]'],
  [{ system: 5 }, 'system'],
  [{ system: [{ type: 'text' }] }, 'system[0].text'],
  [{ tool_choice: 'auto' }, 'tool_choice'],
  [{ tool_choice: { type: 'any' } }, 'tool_choice'],
  [{ output_config: { format: { type: 'json_object' } } }, 'output_format.type'],
  [{ output_format: { type: 'json_schema' } }, 'output_format.schema'],
  [{ tool_choice: { type: 'maybe' } }, 'tool_choice.type'],
  [{ tool_choice: { type: 'tool' } }, 'tool_choice.name'],
  [{ tools: [{ input_schema: {} }] }, 'tools[0].name'],
  [{ thinking: 'on' }, 'thinking'],
  [{ metadata: { user_id: 5 } }, 'metadata.user_id'],
  [content({ type: 'document', source: {} }), 'messages[0].content[0].source.type'],
  [content({ type: 'audio' }), 'messages[0].content[0].type'],
  [content({ type: 'tool_result', content: 'x' }), 'messages[0].content[0].tool_use_id'],
  [content({ type: 'image' }), 'messages[0].content[0].source'],
  [
    content({ type: 'image', source: { type: 'base64', media_type: 'image/png' } }),
    'messages[0].content[0].source.data',
  ],
  [said({ type: 'thinking' }), 'messages[0].content[0].thinking'],
  [said({ type: 'tool_use', name: 'f', input: {} }), 'messages[0].content[0].id'],
  [said({ type: 'tool_use', id: 'a', input: {} }), 'messages[0].content[0].name'],
  [said({ type: 'tool_use', id: 'a', name: 'f', input: [] }), 'messages[0].content[0].input'],
];

const COMPLETIONS_ONLY: [Record<string, unknown>, string][] = [
  [{ prompt: undefined }, 'prompt'],
  [{ prompt: '' }, 'prompt'],
  [{ prompt: [] }, 'prompt'],
  [{ prompt: [[]] }, 'prompt'],
  [{ prompt: [[[1]]] }, 'prompt[0]'],
  [{ prompt: ['a', 'b'] }, 'prompt[0]'],
  [{ prompt: [1, -1] }, 'prompt[1]'],
  [{ prompt: [1, 2.5] }, 'prompt[1]'],
  [{ prompt: [2 ** 32] }, 'prompt[0]'],
  [{ echo: true }, 'echo'],
  [{ best_of: 2 }, 'best_of'],
  [{ logprobs: true }, 'logprobs'],
  [{ logprobs: 21 }, 'logprobs'],
  [{ n: 3, best_of: 2 }, 'best_of'],
  [{ nvext: { answer_frame: 'x' } }, 'nvext.answer_frame'],
  [{ nvext: { answer_frame: { calls: {} } } }, 'nvext.answer_frame.calls.open'],
  [{ suffix: 'x' }, 'suffix'],
  [{ return_token_ids: 'yes' }, 'return_token_ids'],
];

const TABLE: [[Wire, Record<string, unknown>], [Record<string, unknown>, string][]][] = [
  [CHAT, [...BOTH, ...CHAT_ONLY]],
  [MESSAGES, [...BOTH, ...MESSAGES_ONLY]],
  [COMPLETIONS, COMPLETIONS_ONLY],
];

test('a body that is wrong is refused with one sentence that names the field and quotes no prompt', () => {
  for (const [[wire, good], rows] of TABLE) {
    for (const [changes, field] of rows) {
      const row = `${wire.name} ${JSON.stringify(changes)}`;
      const error = refusal(wire, { ...good, ...changes }, row);
      assert.equal(error.status, 400, row);
      assert.equal(error.param, field, row);
      assert.ok(error.message.startsWith(`${field} `), `${row}: ${error.message}`);
      assert.match(error.message, /^[^\n]*[^.\n]\.$/, row);
      assert.ok(!error.message.includes('SECRET'), row);
    }
  }
});

test('what is no object at all is refused too, and the good bodies are taken', () => {
  for (const [wire, good] of GOOD) {
    for (const body of [null, 5, 'text', [], [good], true]) {
      const error = refusal(wire, body, `${wire.name} ${JSON.stringify(body)}`);
      assert.equal(error.message, 'the body must be an object.');
    }
    wire.parse(good);
  }
});

test('a prompt nested as deep as a body allows is refused, not followed', () => {
  const deep: unknown = JSON.parse(`${'['.repeat(200_000)}1${']'.repeat(200_000)}`);
  assert.equal(refusal(openaiCompletions, { model: 'm', prompt: deep }, 'deep').status, 400);
});

test('an error has the shape that clients of its wire read', () => {
  const error = new GatewayError('invalid_request', 'max_tokens is required.', {
    param: 'max_tokens',
  });
  for (const wire of [openaiChat, openaiCompletions]) {
    assert.deepEqual(wire.error(error), {
      error: {
        message: 'max_tokens is required.',
        type: 'invalid_request_error',
        param: 'max_tokens',
        code: 'invalid_request',
      },
    });
  }
  assert.deepEqual(anthropicMessages.error(error), {
    type: 'error',
    error: { type: 'invalid_request_error', message: 'max_tokens is required.' },
  });
});

function refusal(wire: Wire, body: unknown, row: string): GatewayError {
  try {
    wire.parse(body);
  } catch (thrown) {
    assert.ok(thrown instanceof GatewayError, `${row}: ${thrown}`);
    return thrown;
  }
  assert.fail(`${row}: was taken`);
}
