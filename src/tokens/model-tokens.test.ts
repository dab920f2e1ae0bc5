import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayError } from '../model/error.ts';
import type { Chat, Message } from '../model/request.ts';
import type { Vocabulary } from '../model/vocabulary.ts';
import { ModelTokens } from './model-tokens.ts';
import { toyVocabulary } from './toy-vocabulary.test.ts';

const THINKING = `{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
{% if enable_thinking is false %}<think>

</think>

{% elif enable_thinking %}<think>
{% endif %}{# <tool_call>{"name": … #}`;

test('a chat becomes ids, counts and text again', () => {
  const tokens = exact(toyVocabulary());
  const chat = chatOf([user('the other king')]);
  const prompt = tokens.render(chat);
  assert.equal(prompt, '<|im_start|>user\nthe other king<|im_end|>\n<|im_start|>assistant\n');
  const ids = tokens.encode(prompt);
  assert.equal(tokens.count(chat), ids.length);
  const decoder = tokens.decoder();
  const text = [...ids].map((id) => decoder.push(id)).join('') + decoder.flush();
  assert.equal(text, 'user\nthe other king\nassistant\n');
  assert.equal(tokens.vocabularySize, toyVocabulary().tokens.length);
  assert.equal(tokens.endTokens.size, 2);
  assert.equal(tokens.hasher.blockTokens, 16);
});

test('what a model file does not give is said in one sentence', () => {
  const cases: [Partial<Vocabulary>, RegExp][] = [
    [{ template: undefined }, /^Conversations with m pass .*, because it has no chat template\.$/],
    [{ template: '\n{% x %}' }, /because line 2 of its chat template has the unsupported tag x\.$/],
    [{ preTokenizer: 'x' }, /because its pre-tokenizer "x" is none of .*\.$/],
  ];
  for (const [changes, reason] of cases) {
    const built = build(toyVocabulary(changes));
    assert.notEqual(built.kind, 'exact');
    if (built.kind === 'exact') continue;
    assert.match(built.reason, reason);
    assert.equal(built.kind, changes.preTokenizer === undefined ? 'noTemplate' : 'unsupported');
  }
});

test('an answer is read from where the prompt ends', () => {
  const tokens = exact(toyVocabulary({ template: THINKING }));
  const kinds = (thinking: boolean | undefined, messages = [user('<think>')]) => {
    const parser = tokens.parser({ ...chatOf(messages), thinking });
    return [...parser.push('<think>a</think>b', 1), ...parser.end()].map((it) => it.kind);
  };
  assert.deepEqual(kinds(undefined), ['reasoning', 'text']);
  assert.deepEqual(kinds(true), ['reasoning', 'text']);
  const parser = tokens.parser({ ...chatOf([user('x')]), thinking: true });
  assert.deepEqual(
    parser.push('a</think>\n\nb', 1).map((it) => it.kind),
    ['reasoning', 'text'],
  );
});

test('tool calls are named on from those of the conversation', () => {
  const tokens = exact(toyVocabulary({ template: THINKING }));
  const toolCalls = ['call_1', 'call_2'].map((id) => ({ id, name: 'f', argumentsJson: '{}' }));
  const before: Message = { role: 'assistant', content: [], reasoning: undefined, toolCalls };
  const call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>';
  const ids = () =>
    tokens
      .parser(chatOf([user('x'), before]))
      .push(call + call, 1)
      .flatMap((it) => (it.kind === 'toolCall' ? [it.id] : []));
  assert.deepEqual(ids(), ['call_3', 'call_4']);
  assert.deepEqual(ids(), ids());
});

test('what a model cannot be told is the client’s mistake', () => {
  const refusing = "{{ raise_exception('Roles must alternate') }}";
  const cases: [string, Message, RegExp][] = [
    [refusing, user('x'), /does not take this conversation: Roles must alternate$/],
    ['{{ messages[0].x.y }}', user('x'), /cannot write this conversation: something undefined/],
  ];
  for (const [template, message, sentence] of cases) {
    const tokens = exact(toyVocabulary({ template }));
    assert.throws(
      () => tokens.render(chatOf([message])),
      (thrown: Error) => {
        assert.ok(thrown instanceof GatewayError && thrown.code === 'invalid_request');
        assert.match(thrown.message, sentence);
        return true;
      },
    );
  }
});

function build(vocabulary: Vocabulary) {
  return ModelTokens.build({
    vocabulary,
    model: 'm',
    fingerprint: 'f',
    blockTokens: 16,
    now: () => new Date(0),
  });
}

function exact(vocabulary: Vocabulary): ModelTokens {
  const built = build(vocabulary);
  assert.equal(built.kind, 'exact');
  return (built as { tokens: ModelTokens }).tokens;
}

function user(text: string): Message {
  return { role: 'user', content: [{ kind: 'text', text }] };
}

function chatOf(messages: Message[]): Chat {
  return { model: 'm', messages, tools: [], toolChoice: { kind: 'auto' }, thinking: undefined };
}
