/**
 * Streams as clients read them: strict about every event and field that some client was measured to
 * need (agent-clients, "Stream fields: what breaks"), and independent of the framers.
 */
import assert from 'node:assert/strict';

type Json = Record<string, unknown>;

export interface ClientChat {
  role: string;
  content: string;
  reasoning: string;
  toolCalls: ClientCall[];
  finish_reason: string;
  usage: { prompt_tokens_details?: { cached_tokens: number } } | undefined;
}

export interface ClientCall {
  id: string;
  type: string;
  function?: { name: string; arguments: string };
  custom?: { name: string; input: string };
}

export function readChat(stream: string): ClientChat {
  const events = eventsOf(stream);
  assert.equal(events.at(-1)?.data, '[DONE]');
  let role: string | undefined;
  let finish: string | undefined;
  const chat = { content: '', reasoning: '' };
  const toolCalls: ClientChat['toolCalls'] = [];
  let usage: ClientChat['usage'];
  for (const { event, data } of events.slice(0, -1)) {
    assert.equal(event, undefined);
    const chunk = JSON.parse(data) as Json & { choices: Json[]; usage?: ClientChat['usage'] };
    assert.equal(chunk.object, 'chat.completion.chunk');
    for (const field of ['id', 'created', 'model']) assert.ok(field in chunk, field);
    usage = chunk.usage ?? usage;
    for (const choice of chunk.choices) {
      assert.equal(choice.index, 0);
      assert.equal(finish, undefined, 'nothing follows the finish reason');
      assert.ok('finish_reason' in choice);
      finish = (choice.finish_reason as string | null) ?? undefined;
      const delta = choice.delta as Json;
      role ??= delta.role as string;
      assert.ok(role, 'the first delta names the role');
      chat.content += delta.content ?? '';
      chat.reasoning += delta.reasoning_content ?? '';
      assert.equal(delta.reasoning, delta.reasoning_content, 'one text under both names');
      for (const part of (delta.tool_calls ?? []) as Json[]) addCall(toolCalls, part);
    }
  }
  assert.ok(role !== undefined && finish !== undefined, 'a stream has a role and a finish reason');
  return { role, ...chat, toolCalls, finish_reason: finish, usage };
}

/** A call's first piece has index, id, type and name; later ones have index and what it is given. */
function addCall(calls: ClientCall[], part: Json): void {
  const index = part.index as number;
  const fn = part.function as ClientCall['function'];
  const custom = part.custom as ClientCall['custom'];
  if (calls[index] === undefined) {
    assert.equal(index, calls.length, 'calls are numbered in order');
    assert.ok(part.id && (fn ?? custom)?.name);
    assert.equal(part.type, fn === undefined ? 'custom' : 'function');
    const { id, type } = part as { id: string; type: string };
    const call: ClientCall = { id, type };
    if (fn !== undefined) call.function = { name: fn.name, arguments: '' };
    if (custom !== undefined) call.custom = { name: custom.name, input: '' };
    calls.push(call);
  }
  const call = calls[index];
  if (call.function !== undefined) call.function.arguments += fn?.arguments ?? '';
  if (call.custom !== undefined) call.custom.input += custom?.input ?? '';
}

export interface ClientMessage {
  role: string;
  content: unknown[];
  stop_reason: string;
  stop_sequence: string | null;
  usage: { input_tokens: number; output_tokens: number; cache_read_input_tokens: number };
}

export function readMessages(stream: string): ClientMessage {
  const events = eventsOf(stream).map(({ event, data }) => {
    const body = JSON.parse(data) as Json;
    assert.equal(event, body.type, 'each event has its event: line');
    return body;
  });
  const [start, ...rest] = events;
  assert.equal(start.type, 'message_start');
  assert.equal(rest.pop()?.type, 'message_stop');
  const opening = start.message as Json;
  assert.equal(opening.type, 'message');
  assert.deepEqual(opening.content, []);
  for (const field of ['id', 'model', 'usage']) assert.ok(opening[field], field);
  const reader = new BlockReader();
  let last: Json | undefined;
  for (const event of rest) {
    if (event.type === 'ping') continue;
    assert.equal(last, undefined, 'nothing but the stop follows message_delta');
    if (event.type === 'message_delta') last = event;
    else reader.take(event);
  }
  assert.ok(last, 'there is a message_delta');
  const { stop_reason, stop_sequence } = last.delta as ClientMessage;
  const usage = { ...(opening.usage as object), ...(last.usage as object) };
  return {
    role: opening.role as string,
    content: reader.finished(),
    stop_reason,
    stop_sequence,
    usage: usage as ClientMessage['usage'],
  };
}

/** One block is open at a time, from its start to its stop; indexes count up. */
class BlockReader {
  readonly #blocks: Json[] = [];
  #open: Json | undefined;
  #json = '';

  take(event: Json): void {
    if (event.type === 'content_block_start') {
      assert.equal(this.#open, undefined, 'the block before was stopped');
      assert.equal(event.index, this.#blocks.length);
      this.#open = { ...(event.content_block as Json) };
      this.#json = '';
      this.#blocks.push(this.#open);
      return;
    }
    const block = this.#open;
    assert.ok(block, `${event.type} belongs to an open block`);
    assert.equal(event.index, this.#blocks.length - 1);
    if (event.type === 'content_block_stop') {
      if (block.type === 'tool_use') block.input = JSON.parse(this.#json || '{}');
      this.#open = undefined;
      return;
    }
    assert.equal(event.type, 'content_block_delta');
    this.#add(block, event.delta as Record<string, string>);
  }

  finished(): Json[] {
    assert.equal(this.#open, undefined, 'the last block was stopped');
    return this.#blocks;
  }

  #add(block: Json, delta: Record<string, string>): void {
    const pairs: Record<string, [string, string]> = {
      text_delta: ['text', 'text'],
      thinking_delta: ['thinking', 'thinking'],
      signature_delta: ['thinking', 'signature'],
      input_json_delta: ['tool_use', 'partial_json'],
    };
    const [type, field] = pairs[delta.type];
    assert.equal(block.type, type);
    if (field === 'partial_json') this.#json += delta.partial_json;
    else block[field] = `${block[field]}${delta[field]}`;
  }
}

export function readCompletion(stream: string) {
  const events = eventsOf(stream);
  assert.equal(events.pop()?.data, '[DONE]');
  let text = '';
  let finish: { finish_reason: string; stop_reason: string | null } | undefined;
  let usage: unknown;
  for (const { data } of events) {
    const chunk = JSON.parse(data) as { object: string; choices: Json[]; usage?: unknown };
    assert.equal(chunk.object, 'text_completion');
    usage = chunk.usage ?? usage;
    for (const { text: said, finish_reason, stop_reason } of chunk.choices) {
      text += said;
      if (typeof finish_reason === 'string') {
        finish = { finish_reason, stop_reason: stop_reason as string | null };
      }
    }
  }
  assert.ok(finish);
  return { text, ...finish, usage };
}

/** Frames are what stands between empty lines; ours have no other lines than these two. */
export function eventsOf(stream: string): { event: string | undefined; data: string }[] {
  assert.ok(stream.endsWith('\n\n'), 'the last frame is closed');
  return stream
    .slice(0, -2)
    .split('\n\n')
    .map((frame) => {
      const match = /^(?:event: ([^\r\n]+)\n)?data: ([^\r\n]+)$/.exec(frame);
      assert.ok(match, `a frame is one event line at most and one data line: ${frame}`);
      return { event: match[1], data: match[2] };
    });
}
