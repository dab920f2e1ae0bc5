/**
 * A streamed response as clients read it: strict about order, numbers, indexes and every field that
 * some client was measured to need, and independent of the framer. Deltas are put together as the
 * official SDKs do it, and must give what the events that close a part, an item and the stream say.
 */
import assert from 'node:assert/strict';
import { eventsOf } from './client-readers.ts';

type Json = Record<string, unknown>;

export interface ReadResponse {
  /** As the last event has it. */
  response: Json & { output: Json[]; status: string };
  /** Item by item from deltas alone. */
  assembled: Json[];
  error: Json | undefined;
  types: string[];
}

export function readResponses(stream: string): ReadResponse {
  const frames = eventsOf(stream);
  assert.equal(frames.pop()?.data, '[DONE]');
  const events = frames.map(({ event, data }, i) => {
    const body = JSON.parse(data) as Json & { type: string };
    assert.equal(event, body.type, 'each event has its event: line');
    assert.equal(body.sequence_number, i, 'events are numbered');
    return body;
  });
  const types = events.map(({ type }) => type);
  assert.deepEqual(types.slice(0, 2), ['response.created', 'response.in_progress']);
  const last = events.pop();
  assert.ok(last);
  const response = last.response as ReadResponse['response'];
  assert.equal(last.type, `response.${response.status}`);
  const error = response.status === 'failed' ? events.pop() : undefined;
  if (error !== undefined) assert.equal(error.type, 'error');
  const reader = new ItemReader();
  for (const event of events.slice(1)) {
    if (event.type === 'response.in_progress') {
      const { status, usage, id } = event.response as Json;
      assert.deepEqual([status, usage, id], ['in_progress', null, response.id]);
    } else reader.take(event);
  }
  if (error === undefined) assert.equal(reader.isOpen, false, 'the last item was closed');
  assert.deepEqual(reader.done, response.output, 'the answer is the items that were closed');
  return { response, assembled: reader.items, error, types };
}

/** One item is open at a time, from its added to its done. */
class ItemReader {
  readonly items: Json[] = [];
  readonly done: Json[] = [];
  isOpen = false;
  #part: Json | undefined;

  take(event: Json & { type: string }): void {
    const name = event.type.replace(/^response\./, '');
    if (name === 'output_item.added') return this.#add(event);
    assert.ok(this.isOpen, `${event.type} belongs to an open item`);
    assert.equal(event.output_index, this.items.length - 1);
    const item = this.items[this.items.length - 1];
    if (name === 'output_item.done') return this.#close(item, event.item as Json);
    assert.equal(event.item_id, item.id);
    if (name === 'content_part.added' || name === 'reasoning_summary_part.added') {
      assert.equal(this.#part, undefined);
      this.#part = { ...(event.part as Json) };
      (item[name.startsWith('content') ? 'content' : 'summary'] as Json[]).push(this.#part);
    } else if (name === 'content_part.done' || name === 'reasoning_summary_part.done') {
      assert.deepEqual(this.#part, event.part, 'a part is the sum of its deltas');
      this.#part = undefined;
    } else this.#tell(item, name, event);
  }

  #add(event: Json): void {
    assert.equal(this.isOpen, false, 'the item before was closed');
    assert.equal(event.output_index, this.items.length);
    const item = { ...(event.item as Json) };
    assert.ok(item.id);
    assert.equal(item.status, 'in_progress');
    this.items.push(item);
    this.isOpen = true;
  }

  #tell(item: Json, name: string, event: Json): void {
    const [what, when] = name.split('.');
    const [type, field] = TOLD[what];
    assert.equal(item.type, type, name);
    const isPart = type === 'message' || type === 'reasoning';
    if (isPart)
      assert.equal(event[what.includes('summary') ? 'summary_index' : 'content_index'], 0);
    const of = isPart ? this.#part : item;
    assert.ok(of, `${name} belongs to an open part`);
    if (when === 'delta') {
      assert.ok(event.delta !== '' || (event.logprobs as unknown[]).length > 0);
      of[field] = `${of[field]}${event.delta}`;
      if (type === 'message') (of.logprobs as unknown[]).push(...(event.logprobs as unknown[]));
      return;
    }
    assert.equal(when, 'done');
    assert.equal(event[field], of[field], 'done tells the sum of the deltas');
    if (type === 'function_call') assert.equal(event.name, item.name);
  }

  #close(item: Json, done: Json): void {
    assert.equal(this.#part, undefined, 'the part was closed');
    assert.ok(done.status === 'completed' || done.status === 'incomplete');
    item.status = done.status;
    // Packed when it is whole; and what a client runs in a shape of its own is told at once.
    const { encrypted_content: packed } = done;
    if (packed !== undefined) item.encrypted_content = packed;
    for (const field of ['action', 'operation']) if (field in done) item[field] = done[field];
    if (done.type === 'tool_search_call') item.arguments = done.arguments;
    assert.deepEqual(item, done, 'an item is the sum of its deltas');
    this.done.push(done);
    this.isOpen = false;
  }
}

/** What events are about → the type of the item, the field that deltas add up to. */
const TOLD: Record<string, [string, string]> = {
  output_text: ['message', 'text'],
  reasoning_text: ['reasoning', 'text'],
  reasoning_summary_text: ['reasoning', 'text'],
  function_call_arguments: ['function_call', 'arguments'],
  custom_tool_call_input: ['custom_tool_call', 'input'],
};
