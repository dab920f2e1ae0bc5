/** Each rule for itself, on what it must change, and on what it must leave alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Chat, Message, Tool } from '../../model/request.ts';
import { withoutBillingBlock } from './billing-block.ts';
import { type KnownCall, withKnownIds } from './call-ids.ts';
import { encodingOf, encodingSaved } from './encoding.ts';
import { NOTHING_KNOWN, ThreadMemories } from './thread-memories.ts';
import { orderKept, reordered } from './tool-order.ts';

const BLOCK = 'x-anthropic-billing-header: cc_version=2.1.330.f1d; cc_entrypoint=cli; cch=00000;';

test('only a whole billing block at the very start is dropped', () => {
  const rest = (...texts: string[]) => {
    const chat = chatOf([system(...texts), user('hi')]);
    return withoutBillingBlock(chat)?.chat.messages;
  };
  assert.deepEqual(rest(BLOCK, 'You are.'), [system('You are.'), user('hi')]);
  assert.deepEqual(rest(BLOCK), [user('hi')]);
  assert.deepEqual(rest(`${BLOCK}\n`, ''), [system(''), user('hi')]);
  assert.deepEqual(rest(`${BLOCK} \nYou are.`), [system('You are.'), user('hi')]);
  for (const text of [
    `See ${BLOCK}`,
    `\n${BLOCK}`,
    'x-anthropic-billing-header: You are helpful.',
    `${BLOCK} You are helpful.`,
    'x-anthropic-billing-header:',
    `x-anthropic-billing-header: a=${'b'.repeat(300)};`,
  ]) {
    assert.equal(rest(text, 'You are.'), undefined, text);
  }
  assert.equal(rest('You are.', BLOCK), undefined);
  assert.equal(withoutBillingBlock(chatOf([user(BLOCK)])), undefined);
  assert.equal(withoutBillingBlock(chatOf([user('hi'), system(BLOCK)])), undefined);
});

test('tools of a thread never change their order, and nobody else’s order is touched', () => {
  const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'));
  fc.assert(
    fc.property(fc.array(names, { minLength: 1, maxLength: 8 }), (requests) => {
      let known: readonly string[] = [];
      for (const request of requests) {
        const sent = request.map(tool);
        const tools = reordered(sent, known)?.tools ?? sent;
        assert.deepEqual(new Set(tools), new Set(sent));
        const places = tools.map(({ name }) => known.indexOf(name)).filter((place) => place >= 0);
        assert.deepEqual(
          places,
          places.toSorted((a, b) => a - b),
        );
        const sentPlaces = request.map((name) => known.indexOf(name)).filter((place) => place >= 0);
        const isInOrder = sentPlaces.every((place, i) => i === 0 || sentPlaces[i - 1] < place);
        if (isInOrder) assert.deepEqual(tools, sent);
        known = orderKept(tools, known);
        // What was rendered is rendered again, however it is shuffled.
        const again = reordered(sent.toReversed(), known)?.tools ?? sent.toReversed();
        assert.deepEqual(again, reordered(sent, known)?.tools ?? sent);
      }
    }),
    { numRuns: 500 },
  );
});

test('tools with one name twice, too many or with endless names are taken as they come', () => {
  assert.equal(reordered(['b', 'a', 'b'].map(tool), ['a', 'b']), undefined);
  const many = Array.from({ length: 300 }, (_, i) => tool(`t${i}`));
  assert.deepEqual(orderKept(many, ['a']), ['a']);
  assert.deepEqual(orderKept([tool('x'.repeat(129))], ['a']), ['a']);
  assert.deepEqual(orderKept([], ['a']), ['a']);
  const moved = reordered(['a', 'c', 'b'].map(tool), ['a', 'b', 'c']);
  assert.deepEqual([moved?.first, moved?.tools.map(({ name }) => name)], [1, ['a', 'b', 'c']]);
});

test('calls that are named anew keep their names, whatever else the conversation holds', () => {
  const call = fc.record({
    name: fc.constantFrom('f', 'g'),
    json: fc.constantFrom('{}', '{"a":1}'),
  });
  const turns = fc.array(fc.array(call, { maxLength: 3 }), { maxLength: 4 });
  fc.assert(
    fc.property(turns, turns, fc.nat(), (old, added, cut) => {
      const first = conversation(old, 'one');
      const { calls, messages } = withKnownIds(first, []);
      assert.equal(messages, first);
      // The client names its calls anew and goes on from somewhere in the past.
      const kept = old.slice(0, cut % (old.length + 1));
      const second = conversation([...kept, ...added], 'two');
      const renamed = withKnownIds(second, calls);
      const whole = kept.flat().length;
      assert.deepEqual(callIds(renamed.messages).slice(0, whole), callIds(first).slice(0, whole));
      assertSameShape(second, renamed.messages);
      assert.deepEqual(
        renamed.calls.map(({ id }) => id),
        callIds(renamed.messages),
      );
      // And again: what it was told to keep stays.
      const third = withKnownIds(conversation([...kept, ...added], 'three'), renamed.calls);
      assert.deepEqual(third.messages, renamed.messages);
    }),
    { numRuns: 500 },
  );
});

test('calls that would be taken for one another keep their own names', () => {
  const known: KnownCall[] = withKnownIds(
    conversation([[{ name: 'f', json: '{}' }]], 'one'),
    [],
  ).calls;
  const [{ id }] = known;
  const messages: Message[] = [
    answer([{ id: 'new', name: 'f', argumentsJson: '{}' }]),
    answer([{ id, name: 'g', argumentsJson: '{}' }]),
    result('new'),
    result(id),
  ];
  const renamed = withKnownIds(messages, known);
  assert.equal(renamed.messages, messages);
  assert.equal(renamed.first, undefined);
  assert.deepEqual(
    renamed.calls.map((call) => call.id),
    ['new', id],
  );
});

test('the count of what an encoding saved ends where the history is another one', () => {
  const of = (...contents: unknown[]) =>
    encodingOf({ messages: contents.map((content) => ({ content })) });
  const block = (text: string, marked = false) => ({
    type: 'text',
    text,
    ...(marked && { cache_control: { type: 'ephemeral' } }),
  });
  const before = of('12345', [block('1234567890', true)], 'abc');
  assert.deepEqual(encodingSaved(before, of('12345', '1234567890', 'abc', 'more')), {
    cacheControl: 3,
    textBlock: 13,
  });
  assert.deepEqual(encodingSaved(before, of('12345', '123456789', 'abc')), {
    cacheControl: 0,
    textBlock: 0,
  });
  assert.deepEqual(encodingSaved(before, before), { cacheControl: 0, textBlock: 0 });
  for (const odd of [
    null,
    5,
    'x',
    [],
    {},
    { messages: 'x' },
    { messages: [null, 5, { content: 5 }] },
  ]) {
    assert.equal(
      encodingOf(odd).some((entry) => entry !== 0),
      false,
    );
  }
});

test('what is remembered stays within its bound, and the thread unused for longest goes', () => {
  const threads = new ThreadMemories(20_000);
  const memory = (length: number) => ({ ...NOTHING_KNOWN, encoding: new Uint32Array(length) });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(30), fc.nat(8000))), (keeps) => {
      for (const [thread, length] of keeps) {
        threads.keep(String(thread), memory(length));
        assert.ok(threads.bytes <= 20_000);
        const fits = 512 + 4 * length <= 20_000;
        assert.equal(threads.find(String(thread)).encoding.length, fits ? length : 0);
        threads.check();
      }
    }),
  );
  for (let i = 0; i < 100; i++) threads.keep(`new ${i}`, memory(100));
  assert.equal(threads.find('new 99').encoding.length, 100);
  assert.equal(threads.find('new 0'), NOTHING_KNOWN);
});

function chatOf(messages: Message[]): Chat {
  return { model: 'm', messages, tools: [], toolChoice: { kind: 'auto' }, thinking: undefined };
}

function texts(...all: string[]) {
  return all.map((text) => ({ kind: 'text' as const, text }));
}

function system(...all: string[]): Message {
  return { role: 'system', content: texts(...all) };
}

function user(text: string): Message {
  return { role: 'user', content: texts(text) };
}

function answer(toolCalls: { id: string; name: string; argumentsJson: string }[]): Message {
  return { role: 'assistant', content: [], reasoning: undefined, toolCalls };
}

function result(toolCallId: string): Message {
  return { role: 'tool', content: texts('done'), toolCallId, isError: false };
}

function tool(name: string): Tool {
  return { name, description: undefined, parameters: undefined };
}

/** Turns of calls with their results; ids are the client's, as long as this request lives. */
function conversation(turns: { name: string; json: string }[][], salt: string): Message[] {
  let next = 0;
  return turns.flatMap((turn) => {
    const calls = turn.map(({ name, json }) => ({
      id: `${salt}-${next++}`,
      name,
      argumentsJson: json,
    }));
    return [user('go'), answer(calls), ...calls.map(({ id }) => result(id))];
  });
}

function callIds(messages: readonly Message[]): string[] {
  return messages.flatMap((message) =>
    message.role === 'assistant' ? message.toolCalls.map(({ id }) => id) : [],
  );
}

/** The same but for names, and results still belong to their calls. */
function assertSameShape(sent: readonly Message[], renamed: readonly Message[]): void {
  const shape = (messages: readonly Message[]) => {
    const ids = callIds(messages);
    return JSON.parse(JSON.stringify(messages), (key, value: unknown) =>
      key === 'id' || key === 'toolCallId' ? ids.indexOf(value as string) : value,
    ) as unknown;
  };
  assert.deepEqual(shape(renamed), shape(sent));
}
