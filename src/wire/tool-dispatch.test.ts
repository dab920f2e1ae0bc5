import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventsOf } from '../../test/client-readers.ts';
import type { Finish, Part } from '../model/part.ts';
import { anthropicMessages } from './anthropic-messages.ts';
import { openaiChat } from './openai-chat.ts';
import { TOOL_CALL_DISPATCH } from './tool-dispatch.ts';
import type { Framer, Wire } from './wire.ts';

const OPENING = { id: 'i', createdS: 1, model: 'm', promptTokens: 4 };
const WIRES = [openaiChat, anthropicMessages];
const begin = (index: number, choice = 0): Part => {
  return { kind: 'toolCall', index, id: `c${index}`, name: 'ls', choice };
};
const args = (index: number, text: string, choice = 0): Part => {
  return { kind: 'toolArguments', index, text, tokens: 1, choice };
};
const done = (finish: Finish['kind'] = 'toolCalls'): Part => {
  const usage = { promptTokens: 1, outputTokens: 1, cachedTokens: 0 };
  return { kind: 'done', finish: { kind: finish } as Finish, usage };
};

test('a call is told whole with the piece that completes it, before the answer ends', () => {
  for (const wire of WIRES) {
    const framer = framerOf(wire);
    const said = (part: Part) => dispatches(framer.part(part));
    assert.deepEqual(said(begin(0)), [], wire.name);
    assert.deepEqual(said(args(0, '{"path": "a } b", "n": ')), []);
    assert.deepEqual(said(args(0, '1}')), [told(0, '{"path": "a } b", "n": 1}')]);
    assert.deepEqual(said(begin(1)), [], 'the first is told once');
    assert.deepEqual(said(args(1, '{}')), [told(1, '{}')]);
    assert.deepEqual(said(done()), []);
  }
});

test('a call without arguments is told when something else comes, but not where it was cut', () => {
  for (const wire of WIRES) {
    const next = framerOf(wire);
    next.part(begin(0));
    assert.deepEqual(dispatches(next.part(begin(1))), [told(0, '{}')]);
    assert.deepEqual(dispatches(next.part(done())), [told(1, '{}')]);
    const cut = framerOf(wire);
    cut.part(begin(0));
    assert.deepEqual(dispatches(cut.part(done('length'))), []);
  }
});

test('what breaks off or is no JSON is never told', () => {
  for (const text of ['{"a": 1', '{a: 1}', 'ls -l']) {
    const framer = framerOf(openaiChat);
    framer.part(begin(0));
    const rest = framer.part(args(0, text)) + framer.part(done());
    assert.deepEqual(dispatches(rest), [], text);
  }
});

test('several answers have calls of their own', () => {
  const framer = framerOf(openaiChat, { n: 2 });
  framer.part(begin(0, 0));
  framer.part(begin(0, 1));
  assert.deepEqual(dispatches(framer.part(args(0, '{"b":1}', 1))), [told(0, '{"b":1}', 1)]);
  assert.deepEqual(dispatches(framer.part(args(0, '{"a":1}', 0))), [told(0, '{"a":1}', 0)]);
});

test('who did not ask gets the same stream without it', () => {
  const parts = [begin(0), args(0, '{}'), done()];
  for (const wire of WIRES) {
    const streamOf = (framer: Framer) => parts.map((part) => framer.part(part)).join('');
    const plain = streamOf(framerOf(wire, { nvext: {} }));
    const rest = eventsOf(streamOf(framerOf(wire))).filter((it) => it.event !== TOOL_CALL_DISPATCH);
    assert.deepEqual(rest, eventsOf(plain));
  }
});

function framerOf(wire: Wire, more: object = {}): Framer {
  const messages = [{ role: 'user', content: 'x' }];
  const nvext = { extra_fields: [TOOL_CALL_DISPATCH] };
  return wire.framer(wire.parse({ model: 'm', max_tokens: 9, messages, nvext, ...more }), OPENING);
}

function dispatches(stream: string): unknown[] {
  if (stream === '') return [];
  return eventsOf(stream).flatMap(({ event, data }) => {
    if (event !== TOOL_CALL_DISPATCH) return [];
    const { choice_index, tool_call } = JSON.parse(data) as Record<string, unknown>;
    return [{ choice_index, tool_call }];
  });
}

function told(index: number, text: string, choice = 0): unknown {
  const call = { id: `c${index}`, type: 'function', function: { name: 'ls', arguments: text } };
  return { choice_index: choice, tool_call: { index, ...call } };
}
