/** What the official clients put together from a stream is what the answer that did not stream holds. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { type Stack, scripted, startUp } from '../e2e/stack.ts';

const CALLS = [
  { name: 'look', arguments: { where: 'Łódź "centre"', days: [1, { deep: null }], at: -1.5e3 } },
  { name: 'now', arguments: {} },
];
const SCHEMA = { type: 'object' as const, properties: { where: { type: 'string' } } };
const LONG = 'one two three four five six seven eight nine ten eleven twelve thirteen fourteen';

/** What the model writes, by the word that asks for it, and how it is cut. */
const CASES: Record<string, { rule: object; tokensMax?: number; stop?: string }> = {
  words: { rule: { text: 'naïve 😀\n\n漢字 "quoted" \\ \u2028 end' } },
  nothing: { rule: { text: '' } },
  reasoning: { rule: { reasoning: 'First this.\n\nThen "that".', text: 'So it is.' } },
  calls: { rule: { toolCalls: CALLS } },
  everything: { rule: { reasoning: 'Hm.', text: 'I look.', toolCalls: CALLS } },
  length: { rule: { text: LONG }, tokensMax: 12 },
  'length in reasoning': { rule: { reasoning: LONG, text: 'x' }, tokensMax: 14 },
  'length in a call': { rule: { toolCalls: [CALLS[0]] }, tokensMax: 40 },
  'stop sequence': { rule: { text: LONG }, stop: ' seven' },
};

let stack: Stack;
let openai: OpenAI;
let anthropic: Anthropic;
before(async () => {
  const rules = Object.entries(CASES).map(([name, { rule }]) => ({ match: `<${name}>`, ...rule }));
  stack = await startUp([...scripted(rules), '--workers=1']);
  const given = { apiKey: 'local', maxRetries: 0 };
  openai = new OpenAI({ baseURL: `${stack.url}/v1`, ...given });
  anthropic = new Anthropic({ baseURL: stack.url, ...given });
});

for (const [name, { tokensMax = 400, stop }] of Object.entries(CASES)) {
  const content = `Say <${name}>`;

  test(`${name}: chat completions`, async () => {
    const fn = (tool: string) => ({
      type: 'function' as const,
      function: { name: tool, parameters: SCHEMA },
    });
    const body = {
      model: 'demo',
      messages: [{ role: 'user' as const, content }],
      max_completion_tokens: tokensMax,
      ...(stop !== undefined && { stop }),
      tools: [fn('look'), fn('now')],
    };
    const usage = { stream_options: { include_usage: true } };
    const stream = openai.chat.completions.stream({ ...body, ...usage });
    let reasoning = '';
    stream.on('chunk', ({ choices }) => {
      const { reasoning_content = '' } = (choices[0]?.delta ?? {}) as {
        reasoning_content?: string;
      };
      reasoning += reasoning_content;
    });
    const streamed = await stream.finalChatCompletion();
    const whole = await openai.chat.completions.create(body);
    const { reasoning_content = '' } = whole.choices[0].message as { reasoning_content?: string };
    assert.equal(reasoning, reasoning_content);
    assert.deepEqual(chatOf(streamed), chatOf(whole));
  });

  test(`${name}: messages`, async () => {
    for (const display of ['summarized', 'omitted'] as const) {
      const body = {
        model: 'demo',
        messages: [{ role: 'user' as const, content }],
        max_tokens: tokensMax,
        ...(stop !== undefined && { stop_sequences: [stop] }),
        thinking: { type: 'adaptive' as const, display },
        tools: ['look', 'now'].map((tool) => ({ name: tool, input_schema: SCHEMA })),
      };
      const streamed = await anthropic.messages.stream(body).finalMessage();
      const whole = await anthropic.messages.create(body);
      assert.deepEqual(messageOf(streamed), messageOf(whole));
      const thinking = whole.content.find((block) => block.type === 'thinking');
      if (thinking !== undefined) assert.equal(thinking.thinking === '', display === 'omitted');
    }
  });

  // The API knows no stop sequences.
  if (stop !== undefined) continue;
  test(`${name}: responses`, async () => {
    const fn = (tool: string) => ({
      ...{ type: 'function' as const, name: tool, parameters: SCHEMA, strict: false },
    });
    const body = {
      model: 'demo',
      input: content,
      store: false,
      max_output_tokens: Math.max(tokensMax, 16),
      include: ['reasoning.encrypted_content' as const],
      tools: [fn('look'), fn('now')],
    };
    const streamed = await openai.responses.stream(body).finalResponse();
    const whole = await openai.responses.create(body);
    assert.deepEqual(responseOf(streamed), responseOf(whole));
  });
}

test('who asked for it hears of a call as soon as it is whole, on every wire', async () => {
  const content = 'Say <everything>';
  const nvext = { extra_fields: ['tool_call_dispatch'] };
  const wires: Record<string, object> = {
    '/v1/chat/completions': { messages: [{ role: 'user', content }] },
    '/v1/messages': { messages: [{ role: 'user', content }], max_tokens: 400 },
    '/v1/responses': { input: content, store: false },
  };
  for (const [path, body] of Object.entries(wires)) {
    const response = await fetch(stack.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'demo', stream: true, nvext, ...body }),
    });
    const events = (await response.text()).split('\n\n');
    const told = events.flatMap((event, at) => {
      const data = /^event: tool_call_dispatch\ndata: (.*)$/.exec(event)?.[1];
      if (data === undefined) return [];
      const { tool_call } = JSON.parse(data) as {
        tool_call: { function: { name: string; arguments: string } };
      };
      return [{ at, call: tool_call.function }];
    });
    assert.deepEqual(
      told.map(({ call }) => ({
        name: call.name,
        arguments: JSON.parse(call.arguments) as object,
      })),
      CALLS,
      path,
    );
    const second = events.findIndex((event) => event.includes('"now"'));
    assert.ok(told[0].at < second, `${path}: the first is told before the second begins`);
  }
});

test('clients that never heard of it read such a stream as any other', async () => {
  const nvext = { extra_fields: ['tool_call_dispatch'] };
  const messages = [{ role: 'user' as const, content: 'Say <everything>' }];
  const chat = { model: 'demo', messages };
  const told = await openai.chat.completions.stream({ ...chat, nvext } as never);
  const plain = await openai.chat.completions.create(chat);
  assert.deepEqual(
    chatOf((await told.finalChatCompletion()) as OpenAI.ChatCompletion).choices,
    chatOf(plain).choices,
  );
  const body = { ...chat, max_tokens: 400 };
  const message = await anthropic.messages.stream({ ...body, nvext } as never).finalMessage();
  assert.deepEqual(messageOf(message), messageOf(await anthropic.messages.create(body)));
});

/** Without what differs from answer to answer: its id, its time, and what was cached before. */
function chatOf({ choices, usage, model }: OpenAI.ChatCompletion) {
  return {
    model,
    usage: { ...usage, prompt_tokens_details: undefined },
    choices: choices.map(({ message, finish_reason }) => ({
      finish_reason,
      role: message.role,
      content: message.content ?? '',
      calls: (message.tool_calls ?? []).map((call) => ({
        id: call.id,
        type: call.type,
        ...(call.type === 'function' && {
          name: call.function.name,
          arguments: call.function.arguments,
        }),
      })),
    })),
  };
}

/** Also without what the helper adds. */
function messageOf(given: Anthropic.Message) {
  const { id: _, usage, ...message } = { ...given, parsed_output: undefined };
  const { input_tokens, cache_read_input_tokens, ...others } = usage;
  return {
    ...message,
    usage: { ...others, prompt: input_tokens + (cache_read_input_tokens ?? 0) },
  };
}

function responseOf(response: OpenAI.Responses.Response) {
  const { status, incomplete_details, output, usage, output_text } = response;
  const { input_tokens_details: _, ...others } = usage ?? { input_tokens_details: {} };
  // Ids of items follow from the response's own; parsed arguments are the helper's addition.
  const items = output.map(({ id: _id, ...item }) => ({ ...item, parsed_arguments: undefined }));
  const texts = items.map((item) => JSON.stringify(item).replaceAll(',"parsed":null', ''));
  return { status, incomplete_details, output_text, usage: others, items: texts };
}
