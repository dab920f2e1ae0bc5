/** What is known of a next prompt must be how that prompt begins, whatever comes in it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Recorded, recorded } from '../../../test/recorded.ts';
import type { Chat, Message, ToolCall } from '../../model/request.ts';
import { ModelTokens } from '../../tokens/model-tokens.ts';
import { toyVocabulary } from '../../tokens/toy-vocabulary.test.ts';
import { DEMO_TEMPLATE } from '../../weights/demo-template.ts';
import type { AnswerBlock } from '../../wire/answer.ts';
import { anthropicMessages } from '../../wire/anthropic-messages.ts';
import { openaiChat } from '../../wire/openai-chat.ts';
import { heldTokens } from './ahead-request.ts';
import { knownNext, settledIds } from './known-next.ts';

const GOLDENS = new URL('../../../test/golden/templates/', import.meta.url);
const QWEN3 = readFileSync(new URL('qwen3.jinja', GOLDENS), 'utf8');
const WIRES = { '/v1/messages': anthropicMessages, '/v1/chat/completions': openaiChat };

const words = fc.oneof(
  fc.constantFrom('', ' ', '\n', '{"a": 1}', '<tool_response>x</tool_response>', '</think>', 'the'),
  fc.constantFrom('[[what comes here is not known yet]]', '<|im_end|>', 'über 日本', '  two\n\n'),
  fc.string({ maxLength: 12 }),
);
const call = fc.record({
  id: fc.constantFrom('call_000001', 'abcdefghi', 'x'),
  name: fc.constantFrom('look', 'find'),
  argumentsJson: fc.constantFrom('{}', '{"path":"a.ts"}', '{"path": "a.ts",  "n": [1]}', 'no json'),
});
const answer: fc.Arbitrary<Answer> = fc.record({
  text: words,
  reasoning: fc.option(
    words.filter((text) => text !== ''),
    { nil: undefined },
  ),
  calls: fc.array(call, { maxLength: 3 }),
  /** What its client makes of reasoning. */
  isSent: fc.boolean(),
});
interface Answer {
  text: string;
  reasoning: string | undefined;
  calls: ToolCall[];
  isSent: boolean;
}
const turn = fc.record({ answer, results: fc.array(words, { minLength: 3, maxLength: 3 }) });

test('a next prompt begins with the ids that were settled, and nothing that was known is left out', () => {
  let settled = 0;
  const turns = fc.array(turn, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.constantFrom(DEMO_TEMPLATE, QWEN3), turns, words, (template, all, asked) => {
      const tokens = tokensOf(template);
      let chat = chatOf([say('user', `${asked}?`)]);
      for (const { answer: said, results } of all) {
        const known = knownNext(tokens, chat, {
          answer: { blocks: blocksOf(said), finish: { kind: 'stop' } },
          sendsReasoning: said.isSent,
        });
        const next = { ...chat, messages: [...chat.messages, ...after(said, results)] };
        const text = tokens.render(next);
        assert.ok(known !== undefined && text.startsWith(known));
        const encoded = encodedBy(tokens, known);
        const { ids, hashes } = settledIds(encoded, tokens);
        const real = encodedBy(tokens, text);
        assert.deepEqual(ids, real.ids.subarray(0, ids.length));
        assert.deepEqual(hashes, real.hashes.subarray(0, hashes.length));
        const opening = known.lastIndexOf('<|im_start|>');
        assert.equal(ids.length, tokens.encode(known.slice(0, opening)).length);
        settled += ids.length;
        chat = next;
      }
    }),
    { numRuns: 60 },
  );
  assert.ok(settled > 0);
});

test('who may send reasoning or not is known as far as both agree', () => {
  const tokens = tokensOf(DEMO_TEMPLATE);
  const chat = chatOf([say('user', 'Which way?')]);
  const blocks: AnswerBlock[] = [
    { kind: 'reasoning', text: 'Left or right.' },
    { kind: 'text', text: 'Left.' },
  ];
  const finish = { kind: 'stop' } as const;
  const known = (sendsReasoning: boolean | undefined) =>
    knownNext(tokens, chat, { answer: { blocks, finish }, sendsReasoning }) ?? '';
  assert.ok(known(true).includes('Left or right.') && !known(false).includes('Left or right.'));
  assert.ok(known(true).startsWith(known(undefined)) && known(false).startsWith(known(undefined)));
  assert.ok(known(undefined).endsWith('<|im_start|>assistant\n'));
  const plain = { answer: { blocks: blocks.slice(1), finish }, sendsReasoning: undefined };
  assert.ok(knownNext(tokens, chat, plain)?.includes('Left.'), 'where there is none, all do');
});

test('answers that were cut off have no next turn that anybody knows', () => {
  const chat = chatOf([say('user', 'Which way?')]);
  for (const finish of [{ kind: 'length' }, { kind: 'stopSequence', sequence: '.' }] as const) {
    const given = { answer: { blocks: [], finish }, sendsReasoning: true };
    assert.equal(knownNext(tokensOf(DEMO_TEMPLATE), chat, given), undefined);
  }
});

test('every public template writes what follows behind what was known, or takes no such turn', () => {
  const folder = new URL('llama.cpp/', GOLDENS);
  let known = 0;
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.jinja'))) {
    const built = ModelTokens.build(optionsOf(readFileSync(new URL(file, folder), 'utf8')));
    if (built.kind !== 'exact') continue;
    for (const calls of [[], [LOOK], [LOOK, { ...LOOK, id: 'bbbbbbbb2' }]]) {
      for (const isSent of [true, false]) {
        const said = {
          text: calls.length > 0 ? '' : 'Left.',
          reasoning: 'Or right?',
          calls,
          isSent,
        };
        const chat = chatOf([say('system', 'Be brief.'), say('user', 'Which way?')]);
        const next = {
          ...chat,
          messages: [...chat.messages, ...after(said, ['one', 'two', 'three'])],
        };
        const start = knownNext(built.tokens, chat, {
          answer: { blocks: blocksOf(said), finish: { kind: 'stop' } },
          sendsReasoning: isSent,
        });
        if (start === undefined) continue;
        const text = built.tokens.render(next);
        assert.ok(text.startsWith(start), `${file}: ${text.slice(0, start.length)} / ${start}`);
        known++;
      }
    }
  }
  console.log(`  ${known} turns foreseen`);
  assert.ok(known > 100);
});

test('the prompts that recorded clients sent next began as foreseen', () => {
  const tokens = tokensOf(QWEN3);
  const seen = new Map<string, { right: number; wrong: number }>();
  for (const [before, next] of followUps()) {
    const now = chatIn(before);
    const then = chatIn(next);
    const said = then.messages[now.messages.length];
    if (said?.role !== 'assistant') continue;
    const blocks = blocksOf({
      text: said.content.map((part) => (part.kind === 'text' ? part.text : '')).join(''),
      reasoning: said.reasoning,
      calls: said.toolCalls,
      isSent: true,
    });
    const given = { answer: { blocks, finish: { kind: 'stop' } as const }, sendsReasoning: true };
    const known = knownNext(tokens, now, given) ?? assert.fail('it can be rendered');
    const count = seen.get(before.client) ?? { right: 0, wrong: 0 };
    if (tokens.render(then).startsWith(known)) count.right++;
    else count.wrong++;
    seen.set(before.client, count);
  }
  let [right, wrong] = [0, 0];
  for (const [client, count] of seen) {
    console.log(`  ${client}: ${count.right} of ${count.right + count.wrong}`);
    right += count.right;
    wrong += count.wrong;
  }
  assert.ok(right > 0 && right >= 0.8 * (right + wrong), `${right} right, ${wrong} wrong`);
});

test('what a turn computed is counted over its prompt and its answer', () => {
  const ids = (...all: number[]) => Uint32Array.from(all);
  fc.assert(
    fc.property(
      fc.array(fc.nat(2), { maxLength: 6 }),
      fc.array(fc.nat(2), { maxLength: 6 }),
      fc.array(fc.nat(2), { maxLength: 12 }),
      (prompt, output, next) => {
        const both = [...prompt, ...output];
        let shared = 0;
        while (shared < Math.min(both.length, next.length) && both[shared] === next[shared])
          shared++;
        assert.equal(heldTokens(ids(...next), ids(...prompt), output), shared);
      },
    ),
  );
});

const LOOK = { id: 'aaaaaaaa1', name: 'look', argumentsJson: '{"path":"a.ts"}' };

/** Each recorded request with the one that has all of it, and an answer and more behind that. */
function* followUps(): Generator<[Recorded, Recorded]> {
  const last = new Map<string, Recorded>();
  for (const request of recorded(...Object.keys(WIRES))) {
    const before = last.get(request.client);
    last.set(request.client, request);
    if (before === undefined || before.path !== request.path) continue;
    const [now, then] = [chatIn(before), chatIn(request)];
    const extends_ = now.messages.every(({ role }, i) => then.messages[i]?.role === role);
    if (extends_ && then.messages.length > now.messages.length) yield [before, request];
  }
}

function chatIn({ path, body }: Recorded): Chat {
  const { prompt } = WIRES[path as keyof typeof WIRES].parse(body);
  assert.ok(prompt.kind === 'chat');
  return prompt.chat;
}

function optionsOf(template: string) {
  const vocabulary = toyVocabulary({ template });
  return { vocabulary, model: 'm', fingerprint: 'f', blockTokens: 4, now: () => new Date(0) };
}

const BUILT = new Map<string, ModelTokens>();

function tokensOf(template: string): ModelTokens {
  let tokens = BUILT.get(template);
  if (tokens === undefined) {
    const built = ModelTokens.build(optionsOf(template));
    assert.ok(built.kind === 'exact');
    BUILT.set(template, (tokens = built.tokens));
  }
  return tokens;
}

function encodedBy(tokens: ModelTokens, text: string) {
  const ids = tokens.encode(text);
  return { ids, hashes: tokens.hasher.blocks(tokens.hasher.root(''), ids) };
}

function chatOf(messages: Message[]): Chat {
  const tools = ['look', 'find'].map((name) => ({
    ...{ name, description: 'It looks.' },
    parameters: { type: 'object', properties: { path: { type: 'string' } } },
  }));
  return { model: 'm', messages, tools, toolChoice: { kind: 'auto' }, thinking: undefined };
}

function say(role: 'system' | 'user', text: string): Message {
  return { role, content: [{ kind: 'text', text }] };
}

function blocksOf({ text, reasoning, calls }: Answer): AnswerBlock[] {
  return [
    ...(reasoning === undefined ? [] : [{ kind: 'reasoning' as const, text: reasoning }]),
    ...(text === '' ? [] : [{ kind: 'text' as const, text }]),
    ...calls.map((one: ToolCall) => ({ kind: 'toolCall' as const, ...one })),
  ];
}

/** The answer as its client sends it back, and what it says next. */
function after(said: Answer, results: readonly string[]): Message[] {
  const content = said.text === '' ? [] : [{ kind: 'text' as const, text: said.text }];
  const reasoning = said.isSent ? said.reasoning : undefined;
  const { calls: toolCalls } = said;
  const next: Message[] = toolCalls.map(({ id }, i) => ({
    ...{ role: 'tool' as const, toolCallId: id, isError: false },
    content: [{ kind: 'text', text: results[i] }],
  }));
  if (next.length === 0) next.push(say('user', `${results[0]} and so on`));
  return [{ role: 'assistant', content, reasoning, toolCalls }, ...next];
}
