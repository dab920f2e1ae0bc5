import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Chat } from '../model/request.ts';
import { anthropicMessages } from './anthropic-messages.ts';
import type { Ask } from './wire.ts';

const USER = { role: 'user', content: 'x' };
const WEATHER = { name: 'weather', description: 'It.', input_schema: { type: 'object' } };
const SEARCH = { name: 'ToolSearch', input_schema: { type: 'object' } };

test('tools that clients run are given the parameters they are known for; vendors’ own are left out', () => {
  const { tools } = chatOf({
    tools: [
      WEATHER,
      { type: 'bash_20250124', name: 'bash' },
      { type: 'text_editor_20250728', name: 'str_replace_based_edit_tool', max_characters: 9 },
      { type: 'text_editor_20250124', name: 'str_replace_editor' },
      { type: 'memory_20250818', name: 'memory' },
      { type: 'computer_20250124', name: 'computer', display_width_px: 800 },
      { type: 'web_search_20250305', name: 'web_search', max_uses: 5 },
      { type: 'code_execution_20250825', name: 'code_execution' },
      { type: 'mcp_toolset', mcp_server_name: 'm' },
      { type: 'custom', name: 'bare' },
    ],
  });
  assert.deepEqual(
    tools.map(({ name }) => name),
    [
      ...['weather', 'bash', 'str_replace_based_edit_tool', 'str_replace_editor', 'memory'],
      ...['computer', 'bare'],
    ],
  );
  for (const { name, description, parameters } of tools.slice(1, -1)) {
    const { type, properties } = parameters as { type: string; properties: object };
    assert.equal(type, 'object', name);
    assert.ok(Object.keys(properties).length > 1 && description, name);
  }
});

test('a deferred tool is told where a result refers to it, and nothing before changes', () => {
  const tools = [SEARCH, { ...WEATHER, defer_loading: true }];
  const unasked = chatOf({ tools });
  assert.deepEqual(
    unasked.tools.map(({ name }) => name),
    ['ToolSearch'],
  );
  const found = [
    USER,
    { role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'ToolSearch', input: {} }] },
    {
      role: 'user',
      content: [
        {
          type: 'tool_result',
          tool_use_id: 'a',
          content: [
            { type: 'tool_reference', tool_name: 'weather' },
            { type: 'tool_reference', tool_name: 'nobody knows it' },
          ],
        },
      ],
    },
  ];
  const { tools: after, messages } = chatOf({ tools, messages: found });
  assert.deepEqual(
    after.map(({ name, deferred }) => [name, deferred]),
    [
      ['ToolSearch', undefined],
      ['weather', true],
    ],
  );
  const { content } = messages[2];
  assert.equal(content.length, 1);
  assert.ok(content[0].kind === 'text');
  const told = JSON.parse(content[0].text) as { function: { name: string; parameters: unknown } };
  assert.deepEqual(told.function.parameters, WEATHER.input_schema);
});

test('where their vendor was to search among deferred tools, all are told at once', () => {
  const search = { type: 'tool_search_tool_regex_20251119', name: 'tool_search_tool_regex' };
  const { tools } = chatOf({ tools: [search, { ...WEATHER, defer_loading: true }] });
  assert.deepEqual(
    tools.map(({ name, deferred }) => [name, deferred]),
    [['weather', undefined]],
  );
});

test('a choice: one call at a time, a named tool, and one that only its vendor can run', () => {
  const tools = [WEATHER, { type: 'web_search_20250305', name: 'web_search' }];
  const choose = (tool_choice: object) => parse({ tools, tool_choice });
  const one = choose({ type: 'auto', disable_parallel_tool_use: true });
  assert.equal(one.shape.oneCall, true);
  assert.equal(one.shape.format, undefined);
  const any = choose({ type: 'any', disable_parallel_tool_use: true }).shape;
  assert.ok(any.format?.kind === 'calls' && !any.format.many);
  assert.equal(choose({ type: 'auto' }).shape.oneCall, undefined);
  const named = choose({ type: 'tool', name: 'weather' }).shape.format;
  assert.ok(named?.kind === 'calls' && named.tools.length === 1);
  assert.throws(() => choose({ type: 'tool', name: 'web_search' }), /only its vendor can run/);
  assert.throws(() => choose({ type: 'tool', name: 'none such' }), /not among tools/);
});

test('effort, kept thinking and edits of the context', () => {
  const clear = (keep: unknown) => ({ edits: [{ type: 'clear_thinking_20251015', keep }] });
  const ask = parse({
    output_config: { effort: 'high' },
    context_management: clear('all'),
    thinking: { type: 'adaptive', display: 'omitted' },
  });
  const { chat } = ask.prompt as { chat: Chat };
  assert.equal(chat.effort, 'high');
  assert.equal(chat.keepsReasoning, true);
  assert.deepEqual(ask.messages, { sealsThinking: true, edits: true });
  assert.equal(chatOf({ context_management: clear({ value: 1 }) }).keepsReasoning, undefined);
  assert.deepEqual(parse({}).messages, { sealsThinking: false, edits: false });
});

function parse(more: object): Ask {
  return anthropicMessages.parse({ model: 'm', max_tokens: 5, messages: [USER], ...more });
}

function chatOf(more: object): Chat {
  const { prompt } = parse(more);
  assert.ok(prompt.kind === 'chat');
  return prompt.chat;
}
