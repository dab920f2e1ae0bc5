import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../model/error.ts';
import type { Chat } from '../model/request.ts';
import type { Json } from './fields.ts';
import { openaiResponses } from './responses.ts';
import type { Ask } from './wire.ts';

const fn = (name: string, more: Json = {}) => ({ type: 'function', name, ...more });

test('each tool is a function that the model can call', () => {
  const grammar = { type: 'grammar', syntax: 'lark', definition: 'start: "a"' };
  const { tools } = chatOf({
    tools: [
      fn('ls', { description: 'Lists.', parameters: { type: 'object' } }),
      { type: 'custom', name: 'patch', description: 'Patches.', format: grammar },
      { type: 'namespace', name: 'ns', description: 'All of it.', tools: [fn('a'), fn('b')] },
      { type: 'web_search' },
      { type: 'shell', environment: { type: 'container_auto' } },
      { type: 'shell' },
      { type: 'local_shell' },
    ],
  });
  assert.deepEqual(
    tools.map(({ name }) => name),
    ['ls', 'patch', 'ns__a', 'ns__b', 'shell', 'local_shell'],
  );
  assert.equal(
    tools[1].description,
    'Patches.\n\nThe input follows this lark grammar:\nstart: "a"',
  );
  assert.deepEqual((tools[1].parameters as Json).required, ['input']);
  assert.deepEqual([tools[2].description, tools[3].description], ['All of it.', undefined]);
});

test('deferred tools are shown from the start unless the client searches among them', () => {
  const later = fn('later', { defer_loading: true });
  const search = { type: 'tool_search', execution: 'client', parameters: { type: 'object' } };
  const found = {
    type: 'tool_search_output',
    call_id: 'c1',
    tools: [later, { type: 'namespace', name: 'mcp', tools: [fn('look')] }],
  };
  const names = (body: Json) => chatOf(body).tools.map((it) => `${it.name} ${it.deferred ?? ''}`);
  assert.deepEqual(names({ tools: [later, { type: 'tool_search' }] }), ['later ']);
  assert.deepEqual(names({ tools: [later, search] }), ['later true', 'tool_search ']);
  const asked = { type: 'tool_search_call', call_id: 'c1', arguments: { query: 'x' } };
  const input = [{ role: 'user', content: 'x' }, asked, found];
  const after = { input, tools: [later, search] };
  assert.deepEqual(names(after), ['later true', 'tool_search ', 'mcp__look true']);
  const { faces } = read(after).responses ?? {};
  assert.deepEqual(faces?.find('mcp__look'), { kind: 'function', name: 'look', namespace: 'mcp' });
});

test('the choice of tools, in all its forms', () => {
  const tools = [
    ...[fn('a'), fn('b'), { type: 'custom', name: 'c' }, { type: 'shell' }],
    { type: 'namespace', name: 'ns', tools: [fn('d')] },
    { type: 'web_search' },
  ];
  const choice = (tool_choice: unknown) => chatOf({ tools, tool_choice }).toolChoice;
  assert.deepEqual(choice(null), { kind: 'auto' });
  assert.deepEqual(choice('none'), { kind: 'none' });
  assert.deepEqual(choice('required'), { kind: 'required' });
  assert.deepEqual(choice(fn('b')), { kind: 'named', name: 'b' });
  assert.deepEqual(choice({ type: 'custom', name: 'c' }), { kind: 'named', name: 'c' });
  assert.deepEqual(choice({ type: 'shell' }), { kind: 'named', name: 'shell' });
  assert.deepEqual(choice(fn('d', { namespace: 'ns' })), { kind: 'named', name: 'ns__d' });
  const allowed = (mode: string) => {
    const some = [fn('b'), { type: 'web_search' }, fn('d', { namespace: 'ns' })];
    return { type: 'allowed_tools', mode, tools: some };
  };
  assert.deepEqual(choice(allowed('required')), { kind: 'required', names: ['b', 'ns__d'] });
  const shown = chatOf({ tools, tool_choice: allowed('auto') });
  assert.deepEqual(shown.toolChoice, { kind: 'auto' });
  assert.deepEqual(
    shown.tools.map(({ name }) => name),
    ['b', 'ns__d'],
  );
  const wrong: [Json, string][] = [
    [{ type: 'web_search' }, 'tool_choice.type'],
    [{ type: 'apply_patch' }, 'tool_choice.type'],
    [fn('unheard'), 'tool_choice'],
    [{ type: 'allowed_tools', mode: 'some', tools: [] }, 'tool_choice.mode'],
  ];
  for (const [tool_choice, param] of wrong) refused({ tools, tool_choice }, param);
  refused(
    { tools: [fn('x__y'), { type: 'namespace', name: 'x', tools: [fn('y')] }] },
    'tools[1].tools[0].name',
  );
  refused({ tools: [fn('x'), { type: 'custom', name: 'x' }] }, 'tools[1].name');
});

function refused(body: Json, param: string): void {
  assert.throws(
    () => read(body),
    (thrown) => thrown instanceof GatewayError && thrown.param === param,
    param,
  );
}

function read(body: Json): Ask {
  return openaiResponses.parse({ model: 'm', input: 'x', ...body });
}

function chatOf(body: Json): Chat {
  const { prompt } = read(body);
  assert.ok(prompt.kind === 'chat');
  return prompt.chat;
}
